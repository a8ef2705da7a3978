//! Whether the server has room for one more slot and one more walsender.

use super::remedy::set_and_restart;
use super::{Finding, Remedy};
use crate::config::Config;
use crate::postgres::catalog::{Server, Slot};

/// Findings of the limits. `slot` is walpost's own, where it is there.
pub(super) fn findings(config: &Config, server: &Server, slot: Option<&Slot>) -> Vec<Finding> {
    let (slots, max_slots) = (server.replication_slots, server.max_replication_slots);
    let found = format!("{slots} of {max_slots} replication slots are there");
    let slots = if slot.is_some() || slots < max_slots || !config.create {
        Finding::ok("replication_slots", found)
    } else {
        Finding::problem(
            "replication_slots",
            found,
            "there is no room for walpost's slot",
            Remedy {
                sql: vec![
                    "SELECT slot_name, active, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) AS held_back FROM pg_replication_slots".to_owned(),
                    format!("ALTER SYSTEM SET max_replication_slots = '{}'", max_slots.saturating_add(5)),
                ],
                ..Remedy::note("drop a slot that nobody needs, or raise the limit and restart the server")
            },
        )
    };
    let (senders, max_senders) = (server.wal_senders, server.max_wal_senders);
    let held = slot.is_some_and(|slot| slot.active);
    let found = format!("{senders} of {max_senders} walsenders are busy");
    let senders = if held || senders < max_senders {
        Finding::ok("wal_senders", found)
    } else {
        Finding::problem(
            "wal_senders",
            found,
            "there is no room for walpost's connection",
            set_and_restart("max_wal_senders", &max_senders.saturating_add(5).to_string()),
        )
    };
    vec![slots, senders]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;
    use crate::check::publication::tests::config;
    use crate::check::server::tests::good;
    use crate::postgres::catalog::slot_for_tests as slot;

    #[track_caller]
    fn check(slots: u32, senders: u32, own: Option<&Slot>, expected: [Level; 2]) {
        let server = Server { replication_slots: slots, wal_senders: senders, ..good() };
        let found = findings(&config(&[]), &server, own);
        let levels: Vec<_> = found.iter().map(|finding| finding.level).collect();
        assert_eq!(levels, expected);
    }

    #[test]
    fn a_full_server_has_no_room_unless_the_slot_is_there() {
        use Level::{Ok, Problem};
        check(9, 9, None, [Ok, Ok]);
        check(10, 9, None, [Problem, Ok]);
        check(9, 10, None, [Ok, Problem]);
        check(10, 10, Some(&Slot { active: true, ..slot() }), [Ok, Ok]);
        check(10, 10, Some(&slot()), [Ok, Problem]);
    }
}
