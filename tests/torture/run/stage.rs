//! The servers, the networks between, and one or two walposts.

use std::time::Duration;

use tokio::time::Instant;

use super::faults::{Kind, Network};
use crate::oracle::{Random, Repeats, Workload};
use crate::scene::{Mode, Scene, stop};
use crate::servers::walpost::Walpost;
use crate::servers::wire::{Protocol, Wire};
use crate::servers::{Database, Kafka, Postgres, Settings, figure, within};

/// How many rows have to come through between two faults.
const PROGRESS: usize = 25;

/// How long that may take: a broker that was killed or a slot whose holder is gone without a word
/// costs up to half a minute on a busy machine.
const LIMIT: Duration = Duration::from_secs(180);

/// How long the server waits for a word. Not shorter: a busy machine may not give walpost a
/// processor for seconds, and then it is right to give the slot up.
const WAL_SENDER_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a standby may take for the slot of one that is frozen; [`WAL_SENDER_TIMEOUT`] is part of it.
const TAKES_OVER_WITHIN: Duration = Duration::from_secs(60);

/// How long a message to lose may let wait for itself.
const MEETS_WITHIN: Duration = Duration::from_secs(10);

/// What was written and what came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Rows of the table.
    pub(super) rows: u64,
    /// Records beyond one for each row.
    pub(super) repeats: u64,
    /// Transactions known to be committed.
    pub(super) transactions: u64,
}

/// Everything that can break.
#[derive(Debug)]
pub(super) struct Stage {
    walpost: Option<Walpost>,
    settings: [Settings; 2],
    scene: Scene,
    workload: Option<Workload>,
    to_postgres: Wire,
    to_kafka: Wire,
    // Last, because all the others need them until their end.
    postgres: Postgres,
    kafka: Kafka,
}

impl Stage {
    #[track_caller]
    pub(super) fn new(mode: Mode, seed: u64) -> Self {
        let (kafka, to_kafka, address) =
            Kafka::start_behind(|port, broker| Wire::start_on(port, broker, Protocol::Kafka));
        let postgres = Postgres::start(18);
        let to_postgres = Wire::start(postgres.port(), Protocol::Bytes);
        let database = postgres.database("torture");
        let near = postgres.port().to_string();
        let far = database.url().replace(&near, &to_postgres.port().to_string());
        let mut scene = Scene::new(database, &kafka, mode, mode.allows(Repeats::AmongNewer));
        scene.settings = scene
            .settings
            .clone()
            .env("DATABASE_URL", far)
            .env("KAFKA_BOOTSTRAP_SERVERS", address)
            .env("WALPOST_WAL_SENDER_TIMEOUT", format!("{}s", WAL_SENDER_TIMEOUT.as_secs()));
        scene.begin();
        let settings = [scene.settings.clone(), scene.settings.second()];
        let walpost = Some(settings[0].start());
        let workload = Some(Workload::start_for_long(&scene.database, seed));
        let mut stage =
            Self { walpost, settings, scene, workload, to_postgres, to_kafka, postgres, kafka };
        stage.wait_for_progress(Kind::WalpostStopped);
        stage
    }

    /// Lets it go wrong, and puts right what does not come right by itself. Whether it met anything.
    #[track_caller]
    pub(super) fn strike(&mut self, kind: Kind, random: &mut Random) -> bool {
        // Mostly short: a fault that is over soon leaves more half done than one that lasts.
        let longest = if random.chance(15) { 8_000 } else { 2_000 };
        let time = Duration::from_millis(random.between(200, longest));
        match kind {
            Kind::WalpostKilled => {
                self.walpost().kill();
                self.start();
            }
            Kind::WalpostStopped => {
                stop(self.walpost.take().expect("a walpost runs"));
                self.start();
            }
            Kind::WalpostFrozen => {
                self.walpost().freeze();
                // Sometimes for longer than the server waits.
                let longer = if random.chance(20) { WAL_SENDER_TIMEOUT + time } else { time };
                std::thread::sleep(longer);
                self.walpost().thaw();
            }
            Kind::HandedOver => {
                let second = self.standby();
                self.walpost().kill();
                wait_until_it_leads(&second, &self.scene.database);
                self.replace(second);
            }
            Kind::ZombieWakes => {
                let second = self.standby();
                self.walpost().freeze();
                wait_until_it_leads(&second, &self.scene.database);
                std::thread::sleep(time / 4);
                let mut first = self.walpost.take().expect("a walpost runs");
                first.thaw();
                first.wait_for_state("standby");
                drop(first);
                self.replace(second);
            }
            Kind::PostgresCrashed => self.restart_postgres(Postgres::stop_immediate),
            Kind::PostgresKilled => self.restart_postgres(Postgres::kill),
            Kind::PostgresRestarted => self.restart_postgres(Postgres::stop_fast),
            Kind::PostgresFrozen => {
                self.postgres.freeze();
                std::thread::sleep(time);
                self.postgres.thaw();
            }
            Kind::WalsenderKilled => {
                let ended = self.scene.database.query(&format!(
                    "select pg_terminate_backend(active_pid) from pg_replication_slots
                     where slot_name = '{}' and active",
                    self.scene.database.name()
                ));
                return !ended.is_empty();
            }
            Kind::KafkaKilled => {
                self.kafka.kill();
                self.kafka.start_again();
            }
            Kind::KafkaFrozen => {
                self.kafka.freeze();
                std::thread::sleep(time);
                self.kafka.thaw();
                figure(&format!("leaders after {:.1?}", self.kafka.wait_for_leaders()));
            }
            Kind::ToPostgres(network) => return network_fault(&self.to_postgres, network, time),
            Kind::ToKafka(network) => return network_fault(&self.to_kafka, network, time),
        }
        true
    }

