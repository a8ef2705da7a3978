//! Goal: what the tests of hostile input begin with is what real servers send, of each major version.
//!
//! Method: walpost's own reader of the stream speaks to a real server through a proxy that keeps what
//! the server says. What it says is compared with the files in `tests/corpus`;
//! `WALPOST_WRITE_CORPUS=1` writes them anew.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use walpost::lsn::Lsn;
use walpost::pgoutput::{self, LogicalMessage};
use walpost::postgres::options::{
    ChannelBinding, ConnectOptions, Host, HostAddress, SslMode, TargetSessionAttrs,
};
use walpost::postgres::replication::{ReplicationConnection, ReplicationMessage, StatusUpdate};

use crate::oracle::knob;
use crate::recorded::{MAJORS, Recorded, from_hex, summary};
use crate::servers::{Database, Kafka, PATIENCE, Postgres, Settings};

/// What is done to the server; the last statement says so.
const STATEMENTS: &str = include_str!("../corpus/postgres.sql");

/// What the last message says.
const THE_END: &[u8] = b"the end";

#[test]
fn every_supported_server_sends_what_the_corpus_has_of_it() {
    for major in MAJORS {
        let server = Postgres::start_with(major, &["logical_decoding_work_mem=64kB"]);
        let database = server.database("corpus");
        // Outside of a transaction, each by itself.
        let session = database.session();
        STATEMENTS.split_inclusive(";\n").for_each(|statement| session.execute(statement));
        let version = session.value("show server_version");
        let recorded =
            Recorded { frames: record(&server, &database), streamed: streamed(&database) };
        if knob("WALPOST_WRITE_CORPUS", 0) == 1 {
            let text = recorded.written(&format!("Postgres {version}"));
            std::fs::write(Recorded::path(major), text).unwrap();
        }
        let kept = Recorded::of(major);
        assert_eq!(summary(&recorded.messages()), summary(&kept.messages()), "Postgres {version}");
        assert!(recorded.keepalives() > 0 && kept.keepalives() > 0, "Postgres {version}");
        let kinds = |recorded: &Recorded| -> BTreeSet<u8> {
            recorded.streamed.iter().filter_map(|message| message.first().copied()).collect()
        };
        assert!(kinds(&recorded).contains(&b'S'), "Postgres {version}: no stream begins");
        assert_eq!(kinds(&recorded), kinds(&kept), "Postgres {version}");
    }
}

#[test]
fn walpost_writes_checkpoints_as_the_corpus_has_them() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/checkpoints.txt");
    let mut written = Vec::new();
    for delivery in ["at-least-once", "exactly-once"] {
        let (database, kafka) = (Postgres::newest().database("records"), Kafka::shared());
        database.create_outbox();
        let settings = Settings::new(&database, kafka)
            .env("WALPOST_NAME", database.name())
            .env("WALPOST_DELIVERY", delivery);
        let mut walpost = settings.start();
        walpost.wait_until_ready();
        database.insert_rows("order", 1, 100, 7);
        kafka.wait_for_records(&format!("{}.order", database.name()), 100);
        walpost.terminate();
        assert_eq!(walpost.wait(), 0, "{}", walpost.log());
        let records = kafka.committed_records(&format!("walpost.checkpoint.{}", database.name()));
        let values = records.iter().filter(|record| record.value.is_some());
        let texts: Vec<_> = values.map(|record| record.value_text().to_owned()).collect();
        // The first, which has no place yet, and the last.
        written.extend([texts.first().unwrap().clone(), texts.last().unwrap().clone()]);
    }
    if knob("WALPOST_WRITE_CORPUS", 0) == 1 {
        let head = "# What walpost wrote to its checkpoint topic, in at-least-once and exactly-once: the first record\n\
                    # and the last of each. Recorded by `WALPOST_WRITE_CORPUS=1 cargo test --test spec corpus`.\n";
        std::fs::write(path, format!("{head}{}\n", written.join("\n"))).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap();
    let kept = kept.lines().filter(|line| !line.starts_with('#'));
    let members = |text: &str| -> BTreeSet<String> {
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        value.as_object().unwrap().keys().cloned().collect()
    };
    let kept: Vec<_> = kept.map(members).collect();
    assert_eq!(written.iter().map(|text| members(text)).collect::<Vec<_>>(), kept);
}

