//! A relay on fastwebsockets. Its upgrade wants hyper; the one of the bare server, which knows this program's requests,
//! does as well.

use std::io;
use std::sync::Arc;

use fastwebsockets::{
    FragmentCollectorRead, Frame, OpCode, Payload, Role, WebSocketWrite, after_handshake_split,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufWriter};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::broadcast::error::TryRecvError;
use tokio::sync::broadcast::{Receiver, Sender};

use super::bare::{Mode, answer, requested};
use super::relay::{Connection, Relayed, Rooms};

/// What members send each other.
#[derive(Clone)]
pub struct Message {
    opcode: OpCode,
    bytes: Arc<[u8]>,
}

type Reader = FragmentCollectorRead<OwnedReadHalf>;
type Writer = WebSocketWrite<BufWriter<OwnedWriteHalf>>;

/// See [`Connection`].
pub fn serve(mut stream: TcpStream, rooms: Rooms<Message>) -> Connection {
    Box::pin(async move {
        let (mode, path) = upgrade(&mut stream).await?;
        let (read, write) = stream.into_split();
        let (reader, writer) = after_handshake_split(read, BufWriter::new(write), Role::Server);
        let reader = FragmentCollectorRead::new(reader);
        match mode {
            Mode::Echo => echo(reader, writer).await,
            Mode::Room | Mode::Aside | Mode::Http => {
                let room = rooms.join(&path);
                let forward = forward(writer, room.subscribe(), rooms.number);
                let forwarding = tokio::task::spawn_local(forward);
                let ended = publish(reader, &room, rooms.number).await;
                forwarding.abort();
                ended
            }
        }
    })
}

/// Answers a request. Returns what it asks for, and the line in which it does.
async fn upgrade(stream: &mut TcpStream) -> Option<(Mode, String)> {
    let mut head = Vec::with_capacity(512);
    let mode = loop {
        if stream.read_buf(&mut head).await.ok()? == 0 || head.len() > 16 * 1024 {
            return None;
        }
        if let Some((_, mode)) = requested(&head) {
            break mode;
        }
    };
    stream.write_all(answer().as_bytes()).await.ok()?;
    let line = head.split(|byte| *byte == b'\r').next()?;
    Some((mode, String::from_utf8_lossy(line).into_owned()))
}

async fn echo(mut reader: Reader, mut writer: Writer) -> Option<()> {
    loop {
        let message = next(&mut reader).await?;
        write(&mut writer, &message).await?;
        writer.flush().await.ok()?;
    }
}

async fn publish(mut reader: Reader, room: &Sender<Relayed<Message>>, number: u64) -> Option<()> {
    loop {
        let message = next(&mut reader).await?;
        let relayed = Relayed {
            author: number,
            message,
        };
        room.send(relayed).ok()?;
    }
}

/// Sends what others publish: all that is there with one flush.
async fn forward(
    mut writer: Writer,
    mut others: Receiver<Relayed<Message>>,
    number: u64,
) -> Option<()> {
    loop {
        let mut relayed = others.recv().await.ok()?;
        loop {
            if relayed.author != number {
                write(&mut writer, &relayed.message).await?;
            }
            relayed = match others.try_recv() {
                Ok(relayed) => relayed,
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Lagged(_) | TryRecvError::Closed) => return None,
            };
        }
        writer.flush().await.ok()?;
    }
}

/// The next message. Nobody here waits for a sign of life.
async fn next(reader: &mut Reader) -> Option<Message> {
    loop {
        let mut answer = |_: Frame<'_>| async { Ok::<(), io::Error>(()) };
        let frame = reader.read_frame(&mut answer).await.ok()?;
        match frame.opcode {
            OpCode::Text | OpCode::Binary => {
                return Some(Message {
                    opcode: frame.opcode,
                    bytes: Arc::from(&*frame.payload),
                });
            }
            OpCode::Close => return None,
            OpCode::Ping | OpCode::Pong | OpCode::Continuation => {}
        }
    }
}

async fn write(writer: &mut Writer, message: &Message) -> Option<()> {
    let payload = Payload::Borrowed(&message.bytes);
    let frame = Frame::new(true, message.opcode, None, payload);
    writer.write_frame(frame).await.ok()
}
