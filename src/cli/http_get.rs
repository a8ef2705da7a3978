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
    if rest.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(invalid("the URL has a space or a control character in it"));
    }
    let (authority, path) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
    if authority.contains('@') {
        return Err(invalid(
            "the URL names a user; user and password are WALPOST_HTTP_USERNAME and WALPOST_HTTP_PASSWORD",
        ));
    }
    let mut stream = connect(authority)?;
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

/// Connects to the first of a host's addresses that answers; `localhost` has two, of which walpost
/// may listen on one.
fn connect(authority: &str) -> io::Result<TcpStream> {
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let with_port = if has_port { authority.to_owned() } else { format!("{authority}:80") };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in with_port.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, LIMIT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
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
    use std::io::{BufRead as _, BufReader};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn an_answer_has_a_status_and_a_body() {
        let answer = parse("HTTP/1.1 503 Service Unavailable\r\na: b\r\n\r\nbody").expect("http");
        assert_eq!((answer.status, answer.body.as_str()), (503, "body"));
        for refused in ["SSH-2.0-x\r\n\r\n", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 x\r\n\r\n", ""] {
            assert!(parse(refused).is_none(), "{refused:?}");
        }
    }

    #[track_caller]
    fn check_refused(url: &str, expected: &str) {
        let refused = get(url, None).expect_err(url).to_string();
        assert!(refused.contains(expected), "{url}: {refused}");
    }

    #[test]
    fn a_url_that_cannot_be_asked_is_refused() {
        check_refused("https://localhost/", "begins with http://");
        check_refused("http://u:p@localhost/", "names a user");
        check_refused("http://localhost/a b", "space");
        check_refused("http://localhost/\r\nX: y", "space");
    }

    /// Listens on one address of `localhost`, answers once, and gives back what was asked.
    fn serve_once() -> (u16, thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let reader = BufReader::new(stream.try_clone().expect("a second handle"));
            let lines = reader.lines().map(|line| line.expect("text"));
            let asked: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nfine").expect("sent");
            asked
        });
        (port, server)
    }

    #[test]
    fn a_page_is_asked_for_with_the_login() {
        let (port, server) = serve_once();
        let answer = get(&format!("http://localhost:{port}/readyz"), Some("ops:pw")).expect("200");
        assert_eq!((answer.status, answer.body.as_str()), (200, "fine"));
        let asked = server.join().expect("served");
        assert_eq!(asked[0], "GET /readyz HTTP/1.1");
        assert!(asked.contains(&format!("Host: localhost:{port}")), "{asked:?}");
        assert!(asked.contains(&"Authorization: Basic b3BzOnB3".to_owned()), "{asked:?}");
    }
}
