//! One byte stream, whatever carries it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

use super::tls::PeerCertificate;

/// An open connection to a server.
#[derive(Debug)]
pub(super) enum Stream {
    /// In the clear.
    Tcp(TcpStream),
    /// On this machine.
    Unix(UnixStream),
    /// Encrypted.
    Tls(Box<Encrypted>),
}

/// A TLS session and what the peer proved with.
#[derive(Debug)]
pub(super) struct Encrypted {
    /// rustls reads its socket a record or less at a time; the buffer in front of it makes one
    /// system call of many such reads.
    pub(super) session: TlsStream<BufReader<TcpStream>>,
    pub(super) peer: PeerCertificate,
}

impl Stream {
    /// The server's certificate, on an encrypted connection.
    pub(super) fn peer_certificate(&self) -> Option<&PeerCertificate> {
        match self {
            Self::Tls(encrypted) => Some(&encrypted.peer),
            Self::Tcp(_) | Self::Unix(_) => None,
        }
    }

    /// Whether nobody between here and the server can read along: encrypted, or on this machine.
    pub(super) fn is_private(&self) -> bool {
        match self {
            Self::Tls(_) | Self::Unix(_) => true,
            Self::Tcp(socket) => socket.peer_addr().is_ok_and(|peer| peer.ip().is_loopback()),
        }
    }

    /// Reads what is waiting, at most `room` bytes; 0 is the end.
    ///
    /// TCP and Unix sockets are read by one system call. A TLS session gives one record, 16 KiB at
    /// most, a read; so it is read until it would have to wait.
    ///
    /// Cancel safe: it gives back `Pending` only when it has read nothing.
    pub(super) fn poll_read_waiting(
        &mut self,
        cx: &mut Context<'_>,
        room: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut room = ReadBuf::new(room);
        loop {
            let before = room.filled().len();
            match Pin::new(&mut *self).poll_read(cx, &mut room) {
                Poll::Pending if before == 0 => return Poll::Pending,
                // What has arrived goes first. An error or the end is met again by the next read.
                Poll::Pending | Poll::Ready(Err(_)) if before > 0 => {
                    return Poll::Ready(Ok(before));
                }
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) => {}
            }
            let after = room.filled().len();
            let more_may_wait = matches!(self, Self::Tls(_)) && after > before;
            if !more_may_wait || room.remaining() == 0 {
                return Poll::Ready(Ok(after));
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Unix(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Tls(encrypted) => Pin::new(&mut encrypted.session).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_write(cx, buf),
            Self::Unix(socket) => Pin::new(socket).poll_write(cx, buf),
            Self::Tls(encrypted) => Pin::new(&mut encrypted.session).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_flush(cx),
            Self::Unix(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(encrypted) => Pin::new(&mut encrypted.session).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Unix(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(encrypted) => Pin::new(&mut encrypted.session).poll_shutdown(cx),
        }
    }
}
