//! What the relay can look at by itself while it runs, each with what to do where it is not well.
//!
//! Pure functions over a [`Snapshot`]. `walpost check` looks at more: rights, settings of the
//! server, the publication's contents, topics.

use super::facts::WalStatus;
use super::halt::HaltCode;
use super::health::{self, GRACE_SECONDS};
use super::report::{Headroom, HeadroomWord};
use super::snapshot::{Ago, Snapshot, Until};
use super::span::{spoken, spoken_bytes};
use super::state::State;

/// A certificate that is valid for less than this is worth a look, and for less than that a night.
const CERTIFICATE_SOON: f64 = 14.0 * 86_400.0;
const CERTIFICATE_ENDS: f64 = 3.0 * 86_400.0;

/// Times of events and the lag are of the server's clock, and compared to ours.
const SKEW_MAX: f64 = 2.0;

/// An idle checkpoint is written every 10 s.
const CHECKPOINT_OLD: f64 = 60.0;

/// Of what the slot may keep, this share should be left.
const HEADROOM_SHARE: f64 = 0.2;

/// At the present growth, the slot should last as long as it takes to wake somebody.
const HEADROOM_SOON: f64 = 4.0 * 3_600.0;

/// Postgres warns of wraparound below 40 million transactions left of 2 billion; catalogs that
/// cannot be vacuumed slow everything down long before.
const XMIN_OLD: u64 = 100_000_000;

/// The name of the check of consumer groups.
pub(super) const CONSUMER_GROUPS: &str = "Consumer groups";

/// How well something is, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// As it should be.
    Good,
    /// Not known yet, or not looked at in this state.
    Unknown,
    /// Somebody should look at it, not at night.
    Warn,
    /// It does not work, or will not for long.
    Bad,
}

impl Grade {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Unknown => "unknown",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// How it is.
    pub grade: Grade,
    /// What was found.
    pub says: String,
    /// What to do; `None` where it is well.
    pub remedy: Option<String>,
}

impl Check {
    fn new(name: &'static str, (grade, says): (Grade, String), remedy: &str) -> Self {
        let remedy = (grade >= Grade::Warn).then(|| remedy.to_owned());
        Self { name, grade, says, remedy }
    }
}

/// All of them, in the order of the way of a row.
pub(super) fn checks(snapshot: &Snapshot, headroom: &Headroom) -> Vec<Check> {
    let certificates = [
        ("Postgres certificate", snapshot.postgres.certificate_expires),
        ("Kafka certificate", snapshot.kafka.certificate_expires),
    ];
    let certificates = certificates
        .into_iter()
        .filter_map(|(name, until)| until.map(|until| certificate(name, until)));
    let mut all = vec![postgres(snapshot), publication(snapshot), slot(snapshot)];
    all.push(wal_limit(snapshot, headroom));
    all.push(vacuum(snapshot));
    all.push(kafka(snapshot));
    all.push(checkpoint(snapshot));
    all.push(rows(snapshot));
    all.push(clock(snapshot));
    all.extend(certificates);
    all.extend(consumers(snapshot));
    all.push(tasks(snapshot));
    all
}

fn postgres(snapshot: &Snapshot) -> Check {
    let at = &snapshot.postgres;
    let version = at.version.as_deref().map(|version| format!("{version}, ")).unwrap_or_default();
    Check::new(
        "Postgres",
        answered(&version, at.last_contact, snapshot.started),
        "See the last errors below for what was tried. Is the server up, and does DATABASE_URL \
         (or PGHOST) lead to it? walpost tries again by itself",
    )
}

