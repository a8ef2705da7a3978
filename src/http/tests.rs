//! The server over real sockets on loopback.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use tokio::time::Instant;

use super::*;
use crate::metrics::ConfigInfo;
use crate::secret::Secret;
use crate::status::{Halt, HaltCode, State};

struct Running {
    server: HttpServer,
    status: Status,
    metrics: Metrics,
}

fn start(auth: Option<&HttpAuth>) -> Running {
    let status = Status::new("shop.walpost", "walpost");
    let metrics = Metrics::new(&status, &ConfigInfo::default());
    let addr = "127.0.0.1:0".parse().unwrap();
    let server = serve(addr, vec![(status.clone(), metrics.clone())], (auth, Vec::new())).unwrap();
    Running { server, status, metrics }
}

impl Running {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.server.local_addr()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// Sends bytes as they are and reads to the end: the server closes.
    fn send(&self, request: &[u8]) -> String {
        let mut stream = self.connect();
        // The server may answer and close before it has read all of a request that is too large.
        drop(stream.write_all(request));
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
        String::from_utf8(answer).unwrap()
    }

    fn get(&self, path: &str) -> String {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())
    }

    #[track_caller]
    fn check(&self, path: &str, status: &str, body: &str) {
        let answer = self.get(path);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {answer}");
        assert!(answer.split_once("\r\n\r\n").unwrap().1.contains(body), "{path}: {answer}");
    }
}

#[test]
fn the_probes_follow_the_status() {
    let running = start(None);
    let _heartbeat = running.status.heartbeat("pipeline");
    running.check("/livez", "200", "ok: all tasks move\n");
    running.check("/startupz", "503", "no: tasks are being started\n");
    running.check("/readyz", "503", "no: starting: Postgres was not reached yet");
    running.status.tasks_started();
    running.check("/startupz", "200", "ok: all tasks run\n");
    running.status.set_state(State::Streaming);
    running.check("/readyz", "200", "ok: streaming\n");
    running.status.halt(Halt {
        code: HaltCode::SlotMissing,
        message: "replication slot \"walpost\" does not exist".into(),
        hint: "run `walpost checkpoint accept`".into(),
    });
    running.check("/readyz", "503", "halted (slot_missing): replication slot");
    running.check("/livez", "200", "ok");
    running.status.set_state(State::Draining);
    running.check("/readyz", "503", "no: draining");
}

#[test]
fn every_answer_forbids_caching_guessing_and_framing() {
    let running = start(None);
    for path in ["/", "/livez", "/readyz", "/startupz", "/metrics", "/status.json", "/nothing"] {
        let answer = running.get(path).to_lowercase();
        for header in [
            "cache-control: no-store",
            "x-content-type-options: nosniff",
            "content-security-policy: default-src 'none'",
            "connection: close",
        ] {
            assert!(answer.contains(header), "{path} lacks {header}: {answer}");
        }
    }
}

#[test]
fn an_unknown_path_names_the_known_ones_and_echoes_nothing() {
    let running = start(None);
    running.check("/%3Cscript%3E?%3Cb%3E", "404", "there are / /livez /readyz /startupz /metrics");
    let answer = running.get("/very-own-path?very-own-query");
    assert!(!answer.contains("very-own"), "{answer}");
}

#[test]
fn only_get_and_head_are_allowed() {
    let running = start(None);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "VERY-OWN"] {
        let answer =
            running.send(format!("{method} /livez HTTP/1.1\r\nHost: l\r\n\r\n").as_bytes());
        assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
        assert!(answer.to_lowercase().contains("allow: get,head"), "{answer}");
        assert!(!answer.contains("VERY-OWN"), "{answer}");
    }
    let answer = running.send(b"HEAD /livez HTTP/1.1\r\nHost: l\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[test]
fn the_page_and_the_json_ask_for_the_password_and_the_rest_does_not() {
    let auth = HttpAuth { username: "Aladdin".into(), password: Secret::new("open sesame") };
    let running = start(Some(&auth));
    for path in ["/", "/status.json"] {
        let answer = running.get(path);
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
        assert!(answer.to_lowercase().contains("www-authenticate: basic realm="), "{answer}");
        assert!(!answer.contains("shop.walpost"), "{answer}");
        let with = |pair: &str| {
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: l\r\nAuthorization: Basic {pair}\r\n\r\n");
            running.send(request.as_bytes())
        };
        assert!(with("QWxhZGRpbjpvcGVuIHNlc2FtZQ==").starts_with("HTTP/1.1 200"));
        assert!(with("QWxhZGRpbjpvcGVuIHNlc2FtZR==").starts_with("HTTP/1.1 401"));
    }
    running.check("/livez", "200", "ok");
    running.check("/metrics", "200", "walpost_state{");
}

#[test]
fn the_json_is_what_the_page_says() {
    let running = start(None);
    running.status.set_state(State::Streaming);
    let answer = running.get("/status.json");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.to_lowercase().contains("content-type: application/json"), "{head}");
    let json: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(json["name"], "shop.walpost");
    assert_eq!(json["ready"]["ok"], true);
    running.check("/", "200", json["verdict"].as_str().unwrap().split(',').next().unwrap());
}

#[test]
fn a_request_that_is_too_large_is_refused() {
    let running = start(None);
    let large = format!("GET /livez HTTP/1.1\r\nHost: l\r\nX: {}\r\n\r\n", "a".repeat(HEAD_MAX));
    let answer = running.send(large.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let many = format!("GET /livez HTTP/1.1\r\n{}\r\n", "X: 1\r\n".repeat(HEADERS_MAX + 1));
    let answer = running.send(many.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[test]
fn bytes_that_are_no_request_do_no_harm() {
    let running = start(None);
    for bytes in
        [&b"\x16\x03\x01\x02\x00\x01\x00"[..], b"\r\n\r\n\r\n", b"GET", b"\0\0\0\0\r\n\r\n"]
    {
        let mut stream = running.connect();
        stream.write_all(bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{bytes:?}");
    }
    running.check("/livez", "200", "ok");
}

#[test]
fn clients_that_send_nothing_keep_the_probes_out_only_for_the_head_timeout() {
    let running = start(None);
    let silent: Vec<TcpStream> = (0..CONNECTIONS_MAX).map(|_| running.connect()).collect();
    let began = Instant::now();
    running.check("/livez", "200", "ok");
    let waited = began.elapsed();
    assert!(waited > HEAD_TIMEOUT / 2, "more connections were served than allowed: {waited:?}");
    assert!(waited < HEAD_TIMEOUT * 3, "{waited:?}");
    drop(silent);
}

#[test]
fn a_port_that_is_taken_is_an_error_that_names_the_variable() {
    let running = start(None);
    let addr = running.server.local_addr();
    let error =
        serve(addr, vec![(running.status.clone(), running.metrics.clone())], (None, Vec::new()))
            .unwrap_err()
            .to_string();
    assert!(error.starts_with(&format!("WALPOST_HTTP_ADDR={addr}: cannot listen: ")), "{error}");
    assert!(error.contains("set another port"), "{error}");
}

#[test]
fn a_dropped_server_has_let_go_of_its_port() {
    let Running { server, status, metrics } = start(None);
    let addr = server.local_addr();
    drop(server);
    assert!(TcpStream::connect(addr).is_err());
    drop(serve(addr, vec![(status, metrics)], (None, Vec::new())).unwrap());
}
