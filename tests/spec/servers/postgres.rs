//! A Postgres server of a given major version.

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use super::{Database, folder, free_ports, script};

/// Settings of a server that many tests share: room for their slots, and no waiting for the disk.
///
/// Without fsync a server that is killed still recovers, since the kernel keeps what was written;
/// only a crash of the whole machine would lose it.
const SETTINGS: &[&str] = &[
    "fsync=off",
    "max_connections=200",
    "max_wal_senders=100",
    "max_replication_slots=100",
    "shared_buffers=32MB",
    "log_replication_commands=on",
];

/// A Postgres server: `wal_level=logical`, user `postgres` trusted on 127.0.0.1.
#[derive(Debug)]
pub(crate) struct Postgres {
    major: u8,
    port: u16,
    folder: TempDir,
}

impl Postgres {
    /// The oldest supported major version, shared by the tests of this process. Leave it running.
    pub(crate) fn oldest() -> &'static Self {
        static SERVER: OnceLock<Postgres> = OnceLock::new();
        SERVER.get_or_init(|| Self::start(14))
    }

    /// The newest supported major version, shared by the tests of this process. Leave it running.
    pub(crate) fn newest() -> &'static Self {
        static SERVER: OnceLock<Postgres> = OnceLock::new();
        SERVER.get_or_init(|| Self::start(18))
    }

    /// A server of one's own, for a test that stops it or changes its settings.
    #[track_caller]
    pub(crate) fn start(major: u8) -> Self {
        Self::start_with(major, &[])
    }

    /// A server of one's own with `settings`, each `name=value` as in `postgresql.conf`.
    #[track_caller]
    pub(crate) fn start_with(major: u8, settings: &[&str]) -> Self {
        let server = Self { major, port: free_ports(1), folder: folder("postgres") };
        let (major, port) = (major.to_string(), server.port.to_string());
        let parent = std::process::id().to_string();
        let mut arguments =
            vec!["start", "--major", &major, "--port", &port, "--dir", server.dir()];
        arguments.extend(["--with-parent", &parent, "--temporary"]);
        for setting in SETTINGS.iter().chain(settings) {
            arguments.extend(["-c", setting]);
        }
        script("postgres", &arguments);
        server
    }

    /// The major version.
    pub(crate) fn major(&self) -> u8 {
        self.major
    }

    /// The port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The folder with the socket, the log (`log`) and the data (`data`).
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A connection URL for the database `name`.
    pub(crate) fn url(&self, name: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{name}", self.port)
    }

    /// A fresh, empty database. It is dropped with the value, and its slots with it.
    #[track_caller]
    pub(crate) fn database(&self, name: &str) -> Database {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let name = format!("{name}_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        Database::create(&name, &self.url("postgres"), &self.url(&name))
    }

    /// Stops the server in order: clients are disconnected, walsenders are waited for.
    #[track_caller]
    pub(crate) fn stop_fast(&self) {
        script("postgres", &["stop", "--dir", self.dir(), "--mode", "fast"]);
    }

    /// Stops the server without a checkpoint: the next start is a crash recovery.
    #[track_caller]
    pub(crate) fn stop_immediate(&self) {
        script("postgres", &["stop", "--dir", self.dir(), "--mode", "immediate"]);
    }

    /// Kills every process of the server at once: no client hears a word from it.
    #[track_caller]
    pub(crate) fn kill(&self) {
        script("postgres", &["kill", "--dir", self.dir()]);
    }

    /// Starts it after a stop, on the same port with the same data.
    #[track_caller]
    pub(crate) fn start_again(&self) {
        script("postgres", &["start", "--dir", self.dir()]);
    }

    /// Starts it after a stop with changed settings, each `name=value`.
    #[track_caller]
    pub(crate) fn start_again_with(&self, settings: &[&str]) {
        let mut arguments = vec!["start", "--dir", self.dir()];
        settings.iter().for_each(|setting| arguments.extend(["-c", setting]));
        script("postgres", &arguments);
    }

    fn dir(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.kill();
            return;
        }
        // A second panic would hide the first one's message.
        drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.kill())));
    }
}
