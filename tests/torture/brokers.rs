//! Goal: with three brokers that hold each partition together, the loss of one of them costs walpost a
//! moment, the loss of two costs the time they are away, and neither costs a row, an order or a repeat
//! that the way of delivery does not allow.
//!
//! Method: three real brokers and a controller, `min.insync.replicas=2`, a workload with an oracle. In
//! turn a leader is killed, frozen and moved, two of three are down, all are restarted one by one. Rows
//! have to come while one is away; while two are away none may be confirmed, memory stays where it was
//! and the connection to Postgres lives.
//!
//! `make test` has a round of what is quick; `WALPOST_TORTURE_SECONDS` is for how long all of it goes on.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use tokio::time::Instant;

use crate::oracle::{Random, Repeats, Workload, knob, seed, topics};
use crate::page::write_between;
use crate::scene::{Mode, Scene, stop};
use crate::servers::cluster::{BROKERS, Cluster};
use crate::servers::walpost::Walpost;
use crate::servers::{Postgres, figure, until, within};

/// How many rows have to come after each.
const PROGRESS: usize = 100;

/// How long they may take to come.
const LIMIT: Duration = Duration::from_secs(180);

/// What an outage of writes may add to the most memory that walpost had before: the receive buffer,
/// and what is in flight (1 MiB here) with librdkafka's share of it.
const MEMORY: u64 = 32 * 1024 * 1024;

/// What happens to the brokers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    LeaderKilled,
    LeaderFrozen,
    LeadersMoved,
    TwoKilled,
    Rolled,
}

impl Event {
    /// Leaders are moved last: until then they are where they fled to.
    const ROUND: [Self; 5] =
        [Self::LeaderKilled, Self::LeaderFrozen, Self::TwoKilled, Self::Rolled, Self::LeadersMoved];

    /// As a table has it.
    fn words(self) -> &'static str {
        match self {
            Self::LeaderKilled => "a leader killed; rows come meanwhile",
            Self::LeaderFrozen => "a leader frozen; rows come meanwhile",
            Self::LeadersMoved => "leaders moved to the preferred brokers",
            Self::TwoKilled => "two of three killed; no row comes meanwhile",
            Self::Rolled => "all restarted in order, one by one; rows come meanwhile",
        }
    }
}

#[test]
fn with_three_brokers_no_loss_of_brokers_costs_a_row_in_at_least_once() {
    run(Mode::AtLeastOnce, &[Event::TwoKilled]);
}

#[test]
fn with_three_brokers_no_loss_of_brokers_costs_or_repeats_a_row_in_exactly_once() {
    run(Mode::ExactlyOnce, &[Event::LeaderKilled]);
}

#[track_caller]
fn run(mode: Mode, quick: &[Event]) {
    let seconds = knob("WALPOST_TORTURE_SECONDS", 0);
    let seed = seed();
    let mut random = Random::new(seed, 300);
    let mut stage = Stage::new(mode, seed);
    let mut counts: BTreeMap<Event, (u32, Duration)> = BTreeMap::new();
    let began = Instant::now();
    let mut round: Vec<Event> = quick.to_vec();
    loop {
        if seconds > 0 {
            round = Event::ROUND.to_vec();
        }
        for event in round.drain(..) {
            let struck = Instant::now();
            stage.meet(event, &mut random);
            let took = struck.elapsed();
            figure(&format!("{:5.0?} {}: {took:.1?}", began.elapsed(), event.words()));
            let (times, longest) = counts.entry(event).or_default();
            *times += 1;
            *longest = (*longest).max(took);
        }
        if began.elapsed().as_secs() >= seconds {
            break;
        }
    }
    let (rows, repeats) = stage.conclude();
    let mut text = format!(
        "`{}`, three brokers, seed {seed}: {rows} rows; none lost, none that was never committed, none \
         out of order, {repeats} repeated.\n\n| event | times | until all brokers were in step and rows \
         came, at most |\n| --- | --- | --- |\n",
        mode.name()
    );
    for (event, (times, longest)) in counts {
        writeln!(text, "| {} | {times} | {:.1} s |", event.words(), longest.as_secs_f64()).unwrap();
    }
    figure(&text);
    if knob("WALPOST_TORTURE_WRITE", 0) == 1 {
        write_between(&format!("brokers {}", mode.name()), &text);
    }
}

/// Everything that takes part.
#[derive(Debug)]
struct Stage {
    walpost: Walpost,
    workload: Workload,
    scene: Scene,
    // Last, because all the others need them until their end.
    cluster: Cluster,
}

