//! A whole conversation of a server: login, answers to commands, stream, end.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixListener;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use tempfile::TempDir;
use walpost::lsn::Lsn;
use walpost::postgres::error::Error;
use walpost::postgres::options::{
    ChannelBinding, ConnectOptions, Host, HostAddress, SslMode, TargetSessionAttrs,
};
use walpost::postgres::replication::{ReplicationConnection, ReplicationMessage, StatusUpdate};
use walpost::secret::Secret;

use crate::recorded::Recorded;
use crate::trial::Target;

/// The buffer of a stream is half a megabyte, and while it gives way to another both are there.
const TARGET: Target =
    Target { name: "connection", cases: 2_000, fixed: 1200 * 1024, each: 8, says: " " };

/// How long a conversation may take; a server that has said all it will say is met at once.
const LIMIT: Duration = Duration::from_secs(60);

/// The socket's number; its file is called after it.
const PORT: u16 = 5432;

/// Says what it is told to, to one client after the other.
struct Server {
    folder: TempDir,
    sayings: Sender<Vec<Vec<u8>>>,
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("walpost-hostile-").tempdir().unwrap();
        let path = folder.path().join(format!(".s.PGSQL.{PORT}"));
        let listener = UnixListener::bind(path).unwrap();
        let (sayings, heard) = channel();
        std::thread::spawn(move || serve(&listener, &heard));
        Self { folder, sayings }
    }

    fn options(&self) -> ConnectOptions {
        let address = HostAddress::UnixDirectory(self.folder.path().to_owned());
        ConnectOptions {
            hosts: vec![Host { address, port: PORT }],
            database: "shop".to_owned(),
            user: "walpost".to_owned(),
            password: Some(Secret::new("secret")),
            sslmode: Some(SslMode::Disable),
            sslrootcert: None,
            sslcert: None,
            sslkey: None,
            channel_binding: ChannelBinding::Disable,
            connect_timeout: LIMIT,
            target_session_attrs: TargetSessionAttrs::Any,
            application_name: "walpost/hostile".to_owned(),
            wal_sender_timeout: LIMIT,
        }
    }
}

/// All that it says at once, then the end of its half, until the client ends the other: answers come
/// before the questions, as far as the client can tell.
fn serve(listener: &UnixListener, sayings: &Receiver<Vec<Vec<u8>>>) {
    for saying in sayings {
        let (mut client, _) = listener.accept().unwrap();
        client.set_read_timeout(Some(LIMIT)).unwrap();
        for part in saying {
            // A client that has heard enough is gone.
            if client.write_all(&part).is_err() {
                break;
            }
        }
        drop(client.shutdown(Shutdown::Write));
        let mut rest = [0; 4096];
        while let Ok(1..) = client.read(&mut rest) {}
    }
}

/// As walpost does, to the server's end of the stream.
async fn converse(options: &ConnectOptions) -> Result<(), Error> {
    let connection = ReplicationConnection::connect(options).await?;
    let mut stream =
        connection.start_replication("walpost", Lsn::INVALID, &["walpost"], true).await?;
    while let Some((message, length)) = stream.peek()? {
        if message == ReplicationMessage::CopyDone {
            break;
        }
        stream.consume(length);
        while stream.peek()?.is_none() {
            stream.fill().await?;
        }
    }
    stream.shutdown(StatusUpdate::default(), LIMIT).await
}

#[test]
fn a_changed_conversation_of_a_server_comes_to_its_end_or_is_refused() {
    let server = Server::start();
    let options = server.options();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let from: Vec<_> = Recorded::all().into_iter().map(|recorded| recorded.frames).collect();
    TARGET.run(&from, |parts| {
        server.sayings.send(parts.to_vec()).unwrap();
        let ended =
            runtime.block_on(async { tokio::time::timeout(LIMIT, converse(&options)).await });
        let ended = ended.unwrap_or_else(|_| panic!("no end within {LIMIT:?}"));
        ended.map_err(|error| error.to_string())
    });
}
