//! TLS in front of a schema registry, as an ingress has it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::registry::Registry;

/// An address at which the registry is reached by TLS only. One request a connection.
pub(crate) struct TlsDoor {
    port: u16,
    config: Arc<Mutex<Arc<ServerConfig>>>,
}

/// What a certificate and its key, both in PEM, are for a server.
#[track_caller]
fn config(certificate: &str, key: &str) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = CertificateDer::pem_file_iter(certificate).unwrap();
    let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap());
    Arc::new(config.unwrap())
}

impl TlsDoor {
    /// Opens it with this certificate.
    #[track_caller]
    pub(crate) fn open(certificate: &str, key: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Mutex::new(config(certificate, key)));
        let door = Self { port, config: Arc::clone(&shared) };
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let config = Arc::clone(&shared.lock().unwrap_or_else(PoisonError::into_inner));
                std::thread::spawn(move || pass(stream, config));
            }
        });
        door
    }

    /// Has another certificate from the next connection on.
    #[track_caller]
    pub(crate) fn renew(&self, certificate: &str, key: &str) {
        let renewed = config(certificate, key);
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = renewed;
    }

    /// The registry's URL through the door.
    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}{}", self.port, Registry::PATH)
    }
}

/// Passes one request and its answer on.
fn pass(stream: TcpStream, config: Arc<ServerConfig>) -> Option<()> {
    let mut client = StreamOwned::new(ServerConnection::new(config).ok()?, stream);
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    let mut body = vec![0; length.unwrap_or(0)];
    client.read_exact(&mut body).ok()?;
    let mut server = TcpStream::connect(("127.0.0.1", Registry::shared().port())).ok()?;
    // The answer then ends with the connection.
    let head = head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    server.write_all(head.as_bytes()).ok()?;
    server.write_all(&body).ok()?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).ok()?;
    client.write_all(&answer).ok()?;
    client.conn.send_close_notify();
    client.flush().ok()
}