fn kafka(snapshot: &Snapshot) -> Check {
    let at = &snapshot.kafka;
    let remedy = "See the last errors below. Are the brokers up, and does \
                  KAFKA_BOOTSTRAP_SERVERS lead to them? Nothing is lost meanwhile: rows wait in the \
                  server's log, and walpost goes on by itself";
    // A leader hears of Kafka by its confirmations, and there are none while nothing is sent.
    let waits = snapshot.in_flight.events > 0;
    let found = match at.last_confirmation.or(at.last_contact) {
        Some(last) if snapshot.leader && !waits => {
            (Grade::Good, format!("answered {} ago, nothing waits", spoken(last.seconds_ago)))
        }
        Some(last) if snapshot.leader => {
            let grade = if last.seconds_ago > GRACE_SECONDS { Grade::Bad } else { Grade::Good };
            let events = snapshot.in_flight.events;
            let ago = spoken(last.seconds_ago);
            (grade, format!("{events} events wait; the last one was confirmed {ago} ago"))
        }
        _ => answered("", at.last_contact, snapshot.started),
    };
    Check::new("Kafka", found, remedy)
}

/// How a server is by when it last answered; without an answer it has a while after the start.
fn answered(version: &str, last: Option<Ago>, started: Ago) -> (Grade, String) {
    match last {
        Some(at) if at.seconds_ago <= GRACE_SECONDS => {
            (Grade::Good, format!("{version}answered {} ago", spoken(at.seconds_ago)))
        }
        Some(at) => (Grade::Bad, format!("{version}silent for {}", spoken(at.seconds_ago))),
        None if started.seconds_ago <= GRACE_SECONDS => {
            (Grade::Unknown, "not reached yet".to_owned())
        }
        None => (Grade::Bad, "not reached since the start".to_owned()),
    }
}

fn halted(snapshot: &Snapshot, codes: &[HaltCode]) -> Option<(Grade, String)> {
    let halt = snapshot.halt.as_ref().filter(|halt| codes.contains(&halt.code))?;
    Some((Grade::Bad, halt.message.clone()))
}

fn publication(snapshot: &Snapshot) -> Check {
    let codes = [HaltCode::PublicationChanged, HaltCode::TableChanged];
    let found = halted(snapshot, &codes).unwrap_or_else(|| match snapshot.catalog_checked {
        Some(at) if at.seconds_ago <= 2.0 * GRACE_SECONDS => {
            (Grade::Good, format!("as at the start; looked {} ago", spoken(at.seconds_ago)))
        }
        Some(at) => (Grade::Unknown, format!("as at the start, {} ago", spoken(at.seconds_ago))),
        None => (Grade::Unknown, "looked at while an instance works".to_owned()),
    });
    let hint = snapshot.halt.as_ref().map_or("", |halt| halt.hint.as_str());
    Check::new("Publication and tables", found, hint)
}

fn slot(snapshot: &Snapshot) -> Check {
    let codes = [HaltCode::SlotMissing, HaltCode::SlotLost];
    let found = halted(snapshot, &codes).unwrap_or_else(|| {
        let Some(slot) = &snapshot.slot else {
            return (Grade::Unknown, "not looked at yet".to_owned());
        };
        let kept = spoken_bytes(slot.retained_bytes);
        match slot.wal_status {
            Some(WalStatus::Lost) => (Grade::Bad, "lost: the server removed its WAL".to_owned()),
            Some(WalStatus::Unreserved) => {
                (Grade::Bad, format!("about to be lost, keeps {kept} of WAL"))
            }
            Some(WalStatus::Extended) => {
                (Grade::Warn, format!("keeps {kept} of WAL, past max_wal_size"))
            }
            _ if !slot.active => (Grade::Warn, format!("nobody reads it; keeps {kept} of WAL")),
            _ => (Grade::Good, format!("active, keeps {kept} of WAL")),
        }
    });
    let remedy = match (&snapshot.halt, snapshot.slot.as_ref().and_then(|slot| slot.wal_status)) {
        (Some(halt), _) => halt.hint.as_str(),
        (None, Some(WalStatus::Extended | WalStatus::Unreserved)) => {
            "Mend what holds walpost up, and raise max_slot_wal_keep_size until it has caught up"
        }
        (None, _) => {
            "Let a walpost run: as long as none reads the slot, the server keeps all WAL for it"
        }
    };
    Check::new("Replication slot", found, remedy)
}

