#!/usr/bin/env bash
# Runs the Autobahn|Testsuite's fuzzing client against a WebSocket echo server.
#
#   tests/autobahn.sh ws://127.0.0.1:8080/echo                 all 517 cases, in 10 to 20 minutes
#   tests/autobahn.sh ws://127.0.0.1:8080/echo '1.*' '7.*'     some of them
#
# roomcast is started for it with --memory --echo --deflate --max-message 16777216: group 9 has messages of 16 MiB,
# groups 12 and 13 compressed ones.
#
# Needs `wstest` (pip install autobahntestsuite, Python 2.7) on the PATH, or Docker and its image
# crossbario/autobahn-testsuite. Prints each case that is not OK (NON-STRICT counts as not OK, INFORMATIONAL as OK),
# then `N passed, M failed`; fails where one failed or none ran. The report stays in the folder AUTOBAHN_REPORT names.
set -euo pipefail

if [ $# -eq 0 ]; then
    sed -n '2,/^set/{s/^# \{0,1\}//p}' "$0" >&2
    exit 2
fi
url=$1
shift
[ $# -gt 0 ] || set -- '*'

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
report=${AUTOBAHN_REPORT:-$work/report}
mkdir -p "$report"
report=$(cd "$report" && pwd)
rm -f "$report/index.json"

spec() { # OUTDIR CASE...
    local outdir=$1 cases
    shift
    cases=$(printf '"%s",' "$@")
    printf '{"outdir": "%s", "servers": [{"agent": "server", "url": "%s"}], "cases": [%s],\n' \
        "$outdir" "$url" "${cases%,}"
    printf '"exclude-cases": [], "exclude-agent-cases": {}}\n'
}

status=0
if command -v wstest >/dev/null; then
    spec "$report" "$@" >"$work/spec.json"
    wstest -m fuzzingclient -s "$work/spec.json" >"$work/log" 2>&1 || status=$?
elif command -v docker >/dev/null; then
    spec /report "$@" >"$work/spec.json"
    docker run --rm --network host -v "$work/spec.json:/spec.json:ro" -v "$report:/report" \
        crossbario/autobahn-testsuite wstest -m fuzzingclient -s /spec.json >"$work/log" 2>&1 || status=$?
else
    echo "neither wstest nor docker is on the PATH" >&2
    exit 2
fi
if [ ! -f "$report/index.json" ]; then
    tail -n 20 "$work/log" >&2
    echo "no report was written (exit status $status)" >&2
    exit 1
fi

awk -F '"' '
    /"behavior":/ { behavior = $4 }
    /"behaviorClose":/ { close_behavior = $4; cases++ }
    /"reportfile":/ {
        if (behavior !~ /^(OK|INFORMATIONAL)$/ || close_behavior !~ /^(OK|INFORMATIONAL)$/) {
            id = $4
            gsub(/^server_case_|\.json$/, "", id)
            gsub(/_/, ".", id)
            printf "%-10s %s (close: %s)\n", id, behavior, close_behavior
            failed++
        }
    }
    END {
        printf "%d passed, %d failed%s\n", cases - failed, failed, cases ? "" : ": nothing ran; does the server answer?"
        exit failed > 0 || cases == 0
    }' "$report/index.json"
