use super::*;

fn parse(line: &str) -> Result<Arguments, clap::Error> {
    Arguments::try_parse_from(line.split(' '))
}

#[test]
fn the_command_line_is_sound() {
    <Arguments as clap::CommandFactory>::command().debug_assert();
}

#[test]
fn every_server_has_its_endpoints() {
    let line = "p fanout --server a/roomcast --server bare --endpoint ws,raw \
                --url ws://127.0.0.1:9/room --pid 7 --name other --publish <{}>";
    let Command::Fanout(fanout) = parse(line).unwrap().command else {
        panic!("it is a fan-out");
    };
    let contestants = fanout.common.contestants(&fanout.endpoints.endpoint);
    let names: Vec<String> = contestants.iter().map(Contestant::name).collect();
    assert_eq!(names, ["roomcast ws", "roomcast raw", "bare", "other"]);
    assert!(contestants.iter().all(|one| !one.is_tls));
    assert_eq!(contestants[3].room.path, "/room");
    assert_eq!(contestants[3].echo_path(), "/room");
    assert_eq!(contestants[2].echo_path(), "/echo");
}

#[test]
fn only_roomcast_speaks_tls() {
    let line = "p echo --server a/roomcast --server bare --tls";
    let Command::Echo(echo) = parse(line).unwrap().command else {
        panic!("it is an echo");
    };
    let contestants = echo.common.contestants(&[Endpoint::Raw]);
    let names: Vec<String> = contestants.iter().map(Contestant::name).collect();
    assert_eq!(names, ["roomcast raw", "roomcast raw tls", "bare"]);
}

#[test]
fn only_loopback_and_bounded_runs_are_taken() {
    for right in [
        "p fanout --in-flight 16",
        "p fanout --deflate --calls",
        "p stalled --percent 10",
        "p arrivals --within 1",
        "p burst --connections 5",
        "p durable --folder /tmp/x --ids",
        "p compare --rows echo --rounds 3",
        "p serve bare --ping-ms 25000",
        "p idle --members 1,2 --calls",
        "p echo --url http://127.0.0.1:1/ --pid 7",
    ] {
        assert!(parse(right).is_ok(), "{right}");
    }
    for wrong in [
        "p echo --url 192.0.2.1:80 --pid 7",
        "p echo --url 127.0.0.1:80",
        "p fanout --members 0",
        "p fanout --members 9999999",
        "p fanout --seconds 3600",
        "p fanout --rate 5 --in-flight 1",
        "p fanout --url 127.0.0.1:80 --pid 7 --publish text",
        "p stalled --percent 100",
        "p serve nothing",
        "p serve bare --ping-ms 1",
    ] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}
