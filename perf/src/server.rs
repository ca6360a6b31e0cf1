//! The server under test: started here on cores of its own, or one that runs already.

use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::args::Endpoint;
use crate::cores;
use crate::destination::Address;
use crate::limits::STOP_MS;
use crate::peers::Peer;
use crate::process::{self, Memory, Sample};
use crate::room::{Dialect, Room};

/// Which server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// roomcast, from this file.
    Roomcast(PathBuf),
    /// One that this program has in itself.
    Peer(Peer),
    /// Another program that says where it listens like roomcast does, and has `/raw/ROOM` and `/echo`.
    Program(PathBuf),
    /// One that runs already.
    Running(Running),
}

/// A server that runs already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// What to call it.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its process.
    pub pid: u32,
    /// Where its room is, and how to publish there.
    pub room: Room,
}

/// Where and how a server is started.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Cores of the server.
    pub server_cores: Vec<usize>,
    /// Cores of this program.
    pub client_cores: Vec<usize>,
    /// Threads of roomcast.
    pub shard_count: u16,
    /// Whether roomcast speaks TLS.
    pub is_tls: bool,
    /// More arguments for roomcast.
    pub arguments: Vec<String>,
    /// Where roomcast keeps messages.
    pub storage: Storage,
    /// How often the bare loop pings, in milliseconds, if it does.
    pub ping_ms: Option<u32>,
}

/// Where roomcast keeps messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// Nowhere but in memory.
    Memory,
    /// In this folder.
    Data(PathBuf),
}

/// A server that runs.
pub struct Server {
    address: Address,
    pid: u32,
    child: Option<(Child, BufReader<ChildStdout>)>,
}

impl Choice {
    /// Reads the name of a peer, `program:` and a path, or the path of a roomcast.
    pub fn named(name: &str) -> Choice {
        match (Peer::named(name), name.strip_prefix("program:")) {
            (Some(peer), _) => Choice::Peer(peer),
            (None, Some(path)) => Choice::Program(path.into()),
            (None, None) => Choice::Roomcast(name.into()),
        }
    }

    /// What it is called in a table.
    pub fn name(&self) -> String {
        match self {
            Choice::Roomcast(path) | Choice::Program(path) => path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            Choice::Peer(peer) => peer.name().into(),
            Choice::Running(running) => running.name.clone(),
        }
    }

    /// Whether it speaks `roomcast.v1`, or only relays.
    pub fn chats(&self) -> bool {
        match self {
            Choice::Roomcast(_) => true,
            Choice::Running(running) => running.room.dialect == Dialect::Chat,
            Choice::Peer(_) | Choice::Program(_) => false,
        }
    }

    /// Whether it can be started with TLS.
    pub fn speaks_tls(&self) -> bool {
        match self {
            Choice::Roomcast(_) => true,
            Choice::Peer(_) | Choice::Program(_) | Choice::Running(_) => false,
        }
    }

    /// Where its room is.
    pub fn room(&self, endpoint: Endpoint) -> Room {
        match (self, endpoint) {
            (Choice::Running(running), _) => running.room.clone(),
            (Choice::Roomcast(_), Endpoint::Ws) => Room::chat(),
            (Choice::Roomcast(_) | Choice::Peer(_) | Choice::Program(_), _) => Room::raw(),
        }
    }

    fn command(&self, setting: &Setting) -> io::Result<Option<Command>> {
        Ok(match self {
            Choice::Roomcast(path) => Some(roomcast(path, setting)),
            Choice::Peer(peer) => Some(peer.command(setting.ping_ms)?),
            Choice::Program(path) => Some(Command::new(path)),
            Choice::Running(_) => None,
        })
    }
}

