//! A session with a server: frames in and out, before any stream has begun.

use std::fmt;
use std::future::poll_fn;
use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use super::auth;
use super::error::Error;
use super::frame::{Frame, FrameBuffer};
use super::options::ConnectOptions;
use super::server_message::{Body, log_notice, parse_error, parse_parameter, parse_row};
use super::stream::Stream;

/// The limit for one command that the server answers at once. A server that is overloaded may
/// need seconds; one that needs a minute is as good as gone.
pub(super) const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);

/// The limit for a farewell, which is a courtesy: closing without one is safe.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A walsender that is connected to a database: logical replication.
    Replication,
    /// Plain SQL.
    Queries,
}

/// Settings that a role or a database may have changed (`ALTER ROLE … SET`), and that change how
/// values look, or end a session that waits. Those of this list win over them.
///
/// `lc_monetary` is how `money` looks; "C" is on every server.
/// `search_path` decides whether `regclass` and the like are printed with their schema.
/// Source: PostgreSQL manual, "Client Connection Defaults"; "Streaming Replication Protocol".
const SESSION_SETTINGS: [(&str, &str); 13] = [
    ("datestyle", "ISO"),
    ("intervalstyle", "postgres"),
    ("timezone", "UTC"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "3"),
    ("lc_monetary", "C"),
    ("search_path", "pg_catalog"),
    ("standard_conforming_strings", "on"),
    ("quote_all_identifiers", "off"),
    ("lock_timeout", "0"),
    ("statement_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("idle_session_timeout", "0"),
];

/// One row of an answer, as text; `None` is NULL.
pub(super) type Row = Vec<Option<Vec<u8>>>;

/// What the server said about itself while the session began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn set(&mut self, name: String, value: String) {
        self.0.retain(|(known, _)| *known != name);
        self.0.push((name, value));
    }

    /// All of them, in the order of their last change.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The version as `server_version_num` has it, 150018 for 15.18; 0 where it cannot be read.
    pub(super) fn version_num(&self) -> u32 {
        let version = self.get("server_version").unwrap_or_default();
        let mut numbers = version
            .split(|c: char| !c.is_ascii_digit())
            .map(|digits| digits.parse::<u32>().unwrap_or(0));
        let major = numbers.next().unwrap_or(0);
        let minor = numbers.next().unwrap_or(0);
        major.saturating_mul(10_000).saturating_add(minor)
    }
}

/// An authenticated session.
pub(super) struct Connection {
    pub(super) stream: Stream,
    pub(super) input: FrameBuffer,
    /// Bytes for the server that it has not taken yet; those before `written` it has.
    output: Vec<u8>,
    written: usize,
    pub(super) parameters: Parameters,
    /// Process id and secret of the server process (`BackendKeyData`).
    backend: (i32, Vec<u8>),
    /// A command is on its way, and not all of its answer has been read.
    busy: bool,
    pub(super) received_at: Instant,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("stream", &self.stream)
            .field("buffered", &self.input.len())
            .field("backend_pid", &self.backend.0)
            .finish_non_exhaustive()
    }
}

