//! The walpost program itself, run as a user runs it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use tempfile::TempDir;

use super::http::{self, Metrics, Response};
use super::{Database, Kafka, PATIENCE, folder, free_ports, signal, within};

/// The environment and arguments walpost is to be started with.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    arguments: Vec<String>,
    environment: BTreeMap<String, String>,
}

impl Settings {
    /// Nothing set: what a user gets who sets nothing.
    pub(crate) fn none() -> Self {
        Self { arguments: Vec::new(), environment: BTreeMap::new() }
    }

    /// Relays `database` to `kafka`, apart from all other tests: slot, topics and connector carry the
    /// database's name. Events go to `<database>.{aggregate_type}`, dead letters to `<database>.dlq`.
    pub(crate) fn new(database: &Database, kafka: &Kafka) -> Self {
        let name = database.name();
        Self::none()
            .env("DATABASE_URL", database.url())
            .env("KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap())
            .env("WALPOST_SLOT", name)
            .env("WALPOST_TOPIC", format!("{name}.{{aggregate_type}}"))
            .env("WALPOST_DLQ_TOPIC", format!("{name}.dlq"))
            .env("WALPOST_HTTP_ADDR", format!("127.0.0.1:{}", free_ports(1)))
    }

    /// Sets a variable.
    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    /// Removes a variable.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.environment.remove(name);
        self
    }

    /// Sets the command line, as `["check", "--json"]`.
    pub(crate) fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        self
    }

    /// The same settings for a second instance: only its HTTP port is another.
    pub(crate) fn second(&self) -> Self {
        self.clone().env("WALPOST_HTTP_ADDR", format!("127.0.0.1:{}", free_ports(1)))
    }

    /// Starts walpost and returns at once; see [`Walpost::wait_until_ready`].
    #[track_caller]
    pub(crate) fn start(&self) -> Walpost {
        Walpost::start(self)
    }

    /// Runs walpost to its end and returns what it said; panics after [`PATIENCE`].
    #[track_caller]
    pub(crate) fn run(&self) -> Finished {
        let mut walpost = self.start();
        let code = walpost.wait();
        walpost.readers.drain(..).for_each(|reader| reader.join().unwrap());
        Finished { code, stdout: walpost.text_of("out"), stderr: walpost.text_of("err") }
    }
}

/// What a command that ran to its end said.
#[derive(Clone, Debug)]
pub(crate) struct Finished {
    /// The exit code; 128 + the signal's number when a signal ended it.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
}

/// A running walpost. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Walpost {
    child: Child,
    http: Option<SocketAddr>,
    output: Arc<Mutex<Vec<Line>>>,
    readers: Vec<std::thread::JoinHandle<()>>,
    /// Holds `log`, for a reader of a failure: printed with every panic of this file.
    folder: TempDir,
}

