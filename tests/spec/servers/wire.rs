//! A network that fails: carries bytes between clients and a server, and loses, delays, slices or cuts
//! them when told to. Of Kafka's protocol it knows where a frame begins and of which kind it is.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use socket2::SockRef;

use super::{PATIENCE, free_ports};

/// How often a blocked direction looks whether its connection is to end.
const STEP: Duration = Duration::from_millis(100);

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Frames of Kafka's.
    Kafka,
    /// Anything.
    Bytes,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Connections end, and new ones are reset at once, until it is healed.
    Refuse,
    /// Connections end by a reset; new ones work.
    Reset,
    /// The server's side of each connection ends and the client is not told, until it is healed.
    HalfOpen,
    /// Nothing passes in either direction until it is healed; then all connections are reset.
    BlackHole,
    /// Whatever passes waits for so many milliseconds, until it is healed.
    Delay(u64),
    /// Whatever passes does so in pieces of one to nine bytes, until it is healed.
    Slice,
    /// Of what passes next to the client, half arrives; then the connection is reset.
    Cut,
    /// The next answer to a request of this kind is lost, and its connection reset.
    LoseAnswer(i16),
    /// The next request of this kind does not arrive and its connection is reset; it arrives on
    /// another connection when it is healed.
    Hold(i16),
}

/// A running network. It ends with the test process.
#[derive(Debug)]
pub(crate) struct Wire {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    server: u16,
    protocol: Protocol,
    state: Mutex<State>,
    /// How often a fault has really met something.
    met: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    fault: Option<Fault>,
    held: Option<Vec<u8>>,
    connections: Vec<Arc<Connection>>,
}

#[derive(Debug)]
struct Connection {
    client: TcpStream,
    server: TcpStream,
    /// To end, by a reset.
    ended: AtomicBool,
    /// The server's side is gone, and what the client says is swallowed.
    half_open: AtomicBool,
    /// Kinds of the requests that are not answered, by their numbers.
    asked: Mutex<HashMap<[u8; 4], i16>>,
}

impl Wire {
    /// Listens on a port of its own for clients of the server at `server`.
    #[track_caller]
    pub(crate) fn start(server: u16, protocol: Protocol) -> Self {
        Self::start_on(free_ports(1), server, protocol)
    }

    /// Listens on `port` for clients of the server at `server`.
    #[track_caller]
    pub(crate) fn start_on(port: u16, server: u16, protocol: Protocol) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let shared =
            Arc::new(Shared { server, protocol, state: Mutex::default(), met: AtomicU64::new(0) });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // A server that is down refuses, and so does this.
                drop(accept(client, &accepting));
            }
        });
        Self { port, shared }
    }

    /// What clients connect to.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// How many connections, requests or answers faults have met so far.
    pub(crate) fn met(&self) -> u64 {
        self.shared.met.load(Ordering::Relaxed)
    }

    /// From now on this is wrong.
    pub(crate) fn strike(&self, fault: Fault) {
        let mut state = self.shared.state();
        state.fault = Some(fault);
        let living = state.connections.iter().filter(|it| !it.ended.load(Ordering::Relaxed));
        let mut met = 0;
        for connection in living {
            match fault {
                Fault::Refuse | Fault::Reset => connection.reset(),
                Fault::HalfOpen => connection.half_open(),
                Fault::BlackHole | Fault::Delay(_) | Fault::Slice => {}
                Fault::Cut | Fault::LoseAnswer(_) | Fault::Hold(_) => continue,
            }
            met += 1;
        }
        self.shared.met.fetch_add(met, Ordering::Relaxed);
        if fault == Fault::Reset {
            state.fault = None;
        }
    }

    /// From now on all is well. What was held arrives, and what cannot go on is reset.
    pub(crate) fn heal(&self) {
        let mut state = self.shared.state();
        let fault = state.fault.take();
        let held = state.held.take();
        for connection in &state.connections {
            if fault == Some(Fault::BlackHole) || connection.half_open.load(Ordering::Relaxed) {
                connection.reset();
            }
        }
        drop(state);
        if let Some(request) = held {
            // The broker's answer is of no interest; a broker that is down loses the request.
            drop(self.deliver(&request));
        }
    }

    fn deliver(&self, request: &[u8]) -> std::io::Result<()> {
        let mut server = TcpStream::connect(("127.0.0.1", self.shared.server))?;
        server.set_read_timeout(Some(PATIENCE))?;
        server.write_all(request)?;
        let mut length = [0; 4];
        server.read_exact(&mut length)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self) -> Option<Fault> {
        self.state().fault
    }

    /// Takes this fault away if it is the present one: it happens once.
    fn once(&self, fault: Fault) -> bool {
        let mut state = self.state();
        let meets = state.fault == Some(fault);
        if meets {
            self.met.fetch_add(1, Ordering::Relaxed);
            state.fault = None;
        }
        meets
    }
}

impl Connection {
    /// Both sides get a reset as soon as both directions have noticed.
    fn reset(&self) {
        self.ended.store(true, Ordering::Relaxed);
        for stream in [&self.client, &self.server] {
            // Fails for a side that is gone already.
            drop(SockRef::from(stream).set_linger(Some(Duration::ZERO)));
            drop(stream.shutdown(Shutdown::Read));
        }
    }

