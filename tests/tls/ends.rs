//! Answers that are still on their way when a side ends the connection.

use super::common::{Http, Server, Stream};
use super::{VERSIONS, ready};
use std::io::Write;
use std::net::Shutdown;

/// About what a client takes without reading, in bytes: less than the answers have.
const WINDOW_BYTES: usize = 2304;

/// What is asked for, about 20 KB each: two records, of which the kernel takes the first and a part of the second.
const PATHS: [&str; 3] = ["/view.js", "/model.js", "/app.js"];

/// How a client may say that it sends no more.
const ENDS: [fn(&mut Stream); 3] = [
    |stream| stream.end().expect("a connection"),
    |stream| {
        let tcp = stream.tcp();
        tcp.shutdown(Shutdown::Write).expect("a connection");
    },
    |stream| {
        let Stream::Tls(stream) = stream else {
            panic!("it is TLS");
        };
        stream.conn.send_close_notify();
        stream.flush().expect("a connection");
    },
];

/// Asks for something on a connection of its own, and reads nothing.
fn ask(server: &Server, path: &str, field: &str) -> Stream {
    let mut stream = server.connect_with_window(WINDOW_BYTES);
    let host = server.host();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{field}\r\n");
    stream
        .write_all(request.as_bytes())
        .expect("the server reads");
    stream
}

#[test]
fn an_answer_is_whole_after_a_half_close() {
    for version in VERSIONS {
        let (authority, _folder, mut server) = ready(1, &[]);
        server.set_tls(authority.client(&[version]));
        for path in PATHS {
            let whole = server.get(path).body;
            let mut held_bytes = 0;
            for field in ["", "Connection: close\r\n"] {
                for end in ENDS {
                    let mut stream = ask(&server, path, field);
                    // Told behind the answer, as there is one shard.
                    held_bytes += server.metric("tls_held_bytes");
                    end(&mut stream);
                    // Looked at behind the end.
                    server.metric("connections");
                    let mut http = Http::new(stream);
                    assert!(http.response().body == whole, "{path} {field:?}");
                    assert!(http.is_ended());
                }
            }
            assert!(held_bytes > 0, "{path} is taken at once");
        }
        server.metric_is("bugs_total", 0);
    }
}

#[test]
fn an_answer_is_whole_when_the_server_stops() {
    for version in VERSIONS {
        let (authority, _folder, mut server) = ready(1, &[]);
        server.set_tls(authority.client(&[version]));
        let wholes = PATHS.map(|path| server.get(path).body);
        let mut member = server.socket("/echo");
        let streams = PATHS.map(|path| ask(&server, path, ""));
        assert!(server.metric("tls_held_bytes") > 0);
        server.signal("TERM");
        // Everyone is told in the same turn.
        assert_eq!(member.closed(), Some(1001));
        for ((path, whole), stream) in PATHS.into_iter().zip(wholes).zip(streams) {
            let mut http = Http::new(stream);
            assert!(http.response().body == whole, "{path}");
            assert!(http.is_ended());
        }
        drop(member);
        assert_eq!(server.wait().code(), Some(0));
    }
}
