//! The table of requests and answers. `@` in a shape is where each request of a row differs.

/// Requests of one shape that have one answer.
pub(super) struct Row {
    pub(super) shape: &'static str,
    /// The status, and the text of a refusal or what is served.
    pub(super) answer: &'static str,
    pub(super) requests: &'static [&'static str],
}

const fn row(shape: &'static str, answer: &'static str, requests: &'static [&'static str]) -> Row {
    Row {
        shape,
        answer,
        requests,
    }
}

/// Bytes that are no text, each with its answer.
pub(super) const BYTES: &[(&[u8], &str)] = &[
    // A TLS ClientHello on the plain port.
    (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "400 this port does not speak TLS: ask for http://",
    ),
    (b"\xff\xfe\xfd", "400 not an HTTP request line"),
    (b"\x00", "400 not an HTTP request line"),
    (
        b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n",
        "400 not exactly one valid Host",
    ),
    (
        b"GET / HTTP/1.1\r\nHost: a\r\nOrigin: \xff\r\n\r\n",
        "400 not at most one valid Origin",
    ),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: \xff\r\n\r\n", "200 /"),
];

const ALL: &str = "@";
const LINE: &str = "@\r\nHost: a\r\n\r\n";
const PATH: &str = "GET @ HTTP/1.1\r\nHost: a\r\n\r\n";
const FIELD: &str = "GET / HTTP/1.1\r\nHost: a\r\n@\r\n\r\n";
const HOST: &str = "GET / HTTP/1.1\r\n@\r\n\r\n";
const FIELD_OF_HTTP_1_0: &str = "GET / HTTP/1.0\r\n@\r\n\r\n";
const UPGRADE_LINE: &str = "@\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const UPGRADE_PATH: &str = "GET @ HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";
const UPGRADE_FIELD: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n@\r\n\r\n";
const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: a\r\n@\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const KEY: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\n@\r\n\r\n";
const VERSION: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n@\r\n\r\n";

/// What is served.
pub(super) const SERVED: &[Row] = &[
    row(
        PATH,
        "200 /",
        &["/", "/?a=b", "http://a/", "http://A", "HTTPS://a?b"],
    ),
    row(PATH, "200 /style.css", &["/style.css"]),
    row(
        PATH,
        "200 /app.js",
        &["/app.js", "/%61pp.js", "http://a/app.js"],
    ),
    row(PATH, "200 /roomcast.js", &["/roomcast.js"]),
    row(PATH, "200 /favicon.svg", &["/favicon.svg"]),
    row(PATH, "200 health", &["/healthz"]),
    row(PATH, "200 ready", &["/readyz"]),
    row(PATH, "200 metrics", &["/metrics", "/metrics?a"]),
    row(
        LINE,
        "200 /",
        &[
            "GET / HTTP/1.0",
            "GET / HTTP/1.9",
            "HEAD / HTTP/1.1",
            "HEAD / HTTP/1.0",
            "\r\nGET / HTTP/1.1",
        ],
    ),
    row(LINE, "204 options", &["OPTIONS * HTTP/1.1"]),
    row(
        ALL,
        "200 /",
        &["GET / HTTP/1.0\r\n\r\n", "GET http://a/ HTTP/1.0\r\n\r\n"],
    ),
    row(
        FIELD,
        "200 /",
        &[
            "A:",
            "A: b\tc \u{e4}",
            "A:\t b \t",
            "Content-Length: 5",
            "Content-Length: 0005",
            "Content-Length: 65536",
            // Without both of its fields this asks for no upgrade, and this path has none.
            "Upgrade: websocket\r\nConnection: Upgrade",
            "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings",
        ],
    ),
    row(
        UPGRADE_FIELD,
        "101 ws",
        &[
            "A: b",
            "Content-Length: 0",
            "Origin: http://a",
            "Sec-WebSocket-Protocol: roomcast.v1, x",
            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
        ],
    ),
    row(
        UPGRADE,
        "101 ws",
        &[
            "UPGRADE: WebSocket\r\ncOnNeCtIoN: keep-alive, UPGRADE",
            "Upgrade: a/1, websocket\r\nConnection:Upgrade\t",
            "Upgrade: a\r\nUpgrade: websocket\r\nConnection: b\r\nConnection: upgrade",
        ],
    ),
    row(UPGRADE_PATH, "101 ws", &["/ws?user=a&hello", "http://a/ws"]),
    row(UPGRADE_PATH, "101 echo", &["/echo"]),
    row(UPGRADE_PATH, "101 raw \u{e4}+b", &["/raw/%C3%A4+b"]),
    row(UPGRADE_PATH, "101 raw ...", &["/raw/..."]),
    row(UPGRADE_PATH, "200 /", &["/"]),
];

