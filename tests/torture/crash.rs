//! Goal: walpost may die between any two steps. Nothing is lost, nothing comes out of order, nothing
//! comes that was not committed; in exactly-once nothing comes twice, in at-least-once only what the
//! stored checkpoint did not cover.
//!
//! Method: each point of `src/crash.rs`, the first, second and thousandth time that it is passed, in
//! both ways of delivery. walpost is started anew after its death, and all that was committed is held
//! against all that is in Kafka. A point that is not reached fails, unless the table says why.
//!
//! `WALPOST_TORTURE=full` tries all of them, otherwise a handful; `WALPOST_TORTURE=slot_taken` those
//! of one point.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Duration;

use walpost::crash::Point;

use self::table::{Case, During, cases};
use crate::oracle::{Repeats, Workload, knob, seed};
use crate::page::write_between;
use crate::scene::{BadRows, Mode, Scene};
use crate::servers::walpost::Walpost;
use crate::servers::{Database, Kafka, Postgres, figure, within};
use crate::wish;

mod table;

/// How long a point may take to be reached: the thousandth checkpoint comes after 100 seconds.
const REACH: Duration = Duration::from_secs(400);

/// Tried at once: most of the time of one is waiting.
const SIDE_BY_SIDE: usize = 4;

/// Rows in the table before a first start.
const ROWS: u64 = 1_500;

#[test]
fn walpost_may_die_at_any_point() {
    let chosen = chosen();
    let count = chosen.len();
    let queue = Mutex::new(chosen.into_iter().rev().collect::<Vec<_>>());
    let seen = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                while let Some(case) = next(&queue) {
                    let result = catch_unwind(AssertUnwindSafe(|| die(case)));
                    let result = result.map_err(|panic| message(panic.as_ref()));
                    let said = result
                        .as_ref()
                        .map_or_else(|error| format!("FAILED: {error}"), |it| it.clone());
                    figure(&format!("{}: {said}", name(case)));
                    seen.lock().unwrap().push((case, result));
                }
            });
        }
    });
    let seen = seen.into_inner().unwrap();
    let failed: Vec<_> = seen.iter().filter(|(_, result)| result.is_err()).collect();
    let mut by_mode: BTreeMap<&str, usize> = BTreeMap::new();
    seen.iter().for_each(|(case, _)| *by_mode.entry(case.mode.name()).or_default() += 1);
    figure(&format!("crash points: {count} deaths {by_mode:?}, {} failed", failed.len()));
    assert!(failed.is_empty(), "{failed:?}");
    if wish() == "full" && knob("WALPOST_TORTURE_WRITE", 0) == 1 {
        write_between("crash-points", &table_of(seen.iter().map(|(case, _)| *case)));
    }
}

/// Which deaths walpost survived, for a page.
fn table_of(cases: impl Iterator<Item = Case>) -> String {
    let mut hits: BTreeMap<&str, [Vec<u64>; 2]> = BTreeMap::new();
    let mut count = 0;
    for case in cases {
        let [at_least_once, exactly_once] = hits.entry(case.point.name()).or_default();
        let mode = if case.mode == Mode::AtLeastOnce { at_least_once } else { exactly_once };
        mode.push(case.hit);
        count += 1;
    }
    let mut text = format!(
        "{count} deaths, at the first, second or thousandth time that a point was passed; after none \
         was a row lost, out of order, or repeated without need.\n\n\
         | point | at-least-once | exactly-once |\n| --- | --- | --- |\n"
    );
    for (point, mut modes) in hits {
        modes.iter_mut().for_each(|hits| hits.sort_unstable());
        let [at_least_once, exactly_once] = modes.map(|hits| {
            let hits: Vec<_> = hits.iter().map(u64::to_string).collect();
            if hits.is_empty() { "—".to_owned() } else { hits.join(", ") }
        });
        writeln!(text, "| `{point}` | {at_least_once} | {exactly_once} |").unwrap();
    }
    text
}

fn next(queue: &Mutex<Vec<Case>>) -> Option<Case> {
    queue.lock().unwrap().pop()
}

fn name(case: Case) -> String {
    format!("{}:{} {}", case.point.name(), case.hit, case.mode.name())
}

/// What a panic said.
pub(crate) fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}

/// What `WALPOST_TORTURE` asks for.
fn chosen() -> Vec<Case> {
    let wish = wish();
    let handful = |case: &Case| {
        use Mode::{AtLeastOnce, ExactlyOnce};
        let one = [
            (Point::SlotCreated, 1, AtLeastOnce),
            (Point::SnapshotConfirmed, 1, ExactlyOnce),
            (Point::ClaimWritten, 2, AtLeastOnce),
            (Point::AfterEnqueue, 1_000, ExactlyOnce),
            (Point::CheckpointEnqueued, 2, AtLeastOnce),
            (Point::BeforeCommit, 2, ExactlyOnce),
            (Point::DeadLetterEnqueued, 2, AtLeastOnce),
            (Point::Drained, 1, AtLeastOnce),
        ];
        one.contains(&(case.point, case.hit, case.mode))
    };
    let wanted = |case: &Case| match wish.as_str() {
        "" => handful(case),
        "full" => true,
        wish => wish.split(',').any(|part| name(*case).contains(part)),
    };
    cases().into_iter().filter(wanted).collect()
}

