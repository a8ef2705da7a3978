//! Goal: what holds for a minute holds for an hour, and what holds for a thousand rows and ten topics
//! holds for ten million rows and a thousand topics: nothing lost, order kept, memory bounded by the
//! configuration.
//!
//! Method: real servers; each case is a test that `make test` runs with small numbers, and that
//! `make torture LONG=1` runs with those that are meant (`WALPOST_TORTURE_LONG=1`), against a release
//! (`WALPOST_TEST_PROGRAM`), whose memory and speed are what a user has. Each number can be chosen by
//! itself: `WALPOST_TORTURE_LONG_ROWS`, `…_OUTAGE_SECONDS`, `…_TOPICS`, `…_TOPIC_ROWS`,
//! `…_TOPIC_PARTITIONS`, `…_JUMPS`.

use crate::oracle::knob;
use crate::page::write_between;
use crate::servers::figure;
use crate::servers::walpost::program_is_chosen;

mod clock;
mod outage;
mod topics;
mod transaction;

/// `WALPOST_MAX_IN_FLIGHT` as it is when nobody sets it.
const IN_FLIGHT: u64 = 16 * 1024 * 1024;

/// A number of these tests, small in `make test`.
#[track_caller]
fn size(name: &str, small: u64, full: u64) -> u64 {
    let usual = if knob("WALPOST_TORTURE_LONG", 0) == 1 { full } else { small };
    knob(&format!("WALPOST_TORTURE_LONG_{name}"), usual)
}

/// The most memory that walpost may have resident, in bytes: 20 MB and one and a half times what may be
/// in flight. A program as built for tests has more pages of code than a release.
fn allowed(in_flight: u64) -> u64 {
    let own = if program_is_chosen() { 20_000_000 } else { 40_000_000 };
    own + in_flight * 3 / 2
}

/// What was tried, for people.
fn told_of() -> &'static str {
    if program_is_chosen() { "" } else { " (a program built for tests)" }
}

/// Says what was found, and writes it where it is kept when that is wanted.
#[track_caller]
fn tell(name: &str, text: &str) {
    figure(&format!("{name}: {text}"));
    if knob("WALPOST_TORTURE_WRITE", 0) == 1 {
        write_between(&format!("long {name}"), &format!("{text}\n"));
    }
}

/// Bytes as megabytes, for people.
fn mb(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10)
}