fn wal_limit(snapshot: &Snapshot, headroom: &Headroom) -> Check {
    let slot = snapshot.slot.as_ref();
    let limits = slot.and_then(|slot| Some((slot.safe_bytes?, slot.keep_limit_bytes?)));
    let left = headroom.spoken();
    let found = match (headroom.word, limits) {
        (HeadroomWord::Lost, _) => (Grade::Bad, left),
        (_, Some((safe, limit))) => {
            // Exact up to 2^53 bytes.
            let short = (safe as f64) < limit as f64 * HEADROOM_SHARE;
            let soon = headroom.seconds_left.is_some_and(|left| left < HEADROOM_SOON);
            let grade = match (short, soon) {
                (true, true) => Grade::Bad,
                (false, false) => Grade::Good,
                _ => Grade::Warn,
            };
            let (safe, limit) = (spoken_bytes(safe), spoken_bytes(limit));
            (grade, format!("{safe} of {limit} free, {left}"))
        }
        (HeadroomWord::NoLimit, None) => (
            Grade::Good,
            "no limit: while walpost is stopped, WAL grows until the disk is full".to_owned(),
        ),
        (_, None) => (Grade::Unknown, left),
    };
    let remedy = "Mend what holds walpost up before the WAL that it needs is removed; \
                  raising max_slot_wal_keep_size (and a reload) gives time";
    Check::new("WAL limit", found, remedy)
}

fn vacuum(snapshot: &Snapshot) -> Check {
    let found = match snapshot.slot.as_ref().map(|slot| slot.catalog_xmin_age) {
        None => (Grade::Unknown, "not looked at yet".to_owned()),
        Some(age) => {
            let grade = if age >= XMIN_OLD { Grade::Warn } else { Grade::Good };
            (grade, format!("the slot holds back {age} transactions"))
        }
    };
    let remedy = "The catalogs cannot be vacuumed past the slot: find the open transaction that \
                  keeps it where it is, in pg_stat_activity by xact_start";
    Check::new("Vacuum of catalogs", found, remedy)
}

fn checkpoint(snapshot: &Snapshot) -> Check {
    let found = match (snapshot.leader, snapshot.last_checkpoint) {
        (true, Some(at)) => {
            let grade = if at.seconds_ago > CHECKPOINT_OLD { Grade::Warn } else { Grade::Good };
            (grade, format!("stored {} ago", spoken(at.seconds_ago)))
        }
        (true, None) if snapshot.state_since.seconds_ago > CHECKPOINT_OLD => {
            (Grade::Warn, "none stored yet".to_owned())
        }
        (true, None) => (Grade::Unknown, "none stored yet".to_owned()),
        (false, _) => (Grade::Unknown, "stored while an instance works".to_owned()),
    };
    let remedy = "Without a newer checkpoint a restart sends again what came after this one. It \
                  is written once Kafka confirms: see there";
    Check::new("Checkpoint", found, remedy)
}

fn rows(snapshot: &Snapshot) -> Check {
    let counts = &snapshot.counts;
    let found = match halted(snapshot, &[HaltCode::BadRow]) {
        Some(found) => found,
        None if counts.bad_rows == 0 => (Grade::Good, "no bad row since the start".to_owned()),
        None => {
            let (bad, dead) = (counts.bad_rows, counts.dead_letters);
            (Grade::Warn, format!("{bad} bad rows since the start, {dead} dead letters"))
        }
    };
    let remedy = snapshot.halt.as_ref().map_or(
        "`walpost dlq list` shows them; the log says of each what is wrong with it",
        |halt| halt.hint.as_str(),
    );
    Check::new("Rows", found, remedy)
}

fn clock(snapshot: &Snapshot) -> Check {
    let skew = snapshot.postgres.clock_skew_seconds;
    let found = if snapshot.slot.is_none() {
        (Grade::Unknown, "not compared yet".to_owned())
    } else {
        let word = if skew < 0.0 { "behind" } else { "ahead" };
        let grade = if skew.abs() > SKEW_MAX { Grade::Warn } else { Grade::Good };
        (grade, format!("the database server's is {:.3} s {word}", skew.abs()))
    };
    let remedy = "Lag and latency are corrected for it; times in events are the server's. Is NTP \
                  running on both machines?";
    Check::new("Clocks", found, remedy)
}

