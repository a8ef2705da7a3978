//! A database, a broker, a workload, and the verdict.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::oracle::{
    Checkpoint, Checkpoints, Commits, Deliveries, Repeats, Workload, lsn, prepare_without_slot,
};
use crate::servers::walpost::Walpost;
use crate::servers::{Database, Kafka, PATIENCE, Session, Settings, until, within};

/// How long the markers of a transaction that was committed may take.
const MARKERS: Duration = Duration::from_secs(10);

/// A way of delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    AtLeastOnce,
    ExactlyOnce,
}

impl Mode {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::AtLeastOnce, Self::ExactlyOnce];

    /// As in `WALPOST_DELIVERY`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AtLeastOnce => "at-least-once",
            Self::ExactlyOnce => "exactly-once",
        }
    }

    /// Everything that a run of the workload needs, and the settings of a walpost that relays it in
    /// this way, and makes its slot itself.
    #[track_caller]
    pub(crate) fn prepare(self, database: &Database, kafka: &Kafka) -> Settings {
        prepare_without_slot(database, kafka).env("WALPOST_DELIVERY", self.name())
    }

    /// What the oracle is to allow, where at-least-once allows `repeats`.
    pub(crate) fn allows(self, repeats: Repeats) -> Repeats {
        if self == Self::ExactlyOnce { Repeats::Never } else { repeats }
    }
}

/// What is seen right after walpost died.
#[derive(Clone, Debug)]
pub(crate) struct Death {
    /// The newest checkpoint in Kafka.
    pub(crate) checkpoint: Option<Checkpoint>,
    /// Records in the topics.
    pub(crate) published: usize,
}

/// Everything around one walpost.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) database: Database,
    pub(crate) settings: Settings,
    pub(crate) deliveries: Deliveries,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) mode: Mode,
}

impl Scene {
    /// Tables and topics, and a publication, but no slot.
    #[track_caller]
    pub(crate) fn new(database: Database, kafka: &Kafka, mode: Mode, repeats: Repeats) -> Self {
        let settings = mode.prepare(&database, kafka);
        let deliveries = Deliveries::new(&database, kafka, repeats);
        let checkpoints = Checkpoints::new(&database, kafka);
        Self { database, settings, deliveries, checkpoints, mode }
    }

    /// A first start to its end, which makes the slot.
    #[track_caller]
    pub(crate) fn begin(&self) {
        let mut walpost = self.settings.start();
        walpost.wait_for_state("streaming");
        stop(walpost);
    }

    /// What is there once the broker has worked off what a dead process left in its socket; and the
    /// slot may not be past the checkpoint.
    #[track_caller]
    pub(crate) fn look(&mut self) -> Death {
        let mut last = (-1, -1);
        until("Kafka to be quiet", || {
            let now = (self.deliveries.end(), self.checkpoints.end());
            let quiet = now == last;
            last = now;
            quiet.then_some(())
        });
        let checkpoint = self.slot_and_checkpoint();
        Death { checkpoint, published: self.deliveries.close_period() }
    }

    /// The newest checkpoint; the slot, read before it, may not be past it.
    ///
    /// A broker answers the request to commit when the decision is in its log of transactions, and
    /// only then writes the markers after which readers see the records (Kafka,
    /// `TransactionCoordinator.endTransaction`). So in exactly-once the record may come a moment
    /// later; that of a process that died before it asked never comes.
    #[track_caller]
    pub(crate) fn slot_and_checkpoint(&mut self) -> Option<Checkpoint> {
        let flushed = self.flushed();
        let is_passed = |checkpoint: &Checkpoint| {
            // Before the slot is made, the record of a first start has no place.
            let placed = checkpoint.resume_lsn > 0 && checkpoint.generation > 1;
            placed && flushed.is_some_and(|flushed| flushed > checkpoint.resume_lsn)
        };
        let mut checkpoint = self.checkpoints.newest();
        if self.mode == Mode::ExactlyOnce {
            within(MARKERS, || {
                let passed = checkpoint.as_ref().is_some_and(is_passed);
                if passed {
                    checkpoint = self.checkpoints.newest();
                }
                (!passed).then_some(())
            });
        }
        assert!(
            !checkpoint.as_ref().is_some_and(is_passed),
            "the slot is at {flushed:X?}, past the checkpoint: {checkpoint:X?}"
        );
        checkpoint
    }

    /// Where the slot stands, if there is one.
    #[track_caller]
    pub(crate) fn flushed(&self) -> Option<u64> {
        let rows = self.database.query(&format!(
            "select confirmed_flush_lsn from pg_replication_slots where slot_name = '{}'",
            self.database.name()
        ));
        rows.first().and_then(|row| row[0].as_deref().map(lsn))
    }

