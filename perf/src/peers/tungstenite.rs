//! A relay on tokio-tungstenite.

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::broadcast::error::TryRecvError;
use tokio::sync::broadcast::{Receiver, Sender};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

use super::relay::{Connection, Relayed, Rooms};

/// See [`Connection`].
pub fn serve(stream: TcpStream, rooms: Rooms<Message>) -> Connection {
    Box::pin(async move {
        let mut path = String::new();
        // The type of the error is the library's.
        #[expect(clippy::result_large_err)]
        let look = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
            path = request.uri().path().to_owned();
            Ok(response)
        };
        // By default it clears 128 KiB before each read, which would be most of its time here.
        let config = WebSocketConfig::default().read_buffer_size(4096);
        let socket = accept_hdr_async_with_config(stream, look, Some(config))
            .await
            .ok()?;
        if path == "/echo" {
            echo(socket).await
        } else {
            relay(socket, &rooms.join(&path), rooms.number).await
        }
    })
}

async fn echo(mut socket: WebSocketStream<TcpStream>) -> Option<()> {
    while let Some(message) = socket.next().await {
        let message = message.ok()?;
        if message.is_text() || message.is_binary() {
            socket.send(message).await.ok()?;
        }
    }
    Some(())
}

async fn relay(
    mut socket: WebSocketStream<TcpStream>,
    room: &Sender<Relayed<Message>>,
    number: u64,
) -> Option<()> {
    let mut others = room.subscribe();
    loop {
        tokio::select! {
            message = socket.next() => {
                let message = message?.ok()?;
                if message.is_text() || message.is_binary() {
                    room.send(Relayed { author: number, message }).ok()?;
                }
            }
            relayed = others.recv() => {
                forward(&mut socket, relayed.ok()?, &mut others, number).await?;
            }
        }
    }
}

/// Sends a message, and all that came behind it, with one flush.
async fn forward(
    socket: &mut WebSocketStream<TcpStream>,
    mut relayed: Relayed<Message>,
    others: &mut Receiver<Relayed<Message>>,
    number: u64,
) -> Option<()> {
    loop {
        if relayed.author != number {
            socket.feed(relayed.message).await.ok()?;
        }
        relayed = match others.try_recv() {
            Ok(relayed) => relayed,
            Err(TryRecvError::Empty) => break,
            Err(TryRecvError::Lagged(_) | TryRecvError::Closed) => return None,
        };
    }
    socket.flush().await.ok()
}
