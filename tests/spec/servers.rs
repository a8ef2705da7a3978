//! The real parts the specification is tested with: Postgres, Kafka, and walpost itself.
//!
//! Everything here blocks, so that a test reads from top to bottom as what happens: start, insert,
//! kill, read, compare. A test makes a [`Database`] of its own in a server that all tests share
//! ([`Postgres::oldest`], [`Postgres::newest`], [`Kafka::shared`]), or, to break a server, one of its
//! own ([`Postgres::start`], [`Kafka::start`]). Whatever a test started ends with the test's
//! values, and with the test process even when that is killed.
//!
//! A server that cannot be installed or started is a panic that says why and what to run: no test
//! is ever skipped for want of a server.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use tokio::time::Instant;

pub(crate) use self::database::{Database, Session};
pub(crate) use self::http::Metrics;
pub(crate) use self::kafka::Kafka;
pub(crate) use self::postgres::Postgres;
pub(crate) use self::record::Record;
pub(crate) use self::walpost::Settings;

mod admin;
pub(crate) mod cluster;
mod database;
pub(crate) mod http;
mod kafka;
mod postgres;
pub(crate) mod proxy;
mod record;
pub(crate) mod registry;
pub(crate) mod registry_tls;
#[cfg(not(feature = "crash-points"))] // The servers are tried once, by `spec`.
mod smoke;
pub(crate) mod tokens;
#[expect(dead_code, reason = "a handle of the whole program; its users come one by one")]
pub(crate) mod walpost;
#[cfg(feature = "crash-points")] // The network of tests/torture.
pub(crate) mod wire;

/// How long a test waits for something that normally takes milliseconds: two busy cores, shared with
/// a compiler, have been seen to make it tens of seconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Asks `condition` again and again until it has an answer; panics after [`PATIENCE`], saying `what`
/// was waited for.
#[track_caller]
pub(crate) fn until<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    match within(PATIENCE, condition) {
        Some(value) => value,
        None => panic!("gave up after {PATIENCE:?}: {what}"),
    }
}

/// Asks `condition` again and again until it has an answer, for at most `time`.
pub(crate) fn within<T>(time: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + time;
    loop {
        if let Some(value) = condition() {
            return Some(value);
        }
        if Instant::now() > end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Says what was measured. Not through `println!`, which the test harness keeps to itself when all is
/// well.
pub(crate) fn figure(text: &str) {
    use std::io::Write as _;
    writeln!(std::io::stderr(), "{text}").unwrap();
}

/// The first of `count` neighbouring ports that nothing listens on.
///
/// Below the kernel's ephemeral range, so that no client takes one meanwhile; never the same twice in
/// this process; begun elsewhere in every process, since several run on one machine.
pub(crate) fn free_ports(count: u16) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    for _ in 0..4_000 {
        let offset = NEXT.fetch_add(count, Ordering::Relaxed);
        let first =
            20_000 + u16::try_from((std::process::id() * 97 + u32::from(offset)) % 12_000).unwrap();
        let free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if (first..first + count).all(free) {
            return first;
        }
    }
    panic!("no {count} free ports between 20000 and 32000 on 127.0.0.1");
}

/// Sends `signal` (`STOP`, `CONT`, `TERM`, …) to a process.
#[track_caller]
fn signal(pid: u32, signal: &str) {
    assert!(try_signal(pid, signal), "cannot send SIG{signal} to process {pid}");
}

/// As [`signal`], to a process that may be gone; whether it was there.
fn try_signal(pid: u32, signal: &str) -> bool {
    let mut kill = Command::new("kill");
    let kill = kill.arg(format!("-{signal}")).arg(pid.to_string()).stderr(Stdio::null());
    kill.status().unwrap().success()
}

/// Runs one of the scripts in `deploy/dev`, which install what is missing; panics with what it said.
#[track_caller]
pub(crate) fn script(name: &str, arguments: &[&str]) {
    let path = format!("{}/deploy/dev/{name}", env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(&path).args(arguments).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("cannot run {path}: {error}"));
    assert!(
        output.status.success(),
        "`deploy/dev/{name} {}` failed; `deploy/dev/install` installs what tests need. It said:\n{}{}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
}

/// The library that gives a process a clock of its own (libfaketime), for `LD_PRELOAD`.
#[track_caller]
pub(crate) fn clock_library() -> String {
    script("install", &["faketime"]);
    let said = Command::new("faketime").args(["-f", "+0", "printenv", "LD_PRELOAD"]).output();
    String::from_utf8(said.expect("faketime").stdout).expect("a path").trim().to_owned()
}

/// A folder that is removed with the value.
pub(crate) fn folder(prefix: &str) -> tempfile::TempDir {
    tempfile::Builder::new().prefix(&format!("walpost-{prefix}-")).tempdir().unwrap()
}