/// One death, and what comes after it.
fn die(case: Case) -> String {
    let kafka = Kafka::shared();
    let database = Postgres::newest().database("crash");
    match case.during {
        During::FirstStart => first_start(case, database, kafka),
        During::Stream | During::Generations | During::BadRows | During::Stop => {
            stream(case, database, kafka)
        }
    }
}

fn first_start(case: Case, database: Database, kafka: &Kafka) -> String {
    let seed = seed();
    let mut scene = Scene::new(database, kafka, case.mode, Repeats::AmongNewer);
    // The oracle's own slot reads it; a first start makes one of its own.
    let settings = scene.settings.clone().env("WALPOST_PUBLICATION", "walpost_own");
    Workload::fill(&scene.database, seed, ROWS);
    let workload = Workload::start_gentle(&scene.database, seed);
    let dying = settings.clone().env("WALPOST_CRASH_AT", at(case)).start();
    wait_for_death(case, dying, |_| {});
    scene.look();
    let mut walpost = settings.start();
    walpost.wait_for_state("streaming");
    let begun = scene.database.value("select clock_timestamp()");
    std::thread::sleep(Duration::from_secs(1));
    scene.conclude(workload, walpost);
    if case.mode == Mode::ExactlyOnce {
        scene.repeated_only_before(&begun);
    }
    let again = scene.deliveries.all().len() - scene.deliveries.different();
    format!("{} rows, {again} of them repeated", scene.deliveries.different())
}

fn stream(case: Case, database: Database, kafka: &Kafka) -> String {
    let repeats = match case.during {
        During::Generations => Repeats::WithinPeriods,
        During::Stream | During::BadRows | During::Stop | During::FirstStart => {
            Repeats::BetweenPeriods
        }
    };
    let mut scene = Scene::new(database, kafka, case.mode, case.mode.allows(repeats));
    let mut bad_rows = None;
    if case.during == During::BadRows {
        scene.settings = BadRows::prepare(&scene.database, &scene.settings);
        bad_rows = Some(BadRows::start(&scene.database));
    }
    scene.begin();
    let workload = Workload::start_gentle(&scene.database, seed());
    let dying = scene.settings.clone().env("WALPOST_CRASH_AT", at(case)).start();
    let database = &scene.database;
    let mut asked = false;
    wait_for_death(case, dying, |walpost| match case.during {
        During::Generations => end_walsender(database),
        During::Stop if !asked && is_streaming(walpost) => {
            std::thread::sleep(Duration::from_millis(500));
            walpost.terminate();
            asked = true;
        }
        During::Stop | During::Stream | During::BadRows | During::FirstStart => {}
    });
    let death = scene.look();
    let mut walpost = scene.settings.start();
    walpost.wait_for_state("streaming");
    if let Some(bad_rows) = bad_rows {
        bad_rows.conclude(&scene.database, kafka, case.mode);
    }
    scene.conclude(workload, walpost);
    let again = scene.judge(&death);
    if case.during == During::Stop && case.point != Point::DrainBegun {
        assert_eq!(again, 0, "a stop that was over repeated rows");
    }
    format!("{} rows, {again} of them repeated", scene.deliveries.different())
}

fn at(case: Case) -> String {
    format!("{}:{}", case.point.name(), case.hit)
}

/// Waits until the process has died at its point, and not of anything else.
#[track_caller]
fn wait_for_death(case: Case, mut walpost: Walpost, mut meanwhile: impl FnMut(&Walpost)) {
    let died = within(REACH, || {
        if !walpost.is_running() {
            return Some(());
        }
        meanwhile(&walpost);
        std::thread::sleep(Duration::from_millis(100));
        None
    });
    let said = walpost.log();
    assert!(died.is_some(), "{} is not reached within {REACH:?}; walpost said:\n{said}", at(case));
    let line = format!("crash point {} is reached", case.point.name());
    walpost.wait_for_line(&line);
}

fn is_streaming(walpost: &Walpost) -> bool {
    walpost.try_get("/status.json").is_some_and(|it| it.json()["state"] == "streaming")
}

/// The server ends the replication connection, as an operator or a time-out would.
fn end_walsender(database: &Database) {
    database.query(&format!(
        "select pg_terminate_backend(active_pid) from pg_replication_slots
         where slot_name = '{}' and active",
        database.name()
    ));
}

#[test]
fn each_exception_of_the_table_says_why() {
    use self::table::{Passed, trial};
    for point in Point::ALL.iter().copied() {
        let trial = trial(point);
        let why = match trial.passed {
            Passed::Often => "often",
            Passed::Rarely(why) | Passed::Once(why) => why,
        };
        assert!(!why.is_empty() && trial.only.is_none_or(|(_, why)| !why.is_empty()), "{point:?}");
    }
    // The names are what a person types.
    let mut names: Vec<_> = Point::ALL.iter().map(|point| point.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Point::ALL.len());
}