/// A line of output and the stream it came from, `out` or `err`.
type Line = (&'static str, String);

impl Walpost {
    #[track_caller]
    fn start(settings: &Settings) -> Self {
        let folder = folder("run");
        let log = Arc::new(Mutex::new(File::create(folder.path().join("log")).unwrap()));
        let mut child = Command::new(program())
            .args(&settings.arguments)
            // What the developer's shell has set must not decide a test.
            .env_clear()
            .envs(&settings.environment)
            .env("TEST_PROCESS", this_process())
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        end_with_us(child.id());
        let output = Arc::default();
        let readers = vec![
            read_lines("out", child.stdout.take().unwrap(), &output, &log),
            read_lines("err", child.stderr.take().unwrap(), &output, &log),
        ];
        let http = settings.environment.get("WALPOST_HTTP_ADDR").and_then(|text| text.parse().ok());
        Self { child, http, output, readers, folder }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it (SIGKILL) and waits for its end.
    pub(crate) fn kill(&mut self) {
        // Both fail only when it has ended and was waited for.
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Asks it to stop (SIGTERM); see [`Walpost::wait`].
    #[track_caller]
    pub(crate) fn terminate(&self) {
        signal(self.pid(), "TERM");
    }

    /// Freezes it (SIGSTOP): its connections stay open and nothing moves.
    #[track_caller]
    pub(crate) fn freeze(&self) {
        signal(self.pid(), "STOP");
    }

    /// Lets a frozen walpost go on.
    #[track_caller]
    pub(crate) fn thaw(&self) {
        signal(self.pid(), "CONT");
    }

    /// Waits for its end and returns the exit code, 128 + the signal's number after a signal; panics
    /// after [`PATIENCE`].
    #[track_caller]
    pub(crate) fn wait(&mut self) -> i32 {
        self.wait_for(PATIENCE)
    }

    /// As [`Walpost::wait`] with a deadline of one's own.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, time: Duration) -> i32 {
        // Also until all that it said is here: its last lines are for a thread to read.
        let status = within(time, || {
            let status = self.child.try_wait().unwrap();
            status.filter(|_| self.readers.iter().all(std::thread::JoinHandle::is_finished))
        });
        match status {
            Some(status) => code_of(status),
            None => panic!("walpost did not end within {time:?}; it said:\n{}", self.log()),
        }
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Everything it has said so far on both streams, in the order of arrival.
    pub(crate) fn log(&self) -> String {
        lines(&self.output).iter().map(|(_, line)| format!("{line}\n")).collect()
    }

    /// Waits until a line holds `text`, and returns it.
    #[track_caller]
    pub(crate) fn wait_for_line(&mut self, text: &str) -> String {
        let found = within(PATIENCE, || {
            // Asked before the lines are looked through: what it said before its end counts.
            let ended =
                !self.is_running() && self.readers.iter().all(|reader| reader.is_finished());
            let found = lines(&self.output).iter().find(|(_, line)| line.contains(text)).cloned();
            found.map(|(_, line)| Some(line)).or_else(|| ended.then_some(None))
        });
        let Some(Some(line)) = found else {
            panic!("walpost never said `{text}`; it said:\n{}", self.log())
        };
        line
    }

    /// Gets `path` from its HTTP port; panics when it does not answer.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Response {
        self.try_get(path)
            .unwrap_or_else(|| panic!("GET {path}: no answer; it said:\n{}", self.log()))
    }

    /// Gets `path` from its HTTP port, if it answers.
    pub(crate) fn try_get(&self, path: &str) -> Option<Response> {
        http::get(self.http.expect("WALPOST_HTTP_ADDR is set to an address"), path).ok()
    }

    /// Waits until `/readyz` answers 200; panics at once when walpost ends.
    #[track_caller]
    pub(crate) fn wait_until_ready(&mut self) {
        self.wait_for_http("/readyz to answer 200", |walpost| {
            walpost.try_get("/readyz").filter(|response| response.status == 200)
        });
    }

    /// Waits until the metric `walpost_state{state="…"}` is 1 for `state`.
    #[track_caller]
    pub(crate) fn wait_for_state(&mut self, state: &str) {
        self.wait_for_http(&format!("state `{state}`"), |walpost| {
            let metrics = Metrics::parse(&walpost.try_get("/metrics")?.body);
            (metrics.sum("walpost_state", &[("state", state)]) > 0.0).then_some(())
        });
    }

    #[track_caller]
    fn wait_for_http<T>(&mut self, what: &str, condition: impl Fn(&Self) -> Option<T>) -> T {
        let value = within(PATIENCE, || match condition(self) {
            Some(value) => Some(Some(value)),
            None if !self.is_running() => Some(None),
            None => None,
        });
        value
            .flatten()
            .unwrap_or_else(|| panic!("waited for {what}; walpost said:\n{}", self.log()))
    }

    /// One scrape of `/metrics`.
    #[track_caller]
    pub(crate) fn metrics(&self) -> Metrics {
        Metrics::parse(&self.get("/metrics").body)
    }

    /// The most memory it has had resident since its start, in bytes.
    #[track_caller]
    pub(crate) fn memory_peak(&self) -> u64 {
        self.status("VmHWM")
    }

    /// The memory it has resident now, in bytes.
    #[track_caller]
    pub(crate) fn memory(&self) -> u64 {
        self.status("VmRSS")
    }

    /// The file with everything it has said.
    pub(crate) fn log_file(&self) -> std::path::PathBuf {
        self.folder.path().join("log")
    }

    #[track_caller]
    fn status(&self, name: &str) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kilobytes.unwrap_or_else(|| panic!("no {name} in {text}")) * 1024
    }

    fn text_of(&self, stream: &str) -> String {
        let lines = lines(&self.output);
        lines
            .iter()
            .filter(|(own, _)| *own == stream)
            .map(|(_, line)| format!("{line}\n"))
            .collect()
    }
}

impl Drop for Walpost {
    fn drop(&mut self) {
        let ended = self.child.try_wait();
        self.kill();
        if std::thread::panicking() {
            // The test harness shows this below the panic's message.
            let state = match ended {
                Ok(Some(status)) => format!("had ended by itself, {status}"),
                _ => "ran".to_owned(),
            };
            println!("walpost (process {}) {state}; it said:\n{}", self.pid(), self.log());
        }
    }
}

/// The program that is tried: the one of this build, or the one that `WALPOST_TEST_PROGRAM` names, as
/// a release whose memory and speed are to be told.
#[expect(clippy::disallowed_methods, reason = "a test's knob, not walpost's configuration")]
pub(crate) fn program() -> &'static str {
    static PROGRAM: OnceLock<String> = OnceLock::new();
    PROGRAM.get_or_init(|| match std::env::var("WALPOST_TEST_PROGRAM") {
        Ok(path) => match std::fs::canonicalize(&path) {
            Ok(path) => path.to_str().unwrap().to_owned(),
            Err(error) => panic!("WALPOST_TEST_PROGRAM={path}: {error}"),
        },
        Err(_) => BUILT.to_owned(),
    })
}