/// What the server says from its answer to the login to the end of the stream, frame by frame.
#[track_caller]
fn record(server: &Postgres, database: &Database) -> Vec<Vec<u8>> {
    let heard = Arc::<Mutex<Vec<u8>>>::default();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let options = options(listener.local_addr().unwrap().port(), database.name());
    let (port, keep) = (server.port(), Arc::clone(&heard));
    let proxy = std::thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        carry(&client, port, &keep);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let connection = ReplicationConnection::connect(&options).await.unwrap();
        let started = connection.start_replication("walpost", Lsn::INVALID, &["walpost"], true);
        let mut stream = started.await.unwrap();
        let mut asked = false;
        loop {
            let Some((message, length)) = stream.peek().unwrap() else {
                stream.fill().await.unwrap();
                continue;
            };
            match message {
                ReplicationMessage::XLogData { data, .. } => {
                    let last = matches!(pgoutput::decode(data),
                        Ok(LogicalMessage::Message(found)) if found.content == THE_END);
                    stream.consume(length);
                    if last {
                        let update =
                            StatusUpdate { reply_requested: true, ..StatusUpdate::default() };
                        stream.send_status(update).await.unwrap();
                        asked = true;
                    }
                }
                // The answer to what was asked comes after the commit.
                ReplicationMessage::Keepalive { .. } if asked => break,
                ReplicationMessage::Keepalive { .. } => stream.consume(length),
                ReplicationMessage::CopyDone => panic!("the server ended the stream"),
            }
        }
        stream.shutdown(StatusUpdate::default(), PATIENCE).await.unwrap();
    });
    proxy.join().unwrap();
    let bytes = heard.lock().unwrap();
    frames(&bytes)
}

/// Carries bytes both ways until the client ends, and keeps what the server says.
fn carry(client: &TcpStream, port: u16, keep: &Mutex<Vec<u8>>) {
    let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = (&server).read(&mut buffer) {
                keep.lock().unwrap().extend_from_slice(&buffer[..length]);
                if (&*client).write_all(&buffer[..length]).is_err() {
                    break;
                }
            }
        });
        drop(std::io::copy(&mut &*client, &mut &server));
        drop(server.shutdown(Shutdown::Write));
    });
}

#[track_caller]
fn frames(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let length = u32::from_be_bytes(bytes[1..5].try_into().unwrap());
        let (frame, rest) = bytes.split_at(usize::try_from(length).unwrap() + 1);
        let mut frame = frame.to_vec();
        if frame[0] == b'K' {
            frame[9..].fill(0);
        }
        frames.push(frame);
        bytes = rest;
    }
    frames
}

/// What protocol version 2 makes of a transaction larger than what may be held in memory.
#[track_caller]
fn streamed(database: &Database) -> Vec<Vec<u8>> {
    database
        .value("select end_lsn from pg_replication_slot_advance('streamed', pg_current_wal_lsn())");
    database.execute(
        "insert into other select n, repeat(md5(n::text), 4) from generate_series(1, 600) n",
    );
    let rows = database.query(
        "select encode(data, 'hex') from pg_logical_slot_get_binary_changes('streamed', null, null,
             'proto_version', '2', 'publication_names', 'walpost', 'streaming', 'on')",
    );
    let all: Vec<_> = rows.iter().map(|row| from_hex(row[0].as_deref().unwrap())).collect();
    // The rows are alike: a few of them, and what is around them.
    let mut inserts = 0;
    let few = all.into_iter().filter(|message| {
        inserts += usize::from(message[0] == b'I');
        message[0] != b'I' || inserts < 3
    });
    few.collect()
}

fn options(port: u16, database: &str) -> ConnectOptions {
    ConnectOptions {
        hosts: vec![Host { address: HostAddress::Tcp("127.0.0.1".to_owned()), port }],
        database: database.to_owned(),
        user: "postgres".to_owned(),
        password: None,
        sslmode: Some(SslMode::Disable),
        sslrootcert: None,
        sslcert: None,
        sslkey: None,
        channel_binding: ChannelBinding::Disable,
        connect_timeout: Duration::from_secs(30),
        target_session_attrs: TargetSessionAttrs::Any,
        application_name: "walpost/corpus".to_owned(),
        wal_sender_timeout: Duration::from_secs(60),
    }
}
