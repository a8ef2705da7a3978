//! The order of commits as the server's own log has it.

use std::collections::HashMap;

use super::super::servers::Database;

/// The place of a row: LSN of its transaction's commit, and its number in the transaction, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// The commit record's position, bytes.
    pub(crate) commit_lsn: u64,
    /// The how manieth row of the publication in this transaction.
    pub(crate) ordinal: u64,
}

/// Every committed row in the order of the log, read from a replication slot that walpost does not
/// touch.
#[derive(Debug, Default)]
pub(crate) struct Commits {
    /// Row ids in the order of the log.
    pub(crate) rows: Vec<(u128, Place)>,
    /// Where each id is in `rows`.
    pub(crate) index: HashMap<u128, usize>,
}

impl Commits {
    /// The name of that slot.
    pub(super) fn slot(database: &Database) -> String {
        format!("{}_oracle", database.name())
    }

    /// Reads all there is, once no transaction is open any more.
    ///
    /// Parses of pgoutput only what is needed: the commit LSN of Begin (`B`), and of Insert (`I`)
    /// the text of its first column, the id. Source: PostgreSQL manual, "Logical Replication
    /// Message Formats".
    #[track_caller]
    pub(crate) fn read(database: &Database) -> Self {
        let mut commits = Self::default();
        let mut commit_lsn = 0;
        let mut ordinal = 0;
        // In portions that end with a transaction; what was read is not read again.
        loop {
            let changes = database.query(&format!(
                "select encode(substr(data, 1, 49), 'hex') from pg_logical_slot_get_binary_changes(
                 '{}', null, 50000, 'proto_version', '1', 'publication_names', 'walpost')
                 where get_byte(data, 0) in (66, 73)",
                Self::slot(database)
            ));
            if changes.is_empty() {
                return commits;
            }
            for change in changes {
                let data = bytes(change[0].as_deref().unwrap());
                if data[0] == b'B' {
                    commit_lsn = u64::from_be_bytes(data[1..9].try_into().unwrap());
                    ordinal = 0;
                    continue;
                }
                // I, relation (4), N, count of columns (2), t, length (4), 36 characters.
                assert_eq!((data[5], data[8], &data[9..13]), (b'N', b't', &[0, 0, 0, 36][..]));
                let id = id(std::str::from_utf8(&data[13..49]).unwrap());
                // A server that crashed has a slot that went back: the same rows once more.
                if !commits.index.contains_key(&id) {
                    commits.index.insert(id, commits.rows.len());
                    commits.rows.push((id, Place { commit_lsn, ordinal }));
                }
                ordinal += 1;
            }
        }
    }

    /// The place of a row that was committed.
    #[track_caller]
    pub(crate) fn place(&self, id: u128) -> Place {
        let index = self.index.get(&id).unwrap_or_else(|| panic!("{id:032x} is not in the log"));
        self.rows[*index].1
    }

    /// The rows of each transaction, as ranges of `rows`.
    pub(crate) fn transactions(&self) -> Vec<std::ops::Range<usize>> {
        let mut begins: Vec<usize> =
            (0..self.rows.len()).filter(|index| self.rows[*index].1.ordinal == 0).collect();
        begins.push(self.rows.len());
        begins.windows(2).map(|pair| pair[0]..pair[1]).collect()
    }
}

/// A UUID's 128 bits.
#[track_caller]
pub(super) fn id(text: &str) -> u128 {
    let digits = text.replace('-', "");
    assert_eq!(digits.len(), 32, "{text} is no UUID");
    u128::from_str_radix(&digits, 16).unwrap_or_else(|_| panic!("{text} is no UUID"))
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        hex.chars().map(|digit| u8::try_from(digit.to_digit(16).unwrap()).unwrap()).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