fn certificate(name: &'static str, until: Until) -> Check {
    let left = until.seconds_left;
    let grade = if left < CERTIFICATE_ENDS {
        Grade::Bad
    } else if left < CERTIFICATE_SOON {
        Grade::Warn
    } else {
        Grade::Good
    };
    let says = if left > 0.0 {
        format!("valid for {}", spoken(left))
    } else {
        format!("expired {} ago", spoken(-left))
    };
    let remedy = "Renew the server's certificate; walpost takes the new one at its next connection";
    Check::new(name, (grade, says), remedy)
}

/// Being behind is for the alerts to judge: how far is too far, the groups' owners know.
fn consumers(snapshot: &Snapshot) -> Option<Check> {
    let groups = &snapshot.consumer_groups;
    if groups.is_empty() {
        return None;
    }
    let wrong: Vec<_> = groups.iter().filter_map(|group| group.wrong()).collect();
    let looked = groups.iter().filter(|group| group.looked.is_some()).count();
    let found = if !wrong.is_empty() {
        (Grade::Warn, wrong.join("; "))
    } else if looked < groups.len() {
        (Grade::Unknown, "not looked at yet".to_owned())
    } else {
        (Grade::Good, format!("{looked} of {looked} have consumers"))
    };
    let remedy = "Are the group's consumers running, and is it written as in WALPOST_CONSUMER_GROUPS? \
                  `walpost groups show` asks again; `walpost check` names a right that is missing. The \
                  relay does not wait for consumers";
    Some(Check::new(CONSUMER_GROUPS, found, remedy))
}

fn tasks(snapshot: &Snapshot) -> Check {
    let live = health::live(snapshot);
    let grade = if live.ok { Grade::Good } else { Grade::Bad };
    let remedy = "Restart it: what was in flight is sent again";
    Check::new("This process", (grade, live.reason), remedy)
}

/// Whether a state's own words say enough, so that its checks add nothing.
pub(super) const fn is_settling(state: State) -> bool {
    matches!(state, State::Starting | State::Draining)
}

#[cfg(test)]
mod tests {
    use super::super::facts::SlotFacts;
    use super::super::halt::Halt;
    use super::super::snapshot::SlotView;
    use super::*;

    #[track_caller]
    fn check(name: &str, grade: Grade, says: &str, change: impl FnOnce(&mut Snapshot)) {
        let headroom = |seconds_left: Option<f64>| Headroom {
            word: if seconds_left.is_some() {
                HeadroomWord::Growing
            } else {
                HeadroomWord::NoLimit
            },
            growth_bytes_per_second: None,
            seconds_left,
        };
        let mut snapshot = Snapshot::for_tests();
        change(&mut snapshot);
        let limited = snapshot.slot.as_ref().is_some_and(|slot| slot.keep_limit_bytes.is_some());
        let all = checks(&snapshot, &headroom(limited.then_some(3_600.0)));
        let found = all.iter().find(|check| check.name == name).unwrap();
        assert_eq!((found.grade, found.says.as_str()), (grade, says));
        let remedy = found.remedy.as_deref();
        assert_eq!(remedy.is_some_and(|text| !text.is_empty()), grade >= Grade::Warn, "{remedy:?}");
    }

    fn with_slot(change: impl FnOnce(&mut SlotFacts)) -> impl FnOnce(&mut Snapshot) {
        let mut slot = SlotFacts {
            active: true,
            wal_status: Some(WalStatus::Reserved),
            ..SlotFacts::default()
        };
        change(&mut slot);
        move |snapshot| snapshot.slot = Some(SlotView::of(&slot))
    }

    #[test]
    fn a_server_has_a_while_to_answer_and_is_then_missed() {
        check("Postgres", Grade::Unknown, "not reached yet", |_| {});
        check("Postgres", Grade::Bad, "not reached since the start", |s| {
            s.started = s.ago(31.0);
        });
        check("Postgres", Grade::Good, "17.2, answered 2 s ago", |s| {
            s.postgres.version = Some("17.2".to_owned());
            s.postgres.last_contact = Some(s.ago(2.0));
        });
        check("Kafka", Grade::Bad, "silent for 45 s", |s| s.kafka.last_contact = Some(s.ago(45.0)));
    }

