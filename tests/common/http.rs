//! HTTP as bytes: what is sent is sent as it stands, and answers are read strictly.

use super::{PATIENCE, Stream, left_of};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

/// One answer.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    /// Names in lower case.
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a field that is there once at most.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(field, _)| field == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} is there once: {self:?}");
        value
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("the body is text")
    }
}

/// A connection on which HTTP is spoken.
pub struct Http {
    stream: Stream,
    received: Vec<u8>,
}

impl Http {
    pub fn new(stream: impl Into<Stream>) -> Http {
        let stream = stream.into();
        stream.set_nodelay(true).expect("a socket");
        Http {
            stream,
            received: Vec::new(),
        }
    }

    /// Sends these bytes. That the server has gone is for the reader to find out.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// The next answer, with the body that its `Content-Length` announces.
    pub fn response(&mut self) -> Response {
        self.read_response(true)
    }

    /// The next answer, to a `HEAD` request: it has no body, whatever it announces.
    pub fn response_to_head(&mut self) -> Response {
        self.read_response(false)
    }

    /// The next `count` bytes, whatever they are.
    pub fn rest_until(&mut self, count: usize) -> Vec<u8> {
        let deadline = Instant::now() + PATIENCE;
        while self.received.len() < count {
            assert!(self.receive(deadline), "{count} bytes");
        }
        self.received.drain(..count).collect()
    }

    /// Whether the server ends the connection without another byte.
    pub fn is_ended(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while self.received.is_empty() {
            if !self.receive(deadline) {
                return true;
            }
        }
        false
    }

    /// The connection, where nothing more was received.
    pub fn into_stream(self) -> Stream {
        assert!(self.received.is_empty(), "nothing is left");
        self.stream
    }

    /// The connection below.
    pub fn stream(&self) -> &TcpStream {
        self.stream.tcp()
    }

    fn read_response(&mut self, has_body: bool) -> Response {
        let deadline = Instant::now() + PATIENCE;
        let head_end = loop {
            if let Some(end) = self.received.windows(4).position(|at| at == b"\r\n\r\n") {
                break end + 4;
            }
            assert!(
                self.receive(deadline),
                "an answer, not {:?}",
                String::from_utf8_lossy(&self.received)
            );
        };
        let head = String::from_utf8(self.received.drain(..head_end).collect()).expect("text");
        let mut response = parse(&head);
        let length = response.field("content-length").map(str::parse::<usize>);
        let length = match response.status {
            101 | 204 | 304 => {
                assert!(length.is_none(), "no body, no length: {response:?}");
                0
            }
            _ => length
                .expect("every answer says its length")
                .expect("a number"),
        };
        if has_body {
            while self.received.len() < length {
                assert!(self.receive(deadline), "{length} bytes of body");
            }
            response.body = self.received.drain(..length).collect();
        }
        response
    }

    /// Reads once. False at the end of the connection.
    fn receive(&mut self, deadline: Instant) -> bool {
        let mut buffer = [0; 16 * 1024];
        let left = left_of(deadline);
        self.stream.set_read_timeout(Some(left)).expect("a socket");
        match self.stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(count) => {
                self.received.extend_from_slice(&buffer[..count]);
                true
            }
            Err(error) if is_end(&error) => false,
            Err(error) => panic!("reading from the server: {error}"),
        }
    }
}

/// A connection that was cut is at its end as well.
fn is_end(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof
    )
}

fn parse(head: &str) -> Response {
    assert!(!head.replace("\r\n", "").contains(['\r', '\n']), "{head:?}");
    let mut lines = head.trim_end_matches("\r\n").split("\r\n");
    let status_line = lines.next().expect("a status line");
    let status = status_line
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
        .and_then(|code| code.parse().ok())
        .unwrap_or_else(|| panic!("a status line, not {status_line:?}"));
    let fields = lines.map(|line| {
        let (name, value) = line.split_once(": ").expect("a field");
        (name.to_ascii_lowercase(), value.to_owned())
    });
    Response {
        status,
        fields: fields.collect(),
        body: Vec::new(),
    }
}
