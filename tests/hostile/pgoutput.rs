//! Messages of the output plug-in.

use walpost::pgoutput::{self, LogicalMessage, Malformed};

use crate::recorded::Recorded;
use crate::trial::Target;

const TARGET: Target = Target {
    name: "pgoutput",
    cases: 20_000,
    fixed: 8 * 1024,
    each: 16,
    says: "malformed replication message",
};

/// A message whose tuple, if it has one, is read to its end.
pub(crate) fn read(bytes: &[u8]) -> Result<(), Malformed> {
    if let LogicalMessage::Insert { tuple, .. } = pgoutput::decode(bytes)? {
        for datum in tuple.datums() {
            datum?;
        }
    }
    Ok(())
}

#[test]
fn a_changed_message_of_a_server_is_read_or_refused() {
    let mut from = Vec::new();
    for recorded in Recorded::all() {
        from.extend(recorded.messages().into_iter().map(|message| vec![message.to_vec()]));
        // Of a protocol that walpost does not speak.
        from.extend(recorded.streamed.into_iter().map(|message| vec![message]));
    }
    TARGET.run(&from, |parts| {
        parts.iter().try_for_each(|part| read(part)).map_err(|malformed| malformed.to_string())
    });
}