    #[track_caller]
    fn restart_postgres(&self, stop: fn(&Postgres)) {
        stop(&self.postgres);
        self.postgres.start_again();
    }

    fn walpost(&mut self) -> &mut Walpost {
        self.walpost.as_mut().expect("a walpost runs")
    }

    #[track_caller]
    fn start(&mut self) {
        self.walpost = Some(self.settings[0].start());
    }

    /// A second instance, which waits for the first one.
    #[track_caller]
    fn standby(&mut self) -> Walpost {
        wait_until_it_leads(self.walpost.as_ref().expect("a walpost runs"), &self.scene.database);
        let mut second = self.settings[1].start();
        second.wait_for_state("standby");
        second
    }

    /// From now on the second one is the first one.
    fn replace(&mut self, second: Walpost) {
        self.walpost = Some(second);
        self.settings.swap(0, 1);
    }

    /// Waits until rows came through, and holds the slot against the checkpoint.
    #[track_caller]
    pub(super) fn wait_for_progress(&mut self, after: Kind) {
        let begin = Instant::now();
        let Self { scene, walpost, .. } = self;
        let walpost = walpost.as_mut().expect("a walpost runs");
        // What came before the fault does not count.
        scene.deliveries.read();
        let goal = scene.deliveries.different() + PROGRESS;
        let came = within(LIMIT, || {
            assert!(walpost.is_running(), "after {after:?}: walpost ended: {}", walpost.log());
            scene.deliveries.read();
            let enough = scene.deliveries.different() >= goal;
            if !enough {
                // Asking takes from walpost and the servers what they need for coming back.
                std::thread::sleep(Duration::from_millis(100));
            }
            enough.then_some(())
        });
        assert!(
            came.is_some(),
            "after {after:?}: no {PROGRESS} rows came within {:?}; walpost said:\n{}",
            begin.elapsed(),
            walpost.log()
        );
        scene.slot_and_checkpoint();
    }

    /// Everything that was committed has come, and walpost stops in order.
    #[track_caller]
    pub(super) fn conclude(mut self) -> Outcome {
        let workload = self.workload.take().expect("the workload runs");
        let walpost = self.walpost.take().expect("a walpost runs");
        let written = workload.stop();
        self.scene.deliveries.finish(&self.scene.database, LIMIT);
        stop(walpost);
        self.scene.deliveries.read();
        self.scene.slot_and_checkpoint();
        let rows = self.scene.deliveries.different();
        let repeats = self.scene.deliveries.all().len() - rows;
        let [rows, repeats] = [rows, repeats].map(|count| u64::try_from(count).unwrap());
        Outcome { rows, repeats, transactions: written.transactions }
    }
}

/// Streaming, or backpressured.
#[track_caller]
fn wait_until_it_leads(walpost: &Walpost, database: &Database) {
    let status = || Some(walpost.try_get("/status.json")?.json());
    if within(TAKES_OVER_WITHIN, || (status()?["leader"] == true).then_some(())).is_some() {
        return;
    }
    // What is not seen now is never seen: the servers go away with the test.
    let slot = database.query(
        "select slot_name, active_pid, a.state, a.wait_event_type, a.wait_event, a.query, r.reply_time, now()
         from pg_replication_slots s left join pg_stat_activity a on a.pid = s.active_pid
         left join pg_stat_replication r on r.pid = s.active_pid",
    );
    panic!(
        "walpost does not hold the slot after {TAKES_OVER_WITHIN:?}; its status: {:?}; the slot: {slot:?}; \
         it said:\n{}",
        status(),
        walpost.log()
    );
}

fn network_fault(wire: &Wire, network: Network, time: Duration) -> bool {
    let before = wire.met();
    wire.strike(network.fault());
    if network.is_over_once_met() {
        within(MEETS_WITHIN, || (wire.met() > before).then_some(()));
    }
    std::thread::sleep(time);
    wire.heal();
    wire.met() > before
}