    /// Everything that was written has come, and walpost stops in order.
    #[track_caller]
    pub(crate) fn conclude(&mut self, workload: Workload, walpost: Walpost) {
        workload.stop();
        self.deliveries.finish(&self.database, PATIENCE * 2);
        stop(walpost);
        self.deliveries.read();
        if self.mode == Mode::ExactlyOnce {
            self.slot_and_checkpoint();
        }
    }

    /// Rows that the checkpoint of a death covers were in Kafka by then, and do not come again.
    /// Returns how many rows came again.
    #[track_caller]
    pub(crate) fn judge(&self, death: &Death) -> usize {
        let commits = Commits::read(&self.database);
        let covers = |id| {
            let place = commits.place(id);
            death.checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.covers(place))
        };
        let all = self.deliveries.all();
        let late = all[death.published..].iter().filter(|it| it.first && covers(it.id)).count();
        assert_eq!(late, 0, "rows that the checkpoint covers were not in Kafka: {death:X?}");
        let again: Vec<_> = all[death.published..].iter().filter(|it| !it.first).collect();
        let needless = again.iter().filter(|it| covers(it.id)).count();
        assert_eq!(needless, 0, "repeats that the checkpoint covers: {death:X?}");
        again.len()
    }

    /// Rows that came more than once were committed before `moment`, a time of the server.
    #[track_caller]
    pub(crate) fn repeated_only_before(&self, moment: &str) {
        let again: HashSet<String> = self
            .deliveries
            .all()
            .iter()
            .filter(|it| !it.first)
            .map(|it| format!("{:032x}", it.id))
            .collect();
        let young = self.database.query(&format!(
            "select replace(id::text, '-', '') from outbox where created_at > '{moment}'"
        ));
        let wrong: Vec<_> =
            young.iter().filter(|row| again.contains(row[0].as_deref().unwrap())).collect();
        assert!(wrong.is_empty(), "{} rows of the stream came twice: {wrong:?}", wrong.len());
    }
}

/// SIGTERM, and the end that promises that nothing will be repeated.
#[track_caller]
pub(crate) fn stop(mut walpost: Walpost) {
    walpost.terminate();
    assert_eq!(walpost.wait(), 0, "{}", walpost.log());
}

/// A table whose rows are all bad, and a writer of them.
#[derive(Debug)]
pub(crate) struct BadRows {
    stop: Arc<AtomicBool>,
    writer: JoinHandle<()>,
}

impl BadRows {
    /// Makes the table and publishes it; returns the settings under which it is followed.
    #[track_caller]
    pub(crate) fn prepare(database: &Database, settings: &Settings) -> Settings {
        database.execute(
            "create table outbox_bad (like outbox including all);
             alter publication walpost add table outbox_bad",
        );
        settings.clone().env("WALPOST_TABLE", "public.outbox,public.outbox_bad")
    }

    /// Ten bad rows a transaction: the type is empty.
    pub(crate) fn start(database: &Database) -> Self {
        let (url, stop) = (database.url().to_owned(), Arc::<AtomicBool>::default());
        let stopped = Arc::clone(&stop);
        let writer = std::thread::spawn(move || {
            let session = Session::open(&url);
            while !stopped.load(Ordering::Relaxed) {
                session.execute(
                    "insert into outbox_bad (aggregatetype, aggregateid, type, payload)
                     select 'cold', 'bad-' || n, '', '{}' from generate_series(1, 10) n",
                );
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Self { stop, writer }
    }

    /// Stops the writer, and waits until each of its rows has a dead letter: one, in exactly-once.
    #[track_caller]
    pub(crate) fn conclude(self, database: &Database, kafka: &Kafka, mode: Mode) {
        self.stop.store(true, Ordering::Relaxed);
        self.writer.join().unwrap();
        let rows = database.query("select id from outbox_bad");
        let topic = format!("{}.dlq", database.name());
        until("a dead letter of each bad row", || {
            let mut letters: HashMap<String, usize> = HashMap::new();
            for record in kafka.committed_records(&topic) {
                let id = record.header("walpost-row-id").unwrap().to_owned();
                *letters.entry(id).or_default() += 1;
            }
            if mode == Mode::ExactlyOnce {
                assert!(letters.values().all(|count| *count == 1), "a dead letter came twice");
            }
            rows.iter().all(|row| letters.contains_key(row[0].as_deref().unwrap())).then_some(())
        });
    }
}