impl Connection {
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream,
            input: FrameBuffer::new(),
            output: Vec::new(),
            written: 0,
            parameters: Parameters::default(),
            backend: (0, Vec::new()),
            busy: false,
            received_at: Instant::now(),
        }
    }

    /// Sends the `StartupMessage`, authenticates, and reads up to the first `ReadyForQuery`.
    ///
    /// Not cancel safe: a session that is half begun must be dropped.
    pub(super) async fn start(
        &mut self,
        options: &ConnectOptions,
        purpose: Purpose,
    ) -> Result<(), Error> {
        let settings = startup_options(options, purpose);
        let mut parameters = vec![
            ("user", options.user.as_str()),
            ("database", options.database.as_str()),
            ("application_name", options.application_name.as_str()),
            ("client_encoding", "UTF8"),
            ("options", settings.as_str()),
        ];
        if purpose == Purpose::Replication {
            parameters.push(("replication", "database"));
        }
        let mut message = BytesMut::new();
        frontend::startup_message(parameters, &mut message).map_err(unsendable)?;
        self.send(&message).await?;
        auth::authenticate(self, options).await?;
        self.read_until_ready().await
    }

    async fn read_until_ready(&mut self) -> Result<(), Error> {
        loop {
            let frame = self.next_frame().await?;
            match frame.tag {
                b'K' => {
                    let mut body = Body::new(frame.body, "BackendKeyData");
                    self.backend = (body.i32()?, body.rest().to_vec());
                }
                b'Z' => return Ok(()),
                other => return Err(unexpected(other, "while the session begins")),
            }
        }
    }

    /// Process id of the server process.
    pub(super) fn backend_pid(&self) -> i32 {
        self.backend.0
    }

    /// The secret that cancels a command of this session.
    pub(super) fn backend_secret(&self) -> &[u8] {
        &self.backend.1
    }

    /// Reads what is waiting into the buffer. Never 0.
    ///
    /// Cancel safe: what has been read is in the buffer.
    pub(super) async fn fill(&mut self) -> Result<usize, Error> {
        let Self { stream, input, .. } = self;
        let room = input.room();
        let length = poll_fn(|cx| stream.poll_read_waiting(cx, room)).await.map_err(Error::io)?;
        if length == 0 {
            return Err(Error::closed());
        }
        input.received(length);
        self.received_at = Instant::now();
        Ok(length)
    }

    /// The next frame that belongs to the conversation; notices and changed parameters are dealt
    /// with, and an `ErrorResponse` is an error.
    ///
    /// Cancel safe: a frame is consumed in the same step in which it is returned.
    pub(super) async fn next_frame(&mut self) -> Result<Frame<'_>, Error> {
        let (tag, length) = loop {
            let Some(frame) = self.input.frame_at(0)? else {
                self.fill().await?;
                continue;
            };
            let (tag, length) = (frame.tag, frame.length);
            match tag {
                b'N' => log_notice(frame.body),
                b'S' => {
                    let (name, value) = parse_parameter(frame.body)?;
                    self.parameters.set(name, value);
                }
                b'E' => {
                    let error = parse_error(frame.body)?;
                    self.input.consume(length);
                    return Err(Error::from_server(error));
                }
                _ => break (tag, length),
            }
            self.input.consume(length);
        };
        self.input.consume(length);
        Ok(Frame { tag, body: self.input.consumed_body(length), length })
    }

    /// Puts bytes behind those that wait to be sent.
    pub(super) fn queue(&mut self, bytes: &[u8]) {
        if self.written == self.output.len() {
            self.output.clear();
            self.written = 0;
        }
        self.output.extend_from_slice(bytes);
    }

    /// Forgets frames of `frame` bytes each that wait to be sent, but for the rest of one that
    /// has been sent in part.
    pub(super) fn forget_unsent(&mut self, frame: usize) {
        let unsent = self.output.len() - self.written;
        self.output.truncate(self.written + unsent % frame);
    }

    /// Sends all that waits.
    ///
    /// Cancel safe: what the server has not taken yet is sent by the next call.
    pub(super) async fn flush(&mut self) -> Result<(), Error> {
        let Self { stream, output, written, .. } = self;
        poll_fn(|cx| {
            use std::pin::Pin;
            use std::task::{Poll, ready};
            while let Some(unsent) = output.get(*written..).filter(|unsent| !unsent.is_empty()) {
                let length = ready!(Pin::new(&mut *stream).poll_write(cx, unsent))?;
                if length == 0 {
                    return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
                }
                *written += length;
            }
            Pin::new(&mut *stream).poll_flush(cx)
        })
        .await
        .map_err(Error::io)
    }

    /// Sends one message.
    ///
    /// Cancel safe, as [`Connection::flush`].
    pub(super) async fn send(&mut self, message: &[u8]) -> Result<(), Error> {
        self.queue(message);
        self.flush().await
    }

    /// Sends a command of the simple query protocol, whose answer the caller reads.
    ///
    /// # Errors
    ///
    /// Also when an earlier command was cancelled, since its answer would be taken for this one's.
    pub(super) async fn begin_command(&mut self, command: &str) -> Result<(), Error> {
        if self.busy {
            return Err(Error::protocol(
                "a command after one whose answer was not read to its end",
            ));
        }
        let mut message = BytesMut::new();
        frontend::query(command, &mut message).map_err(unsendable)?;
        self.busy = true;
        self.send(&message).await
    }

    /// The answer to the command was read up to its `ReadyForQuery`, so another may follow.
    pub(super) fn is_answered(&mut self) {
        self.busy = false;
    }

    /// Runs one command and gives back the rows of its answer.
    ///
    /// Not cancel safe: after a cancelled command the connection refuses the next one.
    pub(super) async fn command(&mut self, command: &str) -> Result<Vec<Row>, Error> {
        self.begin_command(command).await?;
        let mut rows = Vec::new();
        let mut failure = None;
        loop {
            match self.next_frame().await {
                Ok(Frame { tag: b'D', body, .. }) => rows.push(parse_row(body)?),
                // RowDescription, CommandComplete, EmptyQueryResponse.
                Ok(Frame { tag: b'T' | b'C' | b'I', .. }) => {}
                Ok(Frame { tag: b'Z', .. }) => break,
                Ok(Frame { tag, .. }) => return Err(unexpected(tag, "in answer to a command")),
                // The server follows an error with ReadyForQuery, unless the session ends.
                Err(error) if error.server().is_some_and(|error| error.severity == "ERROR") => {
                    failure = Some(error);
                }
                Err(error) => return Err(failure.unwrap_or(error)),
            }
        }
        self.busy = false;
        failure.map_or(Ok(rows), Err)
    }

    /// [`Connection::command`] with a limit of [`COMMAND_TIMEOUT`].
    pub(super) async fn quick_command(
        &mut self,
        command: &str,
        of: &'static str,
    ) -> Result<Vec<Row>, Error> {
        match tokio::time::timeout(COMMAND_TIMEOUT, self.command(command)).await {
            Ok(answer) => answer.map_err(|error| error.doing(of)),
            Err(_) => Err(Error::timeout(of, COMMAND_TIMEOUT)),
        }
    }

    /// Says goodbye and closes. Whether the server hears it is of no interest.
    pub(super) async fn terminate(mut self) {
        let mut message = BytesMut::new();
        frontend::terminate(&mut message);
        let farewell = async {
            if self.send(&message).await.is_ok() {
                drop(self.stream.shutdown().await);
            }
        };
        drop(tokio::time::timeout(FAREWELL_TIMEOUT, farewell).await);
    }

    /// After an error that leaves the session alive: reads up to `ReadyForQuery` and says goodbye.
    /// To close while the server still writes would leave a complaint in its log each time.
    pub(super) async fn leave(mut self) {
        let ready = async {
            while !matches!(self.next_frame().await, Err(_) | Ok(Frame { tag: b'Z', .. })) {}
        };
        drop(tokio::time::timeout(FAREWELL_TIMEOUT, ready).await);
        self.terminate().await;
    }

    /// The socket, and the bytes that have been read from it and not used, for another owner.
    pub(super) fn into_parts(self) -> (Stream, Vec<u8>) {
        (self.stream, self.input.unread().to_vec())
    }
}

/// The server sent a message that has no place where it came.
pub(super) fn unexpected(tag: u8, place: &str) -> Error {
    Error::protocol(format!("a message {:?} {place}", char::from(tag)))
}

/// `postgres-protocol` refuses to write a text with a NUL in it.
pub(super) fn unsendable(error: std::io::Error) -> Error {
    Error::configuration_because("a value that cannot be sent to Postgres", error)
}

/// The value of the startup parameter `options`: `-c name=value` for each setting.
///
/// Source: PostgreSQL manual, "Message Formats", StartupMessage. Blanks and backslashes would need
/// a backslash in front; there are none in our values.
fn startup_options(options: &ConnectOptions, purpose: Purpose) -> String {
    let mut text = String::new();
    for (name, value) in SESSION_SETTINGS {
        text.push_str(" -c ");
        text.push_str(name);
        text.push('=');
        text.push_str(value);
    }
    if purpose == Purpose::Replication {
        // In milliseconds, the unit of this setting.
        let timeout = options.wal_sender_timeout.as_millis();
        text.push_str(&format!(" -c wal_sender_timeout={timeout}"));
    }
    text.trim_start().to_owned()
}
