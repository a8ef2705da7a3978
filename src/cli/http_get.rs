//! A GET of a page of our own, for commands that ask a running walpost. No shell and no curl are
//! in the image.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// How long the other side may take.
const LIMIT: Duration = Duration::from_secs(5);

/// How much of an answer is read.
const ANSWER_MAX: u64 = 16 * 1024 * 1024;

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

/// Gets `http://host:port/path`. `login` is sent as basic authentication.
pub(super) fn get(url: &str, login: Option<&str>) -> io::Result<Answer> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what.to_owned());
    let rest = url
        .strip_prefix("http://")
        .ok_or_else(|| invalid("expected a URL that begins with http://"))?;
    let (authority, path) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
    let address =
        authority.to_socket_addrs()?.next().ok_or_else(|| invalid("the host has no address"))?;
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    let login = login.map_or_else(String::new, |login| {
        use base64::Engine as _;
        let encoded = base64::engine::general_purpose::STANDARD.encode(login);
        format!("Authorization: Basic {encoded}\r\n")
    });
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {authority}\r\n{login}Connection: close\r\n\r\n")?;
    let mut bytes = Vec::new();
    stream.take(ANSWER_MAX).read_to_end(&mut bytes)?;
    parse(&String::from_utf8_lossy(&bytes))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP"))
}

/// Takes an answer apart. Our own server sends a length and no chunks.
fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.lines().next()?.strip_prefix("HTTP/1.1 ")?;
    let status = status.split(' ').next()?.parse().ok()?;
    Some(Answer { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_status_and_a_body() {
        let answer = parse("HTTP/1.1 503 Service Unavailable\r\na: b\r\n\r\nbody").expect("http");
        assert_eq!((answer.status, answer.body.as_str()), (503, "body"));
        assert!(parse("SSH-2.0-x\r\n\r\n").is_none());
    }
}
