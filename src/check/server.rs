//! The server itself: version, role, settings that a start or a long run depends on.

use super::connection::{self, Refusal};
use super::database::Walsender;
use super::remedy::{identifier, set, set_and_restart};
use super::{Finding, Remedy};
use crate::config::Config;
use crate::postgres::catalog::Server;
use crate::status::HaltCode;

/// Clocks that differ by more than this make the lag that walpost shows wrong.
const SKEW_MAX_MICROS: i64 = 5_000_000;

/// Findings of the server's settings. `skew` is its clock less ours, in microseconds.
pub(super) fn findings(server: &Server, skew: i64) -> Vec<Finding> {
    let mut findings = vec![version(server)];
    findings.push(if server.in_recovery {
        Finding::problem(
            "primary",
            "the server is a standby",
            "a slot can be read and moved on the primary only",
            Remedy::variable("PGTARGETSESSIONATTRS", "read-write")
                .then("and name the primary among the hosts of PGHOST or DATABASE_URL"),
        )
        .halts(HaltCode::NotReady)
    } else {
        Finding::ok("primary", "the server is a primary")
    });
    findings.push(if server.wal_level == "logical" {
        Finding::ok("wal_level", "wal_level is logical")
    } else {
        Finding::problem(
            "wal_level",
            format!("wal_level is {}", server.wal_level),
            "the log does not hold what logical replication needs",
            set_and_restart("wal_level", "logical"),
        )
        .halts(HaltCode::NotReady)
    });
    findings.push(role(server));
    findings.push(keep_size(server));
    findings.extend(idle_timeout(server));
    findings.push(clock(skew));
    findings
}

fn version(server: &Server) -> Finding {
    if server.version_num < 140_000 {
        return Finding::problem(
            "postgres_version",
            format!("the server is Postgres {}", server.version()),
            "14 is the oldest that walpost follows",
            Remedy::note("upgrade the server"),
        )
        .halts(HaltCode::NotReady);
    }
    Finding::ok("postgres_version", format!("the server is Postgres {}", server.version()))
}

fn role(server: &Server) -> Finding {
    let role = &server.role;
    if role.superuser {
        return Finding::warning(
            "role",
            format!("role {} is a superuser", role.name),
            "whoever gets hold of walpost's password may do anything; walpost needs no more than REPLICATION, where somebody else makes the publication",
            Remedy::sql(["CREATE ROLE walpost LOGIN REPLICATION"])
                .then("\\password walpost in psql sets its password; then set PGUSER and PGPASSWORD, or DATABASE_URL"),
        );
    }
    Finding::ok("role", format!("role {} is no superuser", role.name))
}

/// The finding of the replication connection.
pub(super) fn walsender(config: &Config, walsender: &Result<Walsender, Refusal>) -> Finding {
    let check = "replication_connection";
    match walsender {
        // Which right it takes differs between providers; the server's refusal is what counts.
        Err(refusal) if refusal.sqlstate.as_deref() == Some("42501") => {
            connection::finding("replication_right", config, refusal)
        }
        Err(refusal) => connection::finding(check, config, refusal),
        Ok(Walsender { known: false, .. }) => Finding::problem(
            check,
            "the server does not know the replication connection that it is said to have",
            "a pooler or a load balancer lies in between and leads the two connections to different places, or hides them",
            Remedy::note("set PGHOST and PGPORT (or DATABASE_URL) to the Postgres server itself"),
        ),
        Ok(Walsender { identity, .. }) => Finding::ok(
            check,
            format!(
                "direct: system {}, timeline {}, log flushed up to {}",
                identity.system_id, identity.timeline, identity.xlogpos
            ),
        ),
    }
}

fn keep_size(server: &Server) -> Finding {
    let check = "max_slot_wal_keep_size";
    match server.max_slot_wal_keep_size {
        None => Finding::warning(
            check,
            "max_slot_wal_keep_size is -1, without limit",
            "while walpost or Kafka is away, the slot holds back the log until the database's disk is full",
            set(check, "50GB").then(
                "choose less than what is free on the disk, and more than the log of the longest outage that no row may be lost in: a slot beyond the limit is lost",
            ),
        ),
        Some(mebibytes) => Finding::ok(check, format!("a slot holds back at most {mebibytes} MiB"))
            .because("a slot beyond that is lost, and walpost halts (slot_lost)"),
    }
}

