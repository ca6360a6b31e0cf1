//! Connections to relays.

use super::{Frame, Opcode, PATIENCE, Server, Socket};
use std::time::{Duration, Instant};

/// Connections to a relay that are surely in it, which has no word for those who enter.
pub fn enter(server: &Server, path: &str, count: usize) -> Vec<Socket> {
    let mut sockets: Vec<Socket> = (0..count).map(|_| server.socket(path)).collect();
    // Each is heard by every other one, so it hears as well.
    for sender in 0..count {
        let heard = |sockets: &mut Vec<Socket>| {
            let (left, right) = sockets.split_at_mut(sender);
            let Some((from, right)) = right.split_first_mut() else {
                return;
            };
            let deadline = Instant::now() + PATIENCE;
            for other in left.iter_mut().chain(right) {
                // Repeated until it comes: the other may be on its way in.
                loop {
                    from.send(Opcode::Text, b"hello");
                    if other.frame_within(Duration::from_millis(100)).is_some() {
                        break;
                    }
                    assert!(Instant::now() < deadline, "they meet in time");
                }
            }
        };
        heard(&mut sockets);
    }
    drain(&mut sockets);
    sockets
}

/// Reads what is left of the greetings, up to a mark from each.
fn drain(sockets: &mut [Socket]) {
    for (number, socket) in sockets.iter_mut().enumerate() {
        socket.send(Opcode::Binary, &[number as u8]);
    }
    let count = sockets.len();
    for socket in sockets {
        let mut marks = 1;
        while marks < count {
            match socket.message() {
                Frame::Binary(_) => marks += 1,
                frame => assert_eq!(frame, Frame::Text("hello".to_owned())),
            }
        }
    }
}