impl Server {
    /// Starts a server, or finds the one that runs, and waits until it listens. This thread is on its own cores then.
    ///
    /// # Errors
    ///
    /// There is no such server, or it does not start.
    pub fn start(choice: &Choice, setting: &Setting) -> io::Result<Server> {
        let Some(mut command) = choice.command(setting)? else {
            return Server::running(choice, setting);
        };
        // The child inherits the cores of this thread.
        cores::pin(&setting.server_cores)?;
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        cores::pin(&setting.client_cores)?;
        let child = child.map_err(|error| {
            io::Error::other(format!("{} does not start: {error}", choice.name()))
        })?;
        Server::listening(child)
    }

    /// One that runs already is kept to its cores too.
    fn running(choice: &Choice, setting: &Setting) -> io::Result<Server> {
        let Choice::Running(running) = choice else {
            return Err(io::Error::other("this server has still to be started"));
        };
        cores::pin(&setting.client_cores)?;
        cores::pin_process(running.pid, &setting.server_cores)?;
        Ok(Server {
            address: running.address.into(),
            pid: running.pid,
            child: None,
        })
    }

    /// Waits for the line that says where a server listens.
    fn listening(mut child: Child) -> io::Result<Server> {
        let stdout = child
            .stdout
            .take()
            .ok_or_else(|| io::Error::other("a server has no standard output"))?;
        let mut server = Server {
            address: SocketAddr::from(([127, 0, 0, 1], 0)).into(),
            pid: child.id(),
            child: Some((child, BufReader::new(stdout))),
        };
        let mut line = String::new();
        if let Some((_, stdout)) = &mut server.child {
            stdout.read_line(&mut line)?;
        }
        server.address = listens(&line).ok_or_else(|| {
            io::Error::other(format!("the server does not listen; it said {line:?}"))
        })?;
        Ok(server)
    }

    /// Where it listens.
    pub fn address(&self) -> Address {
        self.address
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// See [`Sample::take`].
    ///
    /// # Errors
    ///
    /// It is gone.
    pub fn sample(&self) -> io::Result<Sample> {
        Sample::take(self.pid).map_err(gone)
    }

    /// See [`process::memory`].
    ///
    /// # Errors
    ///
    /// It is gone.
    pub fn memory(&self) -> io::Result<Memory> {
        process::memory(self.pid).map_err(gone)
    }

    /// See [`process::peak_kib`].
    ///
    /// # Errors
    ///
    /// It is gone.
    pub fn peak_kib(&self) -> io::Result<u64> {
        process::peak_kib(self.pid).map_err(gone)
    }

    /// Stops the server, if it was started here.
    ///
    /// # Errors
    ///
    /// It could not be asked, or did not stop by itself.
    pub fn stop(mut self) -> io::Result<()> {
        let Some((child, _)) = &mut self.child else {
            return Ok(());
        };
        kill_process(Pid::from_child(child), Signal::TERM)?;
        let deadline = Instant::now() + Duration::from_millis(STOP_MS);
        while Instant::now() < deadline {
            if child.try_wait()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(io::Error::other(
            "the server did not stop when it was asked to, and was killed",
        ))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some((child, _)) = &mut self.child {
            // One that has ended already is only waited for.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What the line says with which a server begins.
fn listens(line: &str) -> Option<Address> {
    let url = line.trim().strip_prefix("listening on ")?;
    let (scheme, address) = url.split_once("://")?;
    let is_tls = match scheme {
        "http" => false,
        "https" => true,
        _ => return None,
    };
    let socket = address.parse().ok()?;
    Some(Address { socket, is_tls })
}

fn roomcast(path: &PathBuf, setting: &Setting) -> Command {
    let mut command = Command::new(path);
    command.args([
        "--listen",
        "127.0.0.1:0",
        "--raw",
        "--echo",
        "--log",
        "error",
        "--shards",
    ]);
    command.arg(setting.shard_count.to_string());
    match &setting.storage {
        Storage::Memory => command.arg("--memory"),
        Storage::Data(folder) => command.arg("--data").arg(folder),
    };
    if setting.is_tls {
        // In memory, so that it is made at each start.
        command.arg("--tls-self-signed");
    }
    command.args(&setting.arguments);
    command
}

fn gone(error: io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("the server is gone, or not ours to look at: {error}"),
    )
}
