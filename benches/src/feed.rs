//! A stream of frames in memory that never ends, as each of the libraries wants to read it.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that come again and again. A read takes what a socket with so many bytes waiting would give.
#[derive(Clone, Debug)]
pub struct Feed {
    bytes: Vec<u8>,
    at: usize,
}

impl Feed {
    /// `count` times the same frame with each round of the stream.
    pub fn new(frame: &[u8], count: usize) -> Feed {
        Feed {
            bytes: frame.repeat(count),
            at: 0,
        }
    }

    /// Bytes of a round: no read goes beyond its end.
    pub fn round_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Copies the next bytes, as `recv` does.
    pub fn recv(&mut self, into: &mut [u8]) -> usize {
        let next = self.next(into.len());
        into[..next.len()].copy_from_slice(next);
        next.len()
    }

    fn next(&mut self, bytes_max: usize) -> &[u8] {
        let start = self.at;
        let end = self.bytes.len().min(start + bytes_max);
        self.at = if end == self.bytes.len() { 0 } else { end };
        &self.bytes[start..end]
    }
}

impl io::Read for Feed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        Ok(self.recv(into))
    }
}

impl io::Write for Feed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Feed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let next = self.next(into.remaining());
        into.put_slice(next);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Feed {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Runs what never waits, which over a [`Feed`] is everything: the whole of an executor.
pub fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("a feed has bytes always"),
    }
}
