//! What the servers on tokio have in common: one thread, one task for each connection, and one channel for each room.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;

use tokio::net::TcpStream;
use tokio::sync::broadcast;

/// Messages that a member may be behind. One that is further behind is closed.
const BEHIND_COUNT_MAX: usize = 64 * 1024;

/// A message, and whose it is.
#[derive(Clone)]
pub struct Relayed<M> {
    /// Number of the connection that sent it.
    pub author: u64,
    /// What it says. A copy shares the bytes.
    pub message: M,
}

/// What a connection is given.
pub struct Rooms<M> {
    /// Number of this connection.
    pub number: u64,
    channels: Channels<M>,
}

/// Where members of a room publish, and from where they can listen, by its path.
type Channels<M> = Rc<RefCell<HashMap<String, broadcast::Sender<Relayed<M>>>>>;

impl<M: Clone> Rooms<M> {
    /// The room at a path.
    pub fn join(&self, path: &str) -> broadcast::Sender<Relayed<M>> {
        let mut channels = self.channels.borrow_mut();
        let channel = channels
            .entry(path.to_owned())
            .or_insert_with(|| broadcast::channel(BEHIND_COUNT_MAX).0);
        channel.clone()
    }
}

/// One connection, from its first byte to its end.
pub type Connection = Pin<Box<dyn Future<Output = Option<()>>>>;

/// Accepts for ever, and gives every connection a task.
pub fn run<M: Clone + Send + 'static>(
    serve: fn(TcpStream, Rooms<M>) -> Connection,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let tasks = tokio::task::LocalSet::new();
    let channels: Channels<M> = Rc::default();
    tasks.block_on(&runtime, async move {
        let listener = tokio::net::TcpListener::from_std(super::listener()?)?;
        super::announce(listener.local_addr()?)?;
        for number in 0.. {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let rooms = Rooms {
                number,
                channels: Rc::clone(&channels),
            };
            tokio::task::spawn_local(serve(stream, rooms));
        }
        Ok(())
    })
}
