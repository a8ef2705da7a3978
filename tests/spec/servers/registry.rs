//! A schema registry (Apicurio), and a door in front of it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tempfile::TempDir;

use super::{folder, free_ports, script};

/// A registry that keeps its schemas in memory, under the rule `BACKWARD`.
#[derive(Debug)]
pub(crate) struct Registry {
    port: u16,
    folder: TempDir,
}

impl Registry {
    /// Where Confluent's API is.
    pub(super) const PATH: &str = "/apis/ccompat/v7";

    /// The registry that the tests of this process share; a subject belongs to one test.
    pub(crate) fn shared() -> &'static Self {
        static REGISTRY: OnceLock<Registry> = OnceLock::new();
        REGISTRY.get_or_init(|| {
            let registry = Self { port: free_ports(1), folder: folder("registry") };
            let (port, parent) = (registry.port.to_string(), std::process::id().to_string());
            let folder = registry.folder.path().to_str().unwrap();
            let arguments = ["start", "--port", &port, "--dir", folder, "--rule", "BACKWARD"];
            script(
                "registry",
                &[&arguments[..], &["--with-parent", &parent, "--temporary"]].concat(),
            );
            registry
        })
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}{}", self.port, Self::PATH)
    }

    /// Its port.
    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    /// A door in front of it, which is open.
    #[track_caller]
    pub(crate) fn door(&self) -> Door {
        Door::open(self.port)
    }
}

/// What a user has in front of a registry: an address of its own that may be closed, or ask for a
/// user and password (RFC 7617). One request a connection.
#[derive(Debug)]
pub(crate) struct Door {
    port: u16,
    closed: Arc<AtomicBool>,
    /// The header `authorization` that is let through; `None` lets all.
    wanted: Arc<Mutex<Option<String>>>,
}

impl Door {
    #[track_caller]
    fn open(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (closed, wanted) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(None)));
        let door = Self { port, closed: Arc::clone(&closed), wanted: Arc::clone(&wanted) };
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if closed.load(Ordering::Relaxed) {
                    continue;
                }
                let wanted = wanted.lock().unwrap_or_else(PoisonError::into_inner).clone();
                std::thread::spawn(move || pass(stream, to, wanted.as_deref()));
            }
        });
        door
    }

    /// The registry's URL through the door.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}{}", self.port, Registry::PATH)
    }

    /// Ends every connection from now on.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Lets everybody through again.
    pub(crate) fn open_again(&self) {
        self.closed.store(false, Ordering::Relaxed);
    }

    /// Asks for this value of the header `authorization`.
    pub(crate) fn ask_for(&self, authorization: &str) {
        let wanted = Some(authorization.to_owned());
        *self.wanted.lock().unwrap_or_else(PoisonError::into_inner) = wanted;
    }
}

/// Passes one request and its answer on, or refuses it.
fn pass(mut client: TcpStream, to: u16, wanted: Option<&str>) -> Option<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let sent = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("authorization").then(|| value.trim())
    });
    if wanted.is_some() && sent != wanted {
        let body = r#"{"error_code":401,"message":"Unauthorized"}"#;
        let length = body.len();
        let head = "HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json";
        write!(client, "{head}\r\nContent-Length: {length}\r\n\r\n{body}").ok()?;
        return Some(());
    }
    let mut server = TcpStream::connect(("127.0.0.1", to)).ok()?;
    server.write_all(&head).ok()?;
    let (mut up, mut down) = (client.try_clone().ok()?, server.try_clone().ok()?);
    std::thread::spawn(move || std::io::copy(&mut up, &mut server));
    std::io::copy(&mut down, &mut client).ok()?;
    client.shutdown(Shutdown::Both).ok()
}