    fn half_open(&self) {
        self.half_open.store(true, Ordering::Relaxed);
        drop(self.server.shutdown(Shutdown::Both));
    }

    fn is_over(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

fn accept(client: TcpStream, shared: &Arc<Shared>) -> std::io::Result<()> {
    if shared.fault() == Some(Fault::Refuse) {
        return SockRef::from(&client).set_linger(Some(Duration::ZERO));
    }
    let server = TcpStream::connect(("127.0.0.1", shared.server))?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(STEP))?;
    }
    let connection = Arc::new(Connection {
        client,
        server,
        ended: AtomicBool::new(false),
        half_open: AtomicBool::new(false),
        asked: Mutex::default(),
    });
    {
        let mut state = shared.state();
        state.connections.retain(|it| Arc::strong_count(it) > 1);
        state.connections.push(Arc::clone(&connection));
    }
    for up in [true, false] {
        let (connection, shared) = (Arc::clone(&connection), Arc::clone(shared));
        std::thread::spawn(move || {
            // An error is the end of the connection, whoever ended it.
            drop(carry(&connection, &shared, up));
            if !connection.half_open.load(Ordering::Relaxed) {
                let ends = connection.is_over();
                connection.ended.store(true, Ordering::Relaxed);
                let how = if ends { Shutdown::Read } else { Shutdown::Both };
                drop(connection.client.shutdown(how));
                drop(connection.server.shutdown(how));
            }
            // The sockets close with the last owner, which is the list.
            shared.state().connections.retain(|it| Arc::strong_count(it) > 2 || !it.is_over());
        });
    }
    Ok(())
}

/// Carries one direction until either side ends it.
fn carry(connection: &Connection, shared: &Shared, up: bool) -> std::io::Result<()> {
    let (from, to) = if up {
        (&connection.client, &connection.server)
    } else {
        (&connection.server, &connection.client)
    };
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let bytes = match shared.protocol {
            Protocol::Kafka => frame(from)?,
            Protocol::Bytes => {
                let read = (&*from).read(&mut buffer)?;
                buffer[..read].to_vec()
            }
        };
        if bytes.is_empty() {
            return Ok(());
        }
        if shared.protocol == Protocol::Kafka && !passes(connection, shared, &bytes, up) {
            connection.reset();
            return Ok(());
        }
        while shared.fault() == Some(Fault::BlackHole) && !connection.is_over() {
            std::thread::sleep(STEP);
        }
        if connection.is_over() {
            return Ok(());
        }
        if connection.half_open.load(Ordering::Relaxed) {
            continue;
        }
        write(connection, shared, (to, &bytes), up)?;
    }
}

/// Whether a frame of Kafka's goes on.
fn passes(connection: &Connection, shared: &Shared, frame: &[u8], up: bool) -> bool {
    let mut asked = connection.asked.lock().unwrap_or_else(PoisonError::into_inner);
    if !up {
        let number: [u8; 4] = frame[4..8].try_into().unwrap();
        let kind = asked.remove(&number);
        return kind.is_none_or(|kind| !shared.once(Fault::LoseAnswer(kind)));
    }
    // Length, kind, version, number of the request.
    let kind = i16::from_be_bytes([frame[4], frame[5]]);
    asked.insert(frame[8..12].try_into().unwrap(), kind);
    if shared.once(Fault::Hold(kind)) {
        shared.state().held = Some(frame.to_owned());
        return false;
    }
    true
}

fn write(
    connection: &Connection,
    shared: &Shared,
    (to, bytes): (&TcpStream, &[u8]),
    up: bool,
) -> std::io::Result<()> {
    match shared.fault() {
        Some(Fault::Delay(milliseconds)) => {
            std::thread::sleep(Duration::from_millis(milliseconds));
        }
        Some(Fault::Cut) if !up && bytes.len() > 1 && shared.once(Fault::Cut) => {
            all(connection, to, &bytes[..bytes.len() / 2])?;
            connection.reset();
            return Ok(());
        }
        Some(Fault::Slice) => {
            for (number, piece) in pieces(bytes).enumerate() {
                all(connection, to, piece)?;
                // So that pieces arrive as pieces, without taking hours for a megabyte.
                if number % 64 == 0 {
                    std::thread::sleep(Duration::from_micros(200));
                }
            }
            return Ok(());
        }
        _ => {}
    }
    all(connection, to, bytes)
}

fn pieces(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    let mut size = 0;
    std::iter::from_fn(move || {
        size = size % 9 + 1;
        let (piece, behind) = rest.split_at(rest.len().min(size));
        rest = behind;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Writes all of it, unless the connection ends meanwhile.
fn all(connection: &Connection, mut to: &TcpStream, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if connection.is_over() {
                    return Ok(());
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// One frame of Kafka's with its length.
fn frame(mut from: &TcpStream) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let size = usize::try_from(i32::from_be_bytes(length)).unwrap();
    let mut frame = vec![0; size + 4];
    frame[..4].copy_from_slice(&length);
    from.read_exact(&mut frame[4..])?;
    Ok(frame)
}
