//! The replication slot, where it is there.

use super::remedy::{drop_slot, set};
use super::{Finding, Remedy};
use crate::config::Config;
use crate::postgres::catalog::{Server, Slot};
use crate::status::HaltCode;

const CHECK: &str = "slot";

/// Findings of a slot that exists; whether one may be made is another question.
pub(super) fn findings(config: &Config, slot: Option<&Slot>, server: &Server) -> Vec<Finding> {
    let Some(slot) = slot else { return Vec::new() };
    let name = &config.slot;
    if let Some(foreign) = foreign(config, slot) {
        return vec![foreign];
    }
    let lost = slot.wal_status.as_deref() == Some("lost") || slot.invalidation_reason.is_some();
    if lost {
        let reason = slot.invalidation_reason.as_deref().unwrap_or("its log was removed");
        return vec![
            Finding::problem(
                CHECK,
                format!("replication slot {name} is lost ({reason})"),
                "rows committed since the checkpoint may be missing in Kafka",
                Remedy::sql([drop_slot(name)]).then(
                    "where a checkpoint is stored, `walpost checkpoint accept` instead makes a new slot, after printing the range that may be missing; raise max_slot_wal_keep_size",
                ),
            )
            .halts(HaltCode::SlotLost),
        ];
    }
    let mut findings = vec![holder(config, slot)];
    if slot.wal_status.as_deref() == Some("unreserved") {
        let keep = server.max_slot_wal_keep_size.unwrap_or(0).saturating_mul(2).max(1024);
        findings.push(Finding::warning(
            "slot_headroom",
            format!(
                "replication slot {name} holds back more log than it may (wal_status unreserved)"
            ),
            "the next checkpoint of the server makes it lost",
            set("max_slot_wal_keep_size", &format!("{keep}MB"))
                .then("and start walpost, so that it reads what is held back"),
        ));
    }
    findings
}

/// A slot that is not of walpost's kind.
fn foreign(config: &Config, slot: &Slot) -> Option<Finding> {
    let name = &config.slot;
    let other = format!("walpost_{}", config.slot.trim_start_matches("walpost_"));
    let other = if other == *name { format!("{other}_2") } else { other };
    let problem = |found: String, why| {
        Some(
            Finding::problem(
                CHECK,
                found,
                why,
                Remedy::variable("WALPOST_SLOT", &other)
                    .then("walpost makes a slot of its own under that name"),
            )
            .halts(HaltCode::NotReady),
        )
    };
    match slot.plugin.as_deref() {
        Some("pgoutput") => {}
        Some(plugin) => {
            return problem(
                format!("replication slot {name} has the output plug-in {plugin}"),
                "walpost reads pgoutput only, and a slot belongs to one consumer",
            );
        }
        None => {
            return problem(
                format!("replication slot {name} is a physical one"),
                "walpost reads logical slots; this one belongs to a standby",
            );
        }
    }
    let database = slot.database.as_deref().unwrap_or("none");
    if database != config.database.database {
        return problem(
            format!("replication slot {name} belongs to the database {database}"),
            "slot names are one namespace for all databases of a server",
        );
    }
    None
}

fn holder(config: &Config, slot: &Slot) -> Finding {
    let name = &config.slot;
    let stands = slot
        .confirmed_flush_lsn
        .map_or_else(|| "nowhere yet".to_owned(), |position| format!("at {position}"));
    if !slot.active {
        return Finding::ok(CHECK, format!("replication slot {name} is free and stands {stands}"));
    }
    let pid = slot.active_pid.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string());
    let application = slot.holder.as_ref().and_then(|holder| holder.application_name.as_deref());
    if application == Some(config.database.application_name.as_str()) {
        return Finding::ok(
            CHECK,
            format!("replication slot {name} is held by a running walpost (process {pid}) and stands {stands}"),
        )
        .because("a second walpost waits, and takes over when that one ends");
    }
    Finding::problem(
        CHECK,
        format!(
            "replication slot {name} is held by process {pid}, {}",
            application.map_or_else(|| "whose name is not visible".to_owned(), |name| format!("application {name:?}"))
        ),
        "walpost would wait for it, and what it reads walpost never sees",
        Remedy::sql([
            format!("SELECT pid, usename, application_name, client_addr FROM pg_stat_activity WHERE pid = {pid}"),
            format!("SELECT pg_terminate_backend({pid})"),
        ])
        .or_variable("WALPOST_SLOT", &format!("{name}_2"))
        .then("end it if it is not meant to be there; else give walpost a slot of its own"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;
    use crate::check::publication::tests::config;
    use crate::check::server::tests::good;
    use crate::postgres::catalog::{Holder, slot_for_tests as slot};

    fn held_by(application: &str) -> Slot {
        let holder = Holder { application_name: Some(application.to_owned()), client_addr: None };
        Slot { active: true, active_pid: Some(7), holder: Some(holder), ..slot() }
    }

    #[track_caller]
    fn check(slot: &Slot, expected: (Level, Option<HaltCode>)) {
        let found = findings(&config(&[]), Some(slot), &good());
        let worst = found.iter().max_by_key(|finding| finding.level).expect("a finding");
        assert_eq!((worst.level, worst.halt), expected, "{found:?}");
    }

    #[test]
    fn a_slot_is_judged_by_its_kind_its_state_and_its_holder() {
        use Level::{Ok, Problem, Warning};
        let text = |text: &str| Some(text.to_owned());
        check(&slot(), (Ok, None));
        let not_ready = (Problem, Some(HaltCode::NotReady));
        check(&Slot { plugin: text("test_decoding"), ..slot() }, not_ready);
        check(&Slot { plugin: None, database: None, ..slot() }, not_ready);
        check(&Slot { database: text("other"), ..slot() }, not_ready);
        let lost = (Problem, Some(HaltCode::SlotLost));
        check(&Slot { wal_status: text("lost"), ..slot() }, lost);
        check(&Slot { invalidation_reason: text("idle_timeout"), ..slot() }, lost);
        check(&Slot { wal_status: text("unreserved"), ..slot() }, (Warning, None));
        check(&held_by("walpost/shop.walpost"), (Ok, None));
        check(&held_by("psql"), (Problem, None));
        check(&Slot { active: true, active_pid: Some(7), ..slot() }, (Problem, None));
        assert_eq!(findings(&config(&[]), None, &good()), []);
    }

    #[test]
    fn another_slot_has_another_name() {
        let foreign = Slot { database: None, ..slot() };
        let variables = |config: &Config| {
            let found = findings(config, Some(&foreign), &good());
            found.first().and_then(|finding| finding.remedy.clone()).expect("a remedy").variables
        };
        assert_eq!(variables(&config(&[])), ["WALPOST_SLOT=walpost_walpost"]);
        assert_eq!(
            variables(&config(&[("WALPOST_SLOT", "walpost_shop")])),
            ["WALPOST_SLOT=walpost_shop_2"]
        );
    }
}
