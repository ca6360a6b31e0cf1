//! The real program as a child process.

use super::{Client, Http, PATIENCE, Response, Socket, Stream, tls, until};
use rustls::ClientConfig;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Instant;

/// Flags of every test server, before its own.
const FLAGS: [&str; 5] = ["--memory", "--listen", "127.0.0.1:0", "--echo", "--raw"];

/// A running server, which ends with this value.
pub struct Server {
    child: Child,
    address: SocketAddr,
    log: Arc<Mutex<String>>,
    /// How clients speak TLS with it, if it does.
    tls: Option<Arc<ClientConfig>>,
}

impl Server {
    /// A server with the defaults, `/echo` and `/raw`.
    pub fn start(shards: u16) -> Server {
        Server::with(shards, &[])
    }

    /// A server with these flags as well.
    pub fn with(shards: u16, flags: &[&str]) -> Server {
        let mut command = program();
        command
            .args(FLAGS)
            .args(["--shards", &shards.to_string()])
            .args(flags);
        tls::ask(&mut command);
        Server::run(command)
    }

    /// Runs a command that ends up as a server.
    pub fn run(mut command: Command) -> Server {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let log = collect(child.stderr.take().expect("it is piped"));
        let stdout = child.stdout.take().expect("it is piped");
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = tell.send(line);
            }
        });
        let line = told.recv_timeout(PATIENCE).unwrap_or_default();
        let url = line.strip_prefix("listening on ");
        let (scheme, address) = url.and_then(|url| url.split_once("://")).unzip();
        let Some(address) = address.and_then(|text| text.parse().ok()) else {
            let _ = child.kill();
            let _ = child.wait();
            panic!("no address in {line:?}; the log: {}", text_of(&log));
        };
        Server {
            child,
            address,
            log,
            tls: (scheme == Some("https")).then(tls::trusting),
        }
    }

    /// Lets clients speak TLS in their own way.
    pub fn set_tls(&mut self, config: ClientConfig) {
        self.tls = Some(Arc::new(config));
    }

    /// Whether its clients speak TLS with it.
    pub fn speaks_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The value of `Host`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// A new connection on which nothing was said.
    pub fn connect(&self) -> TcpStream {
        TcpStream::connect_timeout(&self.address, PATIENCE).expect("the server listens")
    }

    /// A new connection, on which TLS is spoken where the server does.
    pub fn stream(&self) -> Stream {
        self.secure(self.connect())
    }

    /// What is spoken over this connection.
    pub fn secure(&self, stream: TcpStream) -> Stream {
        match &self.tls {
            Some(config) => Stream::secure(stream, config),
            None => stream.into(),
        }
    }

    /// A new connection from another address of this machine.
    pub fn connect_from(&self, source: &str) -> TcpStream {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.expect("a socket");
        let source = SocketAddr::new(source.parse().expect("an address"), 0);
        socket.bind(&source.into()).expect("one of this machine");
        socket
            .connect(&self.address.into())
            .expect("the server listens");
        socket.into()
    }

    /// A new connection that can take only so many bytes, about, without reading.
    pub fn connect_with_window(&self, bytes: usize) -> Stream {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.expect("a socket");
        socket.set_recv_buffer_size(bytes).expect("a socket");
        socket
            .connect(&self.address.into())
            .expect("the server listens");
        self.secure(socket.into())
    }

    /// A new connection that speaks HTTP.
    pub fn http(&self) -> Http {
        Http::new(self.stream())
    }

    /// Fetches a path, on a connection of its own.
    pub fn get(&self, path: &str) -> Response {
        let mut http = self.http();
        let host = self.host();
        http.send(format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        ));
        http.response()
    }

    /// A WebSocket of this path and query.
    pub fn socket(&self, path: &str) -> Socket {
        Socket::open(self.stream(), &self.host(), path)
    }

    /// A WebSocket of this path and query, asked for with a bearer token.
    pub fn socket_of(&self, path: &str, token: &str) -> Socket {
        let line = format!("Authorization: Bearer {token}\r\n");
        Socket::open_with(self.stream(), &self.host(), path, &line).0
    }

    /// A WebSocket of this path and query on which messages may be compressed.
    pub fn deflating_socket(&self, path: &str) -> Socket {
        let (socket, agreed) =
            Socket::offer(self.stream(), &self.host(), path, "permessage-deflate");
        assert!(agreed.is_some(), "it was offered");
        socket
    }

    /// A chat connection of this user; the name must be free.
    pub fn client(&self, user: &str) -> Client {
        Client::open(self, &format!("?user={user}"))
    }

    /// A further chat connection of the user of `client`.
    pub fn again(&self, client: &Client) -> Client {
        Client::open(
            self,
            &format!("?user={}&session={}", client.user, client.session),
        )
    }

    /// What `/metrics` says about one of our counters.
    pub fn metric(&self, name: &str) -> u64 {
        let text = self.get("/metrics").text();
        let value = text.lines().find_map(|line| {
            let rest = line.strip_prefix("roomcast_")?.strip_prefix(name)?;
            rest.strip_prefix(' ')
        });
        let value = value.unwrap_or_else(|| panic!("no counter {name} in {text}"));
        value.parse().expect("a counter is a number")
    }

    /// Waits until a counter has this value. Each shard tells its numbers at the end of its turn.
    pub fn metric_is(&self, name: &str, value: u64) {
        until(&format!("{name} == {value}"), || self.metric(name) == value);
    }

    /// Waits until a counter has this value at least.
    pub fn await_metric(&self, name: &str, least: u64) {
        until(&format!("{name} >= {least}"), || self.metric(name) >= least);
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        text_of(&self.log)
    }

    /// Waits until its log has this text; the log comes by a pipe, in its own time.
    pub fn await_log(&self, text: &str) {
        until(&format!("{text:?} is in the log"), || {
            self.log().contains(text)
        });
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal, by the name that `kill` knows.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([&format!("-{name}"), &self.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(status.success(), "the process is there");
    }

    /// Waits for its end, and for the end of its log.
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        until("the server ends", || {
            status = self.child.try_wait().expect("it is our child");
            status.is_some()
        });
        // The thread that reads the log has the other reference.
        until("the log is read", || Arc::strong_count(&self.log) == 1);
        status.expect("the loop ended")
    }

    /// Memory that it has in use, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).expect("it runs");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("it runs");
        let kib: u64 = line
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .expect("a number");
        kib * 1024
    }

    /// Processor time that it has used so far, in milliseconds.
    pub fn cpu_ms(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id())).expect("it runs");
        let (_, fields) = stat.rsplit_once(") ").expect("a name in parentheses");
        let ticks = fields.split(' ').skip(11).take(2);
        // A tick is 10 ms on every Linux that matters (USER_HZ is 100).
        ticks
            .map(|ticks| ticks.parse::<u64>().expect("a number") * 10)
            .sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let log = text_of(&self.log);
        if !thread::panicking() {
            assert!(!log.contains("panicked"), "the server panicked: {log}");
        } else {
            eprintln!("the log of the server:\n{log}");
        }
    }
}

/// The program, with an environment that says nothing about it.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ROOMCAST_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs the program to its end, which must come soon, and gives its status, standard output and standard error.
pub fn run_to_end(command: &mut Command) -> (ExitStatus, String, String) {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let out = collect(child.stdout.take().expect("it is piped"));
    let err = collect(child.stderr.take().expect("it is piped"));
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().expect("it is our child") {
            break status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the program runs on: {}", text_of(&err));
        }
        thread::sleep(std::time::Duration::from_millis(5));
    };
    // The readers see the end of the pipes now.
    until("both pipes are read", || {
        Arc::strong_count(&out) + Arc::strong_count(&err) == 2
    });
    (status, text_of(&out), text_of(&err))
}

/// Reads a pipe to its end in a thread of its own, which holds the other reference.
fn collect(mut pipe: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let log = Arc::new(Mutex::new(String::new()));
    let into = Arc::clone(&log);
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..count]);
            into.lock().expect("no reader panics").push_str(&text);
        }
    });
    log
}

fn text_of(log: &Mutex<String>) -> String {
    log.lock().expect("no reader panics").clone()
}