    #[test]
    fn kafka_owes_a_leader_nothing_while_nothing_waits() {
        let leader = |waiting| {
            move |s: &mut Snapshot| {
                s.leader = true;
                s.in_flight.events = waiting;
                s.kafka.last_confirmation = Some(s.ago(45.0));
            }
        };
        check("Kafka", Grade::Good, "answered 45 s ago, nothing waits", leader(0));
        let waits = "3 events wait; the last one was confirmed 45 s ago";
        check("Kafka", Grade::Bad, waits, leader(3));
    }

    #[test]
    fn a_halt_is_found_where_it_belongs() {
        let halt = |code| {
            move |s: &mut Snapshot| {
                s.state = State::Halted;
                s.halt = Some(Halt { code, message: "it is gone".into(), hint: "decide".into() });
            }
        };
        check("Replication slot", Grade::Bad, "it is gone", halt(HaltCode::SlotMissing));
        check("Rows", Grade::Bad, "it is gone", halt(HaltCode::BadRow));
        check("Publication and tables", Grade::Bad, "it is gone", halt(HaltCode::TableChanged));
    }

    #[test]
    fn the_slot_is_graded_by_what_the_server_does_with_its_wal() {
        let name = "Replication slot";
        check(name, Grade::Good, "active, keeps 0 B of WAL", with_slot(|_| {}));
        check(
            name,
            Grade::Warn,
            "nobody reads it; keeps 0 B of WAL",
            with_slot(|slot| {
                slot.active = false;
            }),
        );
        check(
            name,
            Grade::Bad,
            "about to be lost, keeps 0 B of WAL",
            with_slot(|slot| {
                slot.wal_status = Some(WalStatus::Unreserved);
            }),
        );
    }

    #[test]
    fn the_limit_is_graded_by_what_is_left_and_for_how_long() {
        let limited = |safe| {
            with_slot(move |slot| {
                slot.safe_bytes = Some(safe);
                slot.keep_limit_bytes = Some(1_024);
            })
        };
        let name = "WAL limit";
        check(name, Grade::Warn, "1023 B of 1.0 KiB free, 1 h left", limited(1_023));
        check(name, Grade::Bad, "20 B of 1.0 KiB free, 1 h left", limited(20));
        let endless = "no limit: while walpost is stopped, WAL grows until the disk is full";
        check(name, Grade::Good, endless, with_slot(|_| {}));
    }

    #[test]
    fn a_certificate_is_missed_before_it_ends() {
        let until = |days: f64| {
            move |s: &mut Snapshot| {
                s.kafka.certificate_expires =
                    Some(Until { at: s.at, seconds_left: days * 86_400.0 });
            }
        };
        check("Kafka certificate", Grade::Good, "valid for 20 d", until(20.0));
        check("Kafka certificate", Grade::Warn, "valid for 13 d", until(13.0));
        check("Kafka certificate", Grade::Bad, "valid for 2 d", until(2.0));
        check("Kafka certificate", Grade::Bad, "expired 1 d ago", until(-1.0));
    }

    #[test]
    fn clocks_rows_and_tasks_are_looked_at() {
        let apart = |skew| {
            move |s: &mut Snapshot| {
                with_slot(|_| {})(s);
                s.postgres.clock_skew_seconds = skew;
            }
        };
        check("Clocks", Grade::Good, "the database server's is 0.001 s ahead", apart(0.001));
        check("Clocks", Grade::Warn, "the database server's is 2.500 s behind", apart(-2.5));
        check("Rows", Grade::Warn, "2 bad rows since the start, 1 dead letters", |s| {
            s.counts.bad_rows = 2;
            s.counts.dead_letters = 1;
        });
        check("This process", Grade::Good, "all tasks move", |_| {});
        check("Checkpoint", Grade::Warn, "stored 1 min 5 s ago", |s| {
            s.leader = true;
            s.last_checkpoint = Some(s.ago(65.0));
        });
    }
}
