//! A proxy in front of a broker that knows where a request begins and of which kind it is.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{PATIENCE, until};

/// How long the refusal of a misnamed batch takes to come: for as long the client sends what it would
/// send before it knows.
const UNKNOWING: Duration = Duration::from_millis(200);

/// Request kinds by their number in Kafka's protocol.
const PRODUCE: i16 = 0;
pub(crate) const INIT_PRODUCER_ID: i16 = 22;
/// Ends a transaction.
pub(crate) const END_TXN: i16 = 26;

/// What becomes of the connection whose request is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// It is closed, so that the client asks again on another one.
    Closed,
    /// It stays, and the request and what comes behind it wait.
    Waiting,
    /// It stays, and the request never arrives.
    Swallowed,
}

/// A running proxy. It ends with the test process.
#[derive(Debug)]
pub(crate) struct Proxy {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// The broker's port.
    broker: u16,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The kind of request to hold, how many of it pass before, and what follows.
    rule: Option<(i16, usize, Held)>,
    /// The request that is held.
    held: Option<Vec<u8>>,
    /// The topic whose next batch goes to one that is not there.
    misnamed: Option<String>,
    /// Until when answers wait.
    answers_wait: Option<Instant>,
}

impl Proxy {
    /// Listens on `port` for clients of the broker at `broker`.
    #[track_caller]
    pub(crate) fn start(port: u16, broker: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let shared = Arc::new(Shared { broker, state: Mutex::default(), changed: Condvar::new() });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || drop(relay(client, &shared)));
            }
        });
        Self { shared }
    }

    /// From now on lets `passing` requests of a kind pass, and holds the next.
    pub(crate) fn hold(&self, kind: i16, passing: usize, held: Held) {
        *self.shared.state() = State { rule: Some((kind, passing, held)), ..State::default() };
    }

    /// The next batch for this topic is refused for a passing reason: the broker says that it has no
    /// such topic, as one does that is just being told of it, and says so late.
    pub(crate) fn misname(&self, topic: &str) {
        self.shared.state().misnamed = Some(topic.to_owned());
    }

    /// Whether that has come to pass.
    pub(crate) fn has_misnamed(&self) -> bool {
        self.shared.state().misnamed.is_none()
    }

    /// Waits until a request is held.
    #[track_caller]
    pub(crate) fn wait_until_held(&self) {
        until("a request to hold", || self.shared.state().held.is_some().then_some(()));
    }

    /// The request that is held. It never goes on by its own way.
    #[track_caller]
    pub(crate) fn take(&self) -> Vec<u8> {
        self.shared.state().held.clone().expect("a request is held")
    }

    /// Sends a request to the broker on a connection of its own, as one that was long on its way
    /// arrives; returns what the broker answered.
    #[track_caller]
    pub(crate) fn deliver(&self, request: &[u8]) -> Vec<u8> {
        let mut broker = TcpStream::connect(("127.0.0.1", self.shared.broker)).unwrap();
        broker.set_read_timeout(Some(PATIENCE)).unwrap();
        write_frame(&mut broker, request).unwrap();
        read_frame(&mut broker).unwrap()
    }

    /// Lets a request that is held on its connection go on, and everything behind it.
    pub(crate) fn release(&self) {
        *self.shared.state() = State::default();
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn misname(&self, request: &mut [u8]) {
        let mut state = self.state();
        let Some(topic) = &state.misnamed else { return };
        let name = topic.as_bytes();
        let place = request.windows(name.len()).position(|window| window == name);
        if let (Some(place), true) = (place, request.starts_with(&PRODUCE.to_be_bytes())) {
            request[place + name.len() - 1] ^= 1;
            state.misnamed = None;
            state.answers_wait = Some(Instant::now() + UNKNOWING);
        }
    }

    /// Carries what the broker answers, when it may.
    fn answer(&self, broker: &mut TcpStream, client: &mut TcpStream) -> std::io::Result<()> {
        let mut bytes = [0; 16 * 1024];
        loop {
            let length = broker.read(&mut bytes)?;
            if length == 0 {
                return Ok(());
            }
            let until = self.state().answers_wait;
            if let Some(wait) = until.and_then(|until| until.checked_duration_since(Instant::now()))
            {
                std::thread::sleep(wait);
            }
            client.write_all(&bytes[..length])?;
        }
    }

    /// What is to be done with this request, after the waiting where it has to wait; `Waiting` is
    /// that it goes on.
    fn judge(&self, request: &[u8]) -> Held {
        let mut state = self.state();
        let kind = i16::from_be_bytes([request[0], request[1]]);
        match &mut state.rule {
            Some((held, passing, _)) if *held == kind && *passing > 0 => *passing -= 1,
            Some((held, _, what)) if *held == kind => {
                let what = *what;
                state.rule = None;
                state.held = Some(request.to_owned());
                if what != Held::Waiting {
                    return what;
                }
                while state.held.as_deref() == Some(request) {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
            Some(_) | None => {}
        }
        Held::Waiting
    }
}

/// Carries one connection until either side ends it.
fn relay(mut client: TcpStream, shared: &Arc<Shared>) -> std::io::Result<()> {
    let mut broker = TcpStream::connect(("127.0.0.1", shared.broker))?;
    for stream in [&client, &broker] {
        stream.set_nodelay(true)?;
    }
    let (mut answers, mut back) = (broker.try_clone()?, client.try_clone()?);
    let of_answers = Arc::clone(shared);
    std::thread::spawn(move || {
        // Either side may end a connection at any time.
        drop(of_answers.answer(&mut answers, &mut back));
        drop(back.shutdown(Shutdown::Both));
    });
    while let Ok(mut request) = read_frame(&mut client) {
        shared.misname(&mut request);
        match shared.judge(&request) {
            Held::Waiting => write_frame(&mut broker, &request)?,
            Held::Swallowed => {}
            Held::Closed => break,
        }
    }
    drop(client.shutdown(Shutdown::Both));
    broker.shutdown(Shutdown::Both)
}

fn read_frame(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
    stream.read_exact(&mut frame)?;
    Ok(frame)
}

fn write_frame(stream: &mut TcpStream, frame: &[u8]) -> std::io::Result<()> {
    stream.write_all(&i32::try_from(frame.len()).unwrap().to_be_bytes())?;
    stream.write_all(frame)
}