impl Stage {
    #[track_caller]
    fn new(mode: Mode, seed: u64) -> Self {
        let cluster = Cluster::start();
        let database = Postgres::newest().database("brokers");
        let mut scene =
            Scene::new(database, cluster.any(), mode, mode.allows(Repeats::WithinPeriods));
        scene.settings = scene.settings.clone().env("WALPOST_MAX_IN_FLIGHT", "1MiB");
        scene.begin();
        cluster.wait_until_whole();
        let walpost = scene.settings.start();
        let workload = Workload::start_for_long(&scene.database, seed);
        let mut stage = Self { walpost, workload, scene, cluster };
        stage.wait_for_rows();
        stage
    }

    #[track_caller]
    fn meet(&mut self, event: Event, random: &mut Random) {
        let topics = topics(&self.scene.database);
        let leader = self.cluster.leader(&topics[usize::from(random.chance(50))]);
        match event {
            Event::LeaderKilled => {
                self.cluster.broker(leader).kill();
                self.wait_for_rows();
                self.cluster.broker(leader).start_again();
            }
            Event::LeaderFrozen => {
                self.cluster.broker(leader).freeze();
                self.wait_for_rows();
                self.cluster.broker(leader).thaw();
            }
            Event::LeadersMoved => self.cluster.elect_preferred(),
            Event::TwoKilled => self.two_killed(leader),
            Event::Rolled => {
                for number in 0..BROKERS {
                    self.cluster.broker(number).stop();
                    self.wait_for_rows();
                    self.cluster.broker(number).start_again();
                    // The next may only go when this one has all there is.
                    self.cluster.wait_until_whole();
                }
            }
        }
        self.wait_for_rows();
        self.cluster.wait_until_whole();
    }

    /// Kafka takes no write: nothing is lost, nothing grows, and the connection to Postgres stays.
    #[track_caller]
    fn two_killed(&mut self, survivor: usize) {
        let connection = self.connection();
        let memory = self.walpost.memory_peak();
        let others = || (0..BROKERS).filter(|number| *number != survivor);
        others().for_each(|number| self.cluster.broker(number).kill());
        // What was written before the survivor knew that it is alone is confirmed yet. A survivor does
        // not say where a partition ends that it has come to lead alone (`OFFSET_NOT_AVAILABLE`), so it
        // is the slot that is watched.
        let mut last = (None, Instant::now());
        until("the slot to stand still", || {
            let now = self.scene.flushed();
            if now != last.0 {
                last = (now, Instant::now());
            }
            (last.1.elapsed() >= Duration::from_secs(6)).then_some(())
        });
        assert_eq!(self.connection(), connection, "{}", self.walpost.log());
        let most = self.walpost.memory_peak();
        assert!(most <= memory + MEMORY, "memory grew from {memory} to {most} bytes");
        assert_eq!(self.walpost.get("/livez").status, 200);
        others().for_each(|number| self.cluster.broker(number).start_again());
    }

    /// The process of the server that serves walpost, and since when.
    #[track_caller]
    fn connection(&self) -> Vec<Vec<Option<String>>> {
        self.scene.database.query(&format!(
            "select active_pid, active_since from (
                 select active_pid, (select backend_start from pg_stat_activity where pid = active_pid)
                     as active_since
                 from pg_replication_slots where slot_name = '{}') slot",
            self.scene.database.name()
        ))
    }

    /// Waits until rows came through, and holds the slot against the checkpoint.
    #[track_caller]
    fn wait_for_rows(&mut self) {
        self.scene.deliveries.read();
        let goal = self.scene.deliveries.different() + PROGRESS;
        let came = within(LIMIT, || {
            assert!(self.walpost.is_running(), "walpost ended: {}", self.walpost.log());
            self.scene.deliveries.read();
            (self.scene.deliveries.different() >= goal).then_some(())
        });
        assert!(came.is_some(), "no rows within {LIMIT:?}; walpost said:\n{}", self.walpost.log());
        self.scene.slot_and_checkpoint();
    }

    /// Everything that was committed has come; how many rows, and how many repeats.
    #[track_caller]
    fn conclude(mut self) -> (usize, usize) {
        self.workload.stop();
        self.scene.deliveries.finish(&self.scene.database, LIMIT);
        stop(self.walpost);
        self.scene.deliveries.read();
        self.scene.slot_and_checkpoint();
        let rows = self.scene.deliveries.different();
        (rows, self.scene.deliveries.all().len() - rows)
    }
}
