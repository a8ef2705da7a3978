//! A Postgres server of a given major version.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use super::{Database, Session, folder, free_ports, script, until};

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
        server.create(settings);
        server
    }

    #[track_caller]
    fn create(&self, settings: &[&str]) {
        let (major, port) = (self.major.to_string(), self.port.to_string());
        let parent = std::process::id().to_string();
        let mut arguments = vec!["start", "--major", &major, "--port", &port, "--dir", self.dir()];
        arguments.extend(["--with-parent", &parent, "--temporary"]);
        for setting in SETTINGS.iter().chain(settings) {
            arguments.extend(["-c", setting]);
        }
        script("postgres", &arguments);
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

    /// Changes settings that need no restart, each a name and its value, and waits until new sessions
    /// have them.
    #[track_caller]
    pub(crate) fn set(&self, settings: &[(&str, &str)]) {
        let session = Session::open(&self.url("postgres"));
        for (name, value) in settings {
            session.execute(&format!("alter system set {name} = '{value}'"));
        }
        session.execute("select pg_reload_conf()");
        for (name, value) in settings {
            until(&format!("{name} = {value}"), || {
                let session = Session::try_open(&self.url("postgres")).ok()?;
                (session.value(&format!("show {name}")) == *value).then_some(())
            });
        }
    }

    /// Puts `rules` before those of `pg_hba.conf`, each a line, for sessions from now on.
    #[track_caller]
    pub(crate) fn allow_first(&self, rules: &[&str]) {
        let path = self.path().join("data/pg_hba.conf");
        let old = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{}\n{old}", rules.join("\n"))).unwrap();
        let session = Session::open(&self.url("postgres"));
        let loaded = "select pg_conf_load_time()";
        let before = session.value(loaded);
        session.execute("select pg_reload_conf()");
        until("pg_hba.conf to be read", || {
            let session = Session::try_open(&self.url("postgres")).ok()?;
            (session.value(loaded) != before).then_some(())
        });
    }

    /// A standby of this server, streaming from it. The copy is made cold: this server stops for it.
    #[track_caller]
    pub(crate) fn standby(&self) -> Self {
        self.standby_with(&[])
    }

    /// As [`Postgres::standby`] with `settings`, each `name=value` as in `postgresql.conf`.
    #[track_caller]
    pub(crate) fn standby_with(&self, settings: &[&str]) -> Self {
        let standby = Self { major: self.major, port: free_ports(1), folder: folder("standby") };
        self.stop_fast();
        let data = standby.path().join("data");
        let copied = Command::new("cp").arg("-a").arg(self.path().join("data")).arg(&data).status();
        assert!(copied.unwrap().success(), "cannot copy the data of the server");
        self.start_again();
        let signal = data.join("standby.signal");
        std::fs::copy(data.join("PG_VERSION"), signal).unwrap();
        // The name of a database is for the worker that copies slots (17 and newer).
        let primary = format!(
            "primary_conninfo=host=127.0.0.1 port={} user=postgres dbname=postgres",
            self.port
        );
        let sockets = format!("unix_socket_directories={}", standby.dir());
        standby.create(&[&[primary.as_str(), &sockets], settings].concat());
        standby
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