/// What is refused because of the upgrade.
pub(super) const UPGRADES: &[Row] = &[
    row(
        KEY,
        "400 not exactly one valid Sec-WebSocket-Key",
        &[
            "A: b",
            "Sec-WebSocket-Key:",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQAA",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ],
    ),
    row(
        VERSION,
        "426 only WebSocket version 13 is spoken",
        &[
            "A: b",
            "Sec-WebSocket-Version:",
            "Sec-WebSocket-Version: 8",
            "Sec-WebSocket-Version: 14",
            "Sec-WebSocket-Version: +13",
            "Sec-WebSocket-Version: 13, 8",
        ],
    ),
    row(
        VERSION,
        "400 more than one Sec-WebSocket-Version",
        &["Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 13"],
    ),
    row(
        UPGRADE,
        "426 this path speaks WebSocket",
        &[
            "A: b",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Connection: Upgrade\r\nUpgrade: h2c",
            "Connection: Upgrade\r\nUpgrade: websocket2",
            "Connection: close\r\nUpgrade: websocket",
        ],
    ),
    row(PATH, "426 this path speaks WebSocket", &["/echo", "/raw/r"]),
    row(
        UPGRADE_LINE,
        "426 this path speaks WebSocket",
        &["GET /ws HTTP/1.0"],
    ),
    row(
        UPGRADE_LINE,
        "405 this method is not allowed here",
        &[
            "POST /ws HTTP/1.1",
            "HEAD /ws HTTP/1.1",
            "OPTIONS /echo HTTP/1.1",
        ],
    ),
    row(
        UPGRADE_FIELD,
        "400 a malformed Sec-WebSocket-Extensions",
        &[
            "Sec-WebSocket-Extensions:",
            "Sec-WebSocket-Extensions: permessage-deflate;",
            "Sec-WebSocket-Extensions: permessage-deflate; a=\"",
            "Sec-WebSocket-Extensions: a\r\nSec-WebSocket-Extensions: =",
        ],
    ),
    row(
        UPGRADE_FIELD,
        "400 a malformed Sec-WebSocket-Protocol",
        &["Sec-WebSocket-Protocol:", "Sec-WebSocket-Protocol: a b"],
    ),
    row(
        UPGRADE_FIELD,
        "400 an upgrade cannot have a body",
        &[
            "Content-Length: 5",
            "Transfer-Encoding: chunked",
            "Transfer-Encoding: identity",
        ],
    ),
    row(
        FIELD,
        "400 an upgrade cannot have a body",
        &["Upgrade: h2c\r\nContent-Length: 5"],
    ),
    row(
        UPGRADE_PATH,
        "404 no such path",
        &[
            "/raw",
            "/raw/",
            "/raw/.",
            "/raw/..",
            "/raw/%2e%2E",
            "/raw/a/b",
            "/raw/a%2fb",
            "/raw/a%5Cb",
            "/ws/",
        ],
    ),
    row(
        UPGRADE_PATH,
        "400 a bad percent escape in the path",
        &["/raw/%01", "/raw/%"],
    ),
];

/// What is refused because of the request line.
pub(super) const LINES: &[Row] = &[
    row(
        LINE,
        "405 this method is not allowed here",
        &[
            "POST / HTTP/1.1",
            "get / HTTP/1.1",
            "DELETE /metrics HTTP/1.1",
            "OPTIONS / HTTP/1.1",
            "CONNECT a:443 HTTP/1.1",
            "CONNECT / HTTP/1.1",
        ],
    ),
    row(
        LINE,
        "505 only HTTP/1.1 is spoken",
        &[
            "GET / HTTP/2.0",
            "GET / HTTP/9.9",
            "GET / HTTP/0.9",
            "* / HTTP/3.0",
        ],
    ),
    row(
        ALL,
        "505 only HTTP/1.1 is spoken",
        &["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/9.9\r\n"],
    ),
    row(ALL, "400 not an HTTP request line", &["\r\n\r\n"]),
    row(
        LINE,
        "400 not an HTTP request line",
        &[
            "hello",
            "GET /",
            "GET",
            "\r\n\r\nGET / HTTP/1.1",
            " GET / HTTP/1.1",
            "GET  / HTTP/1.1",
            "GET /  HTTP/1.1",
            "GET / / HTTP/1.1",
            "GET / HTTP/1.1 ",
            "GET\t/\tHTTP/1.1",
            "G(T / HTTP/1.1",
            "GET / http/1.1",
            "GET / HTTP/1.10",
            "GET / HTTP/11",
            "GET / HTTP/1,1",
            "GET / HTTP/1.1\0",
            "GET /\0 HTTP/1.1",
            "GET /\u{e4} HTTP/1.1",
        ],
    ),
    row(
        PATH,
        "404 no such path",
        &[
            "/none",
            "/App.js",
            "/app.js/",
            "//app.js",
            "/./app.js",
            "/../etc/passwd",
            "/%2e%2e/etc/passwd",
            "/..%2fapp.js",
            "/%2fapp.js",
            "/%5capp.js",
            "/\\..\\app.js",
            "/%252e%252e/",
            "/%2561pp.js",
            "/index.html",
        ],
    ),
    row(LINE, "404 no such path", &["POST /none HTTP/1.1"]),
    row(
        PATH,
        "400 a bad percent escape in the path",
        &[
            "/%00",
            "/app.js%00",
            "/%0d%0aX:%20y",
            "/%zz",
            "/%2",
            "/%c0%ae",
        ],
    ),
    row(
        PATH,
        "400 a malformed request target",
        &["*", "app.js", "a:80", "ftp://a/", "/#a"],
    ),
    row(
        PATH,
        "400 target and Host disagree",
        &["http://b/", "http://a:80/", "http://u@a/", "http:///"],
    ),
    row(
        ALL,
        "400 target and Host disagree",
        &["GET http://u@a/ HTTP/1.0\r\n\r\n"],
    ),
];

/// What is refused because of the fields.
pub(super) const FIELDS: &[Row] = &[
    row(
        FIELD,
        "400 a line ends in LF without CR",
        &["A: b\nC: d", "A: b\n", "A: b\r\n\n", "\n"],
    ),
    row(
        ALL,
        "400 a line ends in LF without CR",
        &["\nGET / HTTP/1.1\r\n", "GET / HTTP/1.1\nHost: a\n\n"],
    ),
    row(
        FIELD,
        "400 a CR without LF",
        &["A: b\rC: d", "A: b\r", "A\r: b"],
    ),
    row(ALL, "400 a CR without LF", &["\rGET / HTTP/1.1\r\n"]),
    row(
        FIELD,
        "400 a control character in the head",
        &[
            "A: b\0c",
            "A: \x01",
            "A: b\x7f",
            "A\0: b",
            "Transfer-Encoding: \x0bchunked",
        ],
    ),
    row(
        FIELD,
        "400 a malformed header field",
        &[
            "A: b\r\n c",
            "A: b\r\n\tc",
            "A: b\r\n ",
            "A : b",
            "A\t: b",
            " A: b",
            "A",
            "A b",
            ": b",
            "A(: b",
            "\u{e4}: b",
            "Content-Length : 5",
            "Transfer-Encoding : chunked",
        ],
    ),
    row(
        HOST,
        "400 a malformed header field",
        &[" \r\nHost: a", " Host: a", "\tHost: a"],
    ),
    row(
        HOST,
        "400 not exactly one valid Host",
        &[
            "A: b",
            "Host:",
            "Host: a b",
            "Host: a/b",
            "Host: a:b",
            "Host: a, b",
            "Host: a\r\nHost: a",
            "Host: a\r\nhOST: b",
        ],
    ),
    row(
        ALL,
        "400 not exactly one valid Host",
        &["GET / HTTP/1.1\r\n\r\n", "GET http://a/ HTTP/1.1\r\n\r\n"],
    ),
    row(
        FIELD_OF_HTTP_1_0,
        "400 not exactly one valid Host",
        &["Host: a@b", "Host: a\r\nHost: a"],
    ),
    row(
        FIELD,
        "400 not at most one valid Origin",
        &["Origin: http://a\r\nOrigin: http://b"],
    ),
];

/// What is refused because of the body.
pub(super) const BODIES: &[Row] = &[
    row(
        FIELD,
        "413 the body is too large",
        &[
            "Content-Length: 65537",
            "Content-Length: 18446744073709551615",
        ],
    ),
    row(
        FIELD,
        "400 an invalid Content-Length",
        &[
            "Content-Length:",
            "Content-Length: -1",
            "Content-Length: +5",
            "Content-Length: 0x5",
            "Content-Length: 5.0",
            "Content-Length: 5 5",
            "Content-Length: 5, 5",
            "Content-Length: \u{0665}",
            "Content-Length: 18446744073709551616",
            "Content-Length: 5\r\nContent-Length: 5",
            "Content-Length: 5\r\nContent-Length: 6",
        ],
    ),
    row(
        FIELD,
        "400 both Content-Length and Transfer-Encoding",
        &[
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 0",
            "Transfer-Encoding:\r\nContent-Length: x",
        ],
    ),
    row(
        FIELD,
        "411 a body needs a Content-Length",
        &["Transfer-Encoding: chunked", "Transfer-Encoding: ,Chunked,"],
    ),
    row(
        FIELD,
        "501 an unknown transfer coding",
        &[
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
        ],
    ),
    row(
        FIELD,
        "400 an invalid Transfer-Encoding",
        &[
            "Transfer-Encoding:",
            "Transfer-Encoding: identity",
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding: \"chunked\"",
            "Transfer-Encoding: chunked;a=b",
            "Transfer-Encoding: chunked, identity",
            "Transfer-Encoding: chunked, chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        ],
    ),
    row(
        FIELD_OF_HTTP_1_0,
        "400 an invalid Transfer-Encoding",
        &["Transfer-Encoding: chunked"],
    ),
];