fn idle_timeout(server: &Server) -> Option<Finding> {
    let timeout = server.idle_replication_slot_timeout?;
    Some(Finding::warning(
        "idle_replication_slot_timeout",
        format!("idle_replication_slot_timeout is {} s", timeout.as_secs()),
        "when walpost is away for longer than that, its slot is lost, and rows with it",
        set("idle_replication_slot_timeout", "0"),
    ))
}

fn clock(skew: i64) -> Finding {
    let seconds = skew.unsigned_abs() / 1_000_000;
    if skew.unsigned_abs() <= SKEW_MAX_MICROS.unsigned_abs() {
        return Finding::ok("clock", "the server's clock and this one agree within 5 s");
    }
    let direction = if skew > 0 { "ahead of" } else { "behind" };
    Finding::warning(
        "clock",
        format!("the server's clock is {seconds} s {direction} this one"),
        "the lag in seconds and the latency of events are wrong by as much; no row depends on it",
        Remedy::note("set both clocks by NTP"),
    )
}

/// The statement that lets a role make a publication.
pub(super) fn grant_create(database: &str, role: &str) -> String {
    format!("GRANT CREATE ON DATABASE {} TO {}", identifier(database), identifier(role))
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::check::Level;
    use crate::lsn::Lsn;
    use crate::postgres::catalog::Role;

    /// A server with nothing to complain about.
    pub(in crate::check) fn good() -> Server {
        Server {
            answered_at: tokio::time::Instant::now(),
            version_num: 150_018,
            in_recovery: false,
            wal_level: "logical".to_owned(),
            max_slot_wal_keep_size: Some(1024),
            wal_end: Lsn::new(1_000),
            now: 0,
            settled_xid: 1_000,
            next_xid: 1_000,
            max_replication_slots: 10,
            replication_slots: 1,
            max_wal_senders: 10,
            wal_senders: 1,
            idle_replication_slot_timeout: None,
            synchronized_standby_slots: None,
            synchronous_standby_names: String::new(),
            role: Role {
                name: "walpost".to_owned(),
                superuser: false,
                replication: true,
                create_in_database: false,
            },
        }
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Server), expected: &[(&str, Level)]) {
        let mut server = good();
        change(&mut server);
        let found = findings(&server, 0);
        let found: Vec<_> = found
            .iter()
            .filter(|finding| finding.level != Level::Ok)
            .map(|finding| (finding.check, finding.level))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn each_setting_has_its_own_finding() {
        use Level::{Problem, Warning};
        check(|_| {}, &[]);
        check(|server| server.version_num = 130_012, &[("postgres_version", Problem)]);
        check(|server| server.version_num = 140_000, &[]);
        check(|server| server.in_recovery = true, &[("primary", Problem)]);
        check(|server| server.wal_level = "replica".to_owned(), &[("wal_level", Problem)]);
        check(|server| server.role.superuser = true, &[("role", Warning)]);
        check(
            |server| server.max_slot_wal_keep_size = None,
            &[("max_slot_wal_keep_size", Warning)],
        );
        check(
            |server| server.idle_replication_slot_timeout = Some(Duration::from_secs(60)),
            &[("idle_replication_slot_timeout", Warning)],
        );
    }

    #[test]
    fn clocks_may_differ_by_five_seconds() {
        #[track_caller]
        fn check(skew: i64, expected: Level) {
            assert_eq!(clock(skew).level, expected, "{skew}");
        }
        check(0, Level::Ok);
        check(5_000_000, Level::Ok);
        check(5_000_001, Level::Warning);
        check(-5_000_001, Level::Warning);
        check(i64::MAX, Level::Warning);
        assert_eq!(clock(-7_000_000).found, "the server's clock is 7 s behind this one");
    }
}