/// Whether the program that is tried is another than the one of this build.
pub(crate) fn program_is_chosen() -> bool {
    program() != BUILT
}

const BUILT: &str = env!("CARGO_BIN_EXE_walpost");

/// Which run of tests this is: the process number and the time, since numbers come again.
fn this_process() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let time = UNIX_EPOCH.elapsed().unwrap().as_nanos();
        format!("{}-{time}", std::process::id())
    })
}

/// Ends the process when this one is gone, even by SIGKILL.
///
/// One shell is told all process ids through a pipe. The pipe closes with us, however we end. By then
/// a number may belong to another program, also to a walpost of tests that run beside these, so it looks
/// first whose child runs under it.
fn end_with_us(pid: u32) {
    static GUARD: OnceLock<Mutex<ChildStdin>> = OnceLock::new();
    let guard = GUARD.get_or_init(|| {
        let script = r#"all=; while read -r pid; do all="$all $pid"; done
            for pid in $all; do ! grep -qsxz "TEST_PROCESS=$0" "/proc/$pid/environ" || kill -9 "$pid"; done"#;
        let mut shell = Command::new("setsid");
        let shell = shell.args(["bash", "-c", script, this_process()]).stdin(Stdio::piped());
        Mutex::new(shell.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap().stdin.unwrap())
    });
    writeln!(guard.lock().unwrap_or_else(PoisonError::into_inner), "{pid}").unwrap();
}

fn read_lines(
    name: &'static str,
    stream: impl Read + Send + 'static,
    output: &Arc<Mutex<Vec<Line>>>,
    log: &Arc<Mutex<File>>,
) -> std::thread::JoinHandle<()> {
    let (output, log) = (Arc::clone(output), Arc::clone(log));
    std::thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            writeln!(log.lock().unwrap_or_else(PoisonError::into_inner), "{line}").unwrap();
            lines(&output).push((name, line));
        }
    })
}

fn lines(output: &Mutex<Vec<Line>>) -> MutexGuard<'_, Vec<Line>> {
    output.lock().unwrap_or_else(PoisonError::into_inner)
}

fn code_of(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap()
}
