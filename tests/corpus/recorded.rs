//! What real servers sent, as it stands in the files of this folder, and what it says.

use std::collections::BTreeMap;

use walpost::pgoutput::{self, Datum, LogicalMessage, Malformed, Tuple};

/// The supported major versions; each has a file.
pub(crate) const MAJORS: [u8; 5] = [14, 15, 16, 17, 18];

/// The heading of what only a stream of protocol version 2 has, for which walpost never asks.
const STREAMED: &str = "# streamed";

/// One server's part of a conversation with walpost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recorded {
    /// Frames, in order: tag, length, body.
    pub(crate) frames: Vec<Vec<u8>>,
    /// Messages of the output plug-in from a transaction that was streamed before its end.
    pub(crate) streamed: Vec<Vec<u8>>,
}

impl Recorded {
    /// As it was recorded from this major version.
    #[track_caller]
    pub(crate) fn of(major: u8) -> Self {
        let path = Self::path(major);
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::read(&text),
            Err(error) => panic!(
                "{path}: {error}; `WALPOST_WRITE_CORPUS=1 cargo test --test spec corpus` records it"
            ),
        }
    }

    /// All of them.
    #[track_caller]
    pub(crate) fn all() -> Vec<Self> {
        MAJORS.map(Self::of).to_vec()
    }

    /// The file of a major version.
    pub(crate) fn path(major: u8) -> String {
        format!("{}/tests/corpus/postgres{major}.txt", env!("CARGO_MANIFEST_DIR"))
    }

    fn read(text: &str) -> Self {
        let mut recorded = Self::default();
        let mut streamed = false;
        for line in text.lines() {
            streamed |= line == STREAMED;
            if !line.starts_with('#') {
                let list = if streamed { &mut recorded.streamed } else { &mut recorded.frames };
                list.push(from_hex(line));
            }
        }
        recorded
    }

    /// The file's text; `of` says which server it was.
    pub(crate) fn written(&self, of: &str) -> String {
        let mut text = format!(
            "# What {of} sent to walpost, from the answer to its login to the end of a stream: one frame\n\
             # of the protocol a line, in hexadecimal digits. Recorded by\n\
             # `WALPOST_WRITE_CORPUS=1 cargo test --test spec corpus`; the key that would cancel a command\n\
             # is blanked out.\n"
        );
        let lines = |text: &mut String, list: &[Vec<u8>]| {
            list.iter().for_each(|bytes| *text += &format!("{}\n", hex(bytes)));
        };
        lines(&mut text, &self.frames);
        text += &format!(
            "{STREAMED}\n# Messages of one transaction that was streamed before its end (protocol version 2).\n"
        );
        lines(&mut text, &self.streamed);
        text
    }

    /// Messages of the output plug-in, in order.
    pub(crate) fn messages(&self) -> Vec<&[u8]> {
        // `d`, four bytes of length, `w`, two positions and a time.
        let message = |frame: &'_ Vec<u8>| {
            frame.starts_with(b"d").then_some(())?;
            (frame.get(5) == Some(&b'w')).then_some(5 + 25)
        };
        self.frames.iter().filter_map(|frame| frame.get(message(frame)?..)).collect()
    }

    /// How many keepalives there are.
    pub(crate) fn keepalives(&self) -> usize {
        let is = |frame: &&Vec<u8>| frame.starts_with(b"d") && frame.get(5) == Some(&b'k');
        self.frames.iter().filter(is).count()
    }
}

/// What messages say, without what differs from server to server: ids of transactions, relations and
/// types of the database's own, positions, times.
#[track_caller]
pub(crate) fn summary(messages: &[&[u8]]) -> Vec<String> {
    let mut relations = BTreeMap::new();
    let mut told = Vec::new();
    for bytes in messages {
        match pgoutput::decode(bytes).and_then(|message| say(&mut relations, &message)) {
            Ok(text) => told.push(text),
            Err(malformed) => panic!("{malformed}: {}", hex(bytes)),
        }
    }
    told
}

fn say(
    relations: &mut BTreeMap<u32, String>,
    message: &LogicalMessage<'_>,
) -> Result<String, Malformed> {
    let name = |oid: &u32| relations.get(oid).cloned().unwrap_or_else(|| "?".to_owned());
    Ok(match message {
        LogicalMessage::Begin(_) => "begin".to_owned(),
        LogicalMessage::Commit(_) => "commit".to_owned(),
        LogicalMessage::Origin { name, .. } => format!("origin {name}"),
        LogicalMessage::Type(found) => format!("type {}.{}", found.namespace, found.name),
        LogicalMessage::Relation(found) => {
            let columns = found.columns.iter().map(|column| {
                // From 16384 on ids are of the database.
                let own = column.type_oid >= 16_384;
                let of = if own { "own".to_owned() } else { column.type_oid.to_string() };
                let key = if column.in_key { " key" } else { "" };
                format!("{} {of} {}{key}", column.name, column.type_modifier)
            });
            let columns = columns.collect::<Vec<_>>().join(", ");
            let qualified = format!("{}.{}", found.namespace, found.name);
            relations.insert(found.oid, qualified.clone());
            format!("relation {qualified} {} ({columns})", char::from(found.replica_identity))
        }
        LogicalMessage::Insert { relation_oid, tuple } => {
            format!("insert {} ({})", name(relation_oid), values(*tuple)?)
        }
        LogicalMessage::Update { relation_oid } => format!("update {}", name(relation_oid)),
        LogicalMessage::Delete { relation_oid } => format!("delete {}", name(relation_oid)),
        LogicalMessage::Truncate => "truncate".to_owned(),
        LogicalMessage::Message(found) => {
            let way = if found.transactional { "message" } else { "message beside transactions" };
            format!("{way} {} {}", found.prefix, String::from_utf8_lossy(found.content))
        }
    })
}

fn values(tuple: Tuple<'_>) -> Result<String, Malformed> {
    let texts: Result<Vec<_>, Malformed> = tuple
        .datums()
        .map(|datum| {
            Ok(match datum? {
                Datum::Null => "null".to_owned(),
                Datum::UnchangedToast => "unchanged".to_owned(),
                Datum::Text(text) => format!("'{}'", String::from_utf8_lossy(text)),
                Datum::Binary(bytes) => format!("binary {}", hex(bytes)),
            })
        })
        .collect();
    Ok(texts?.join(", "))
}

/// As two digits a byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What [`hex`] wrote.
#[track_caller]
pub(crate) fn from_hex(line: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(line.get(at..at + 2).expect(line), 16).expect(line);
    (0..line.len()).step_by(2).map(byte).collect()
}
