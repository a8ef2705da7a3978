//! Writers with several connections and many habits.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::super::servers::{Database, Session};
use super::Random;

/// Keys that every writer writes to: they wait for each other, and one partition gets most rows.
const HOT_KEYS: u64 = 3;

/// Keys of each writer alone.
const COLD_KEYS: u64 = 150;

/// How one writer writes.
#[derive(Clone, Debug)]
struct Habit {
    /// Rows of a transaction.
    rows: RangeInclusive<u64>,
    /// Pause between transactions, milliseconds.
    pause: RangeInclusive<u64>,
}

/// Two writers of small transactions, one of medium ones, one of transactions of 5,000 rows: they
/// take long enough to be relayed that a kill meets one half-way.
fn habits() -> [Habit; 4] {
    [
        Habit { rows: 1..=1, pause: 2..=20 },
        Habit { rows: 1..=50, pause: 20..=80 },
        Habit { rows: 50..=1_000, pause: 500..=1_500 },
        Habit { rows: 5_000..=5_000, pause: 300..=900 },
    ]
}

/// Running writers. Dropping it stops them.
#[derive(Debug)]
pub(crate) struct Workload {
    shared: Arc<Shared>,
    writers: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    committed: AtomicU64,
    undone: AtomicU64,
    transactions: AtomicU64,
    failures: AtomicU64,
}

/// What was written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    /// Transactions that are known to be committed.
    pub(crate) transactions: u64,
    /// Rows of those.
    pub(crate) rows: u64,
    /// Rows that were rolled back, alone or with their transaction.
    pub(crate) undone: u64,
    /// Transactions that ended with an error, as when the server stopped: committed or not, the
    /// table knows.
    pub(crate) failures: u64,
}

impl Workload {
    /// The table with the counter of each key.
    #[track_caller]
    pub(crate) fn create_tables(database: &Database) {
        let hot = format!("select 'hot-' || n from generate_series(0, {HOT_KEYS} - 1) n");
        let cold = format!(
            "select 'cold-' || w || '-' || n
             from generate_series(0, {}) w, generate_series(0, {COLD_KEYS} - 1) n",
            habits().len() - 1
        );
        database.execute(&format!(
            "create table counter (key text primary key, n bigint not null) with (fillfactor = 50);
             insert into counter select key, 0 from ({hot} union all {cold}) keys (key)"
        ));
    }

    /// Starts the writers.
    pub(crate) fn start(database: &Database, seed: u64) -> Self {
        Self::start_some(database, seed, habits().len())
    }

    /// Starts the writers, the last one with transactions four times as large and as rare: on a busy
    /// machine one of 5,000 rows may be through between the test's look and its kill.
    pub(crate) fn start_to_be_killed(database: &Database, seed: u64) -> Self {
        let mut habits = habits();
        habits[3] = Habit { rows: 20_000..=20_000, pause: 1_200..=3_600 };
        Self::start_these(database, seed, (0..).zip(habits))
    }

    /// Starts only the two writers of small transactions: some hundred rows a second.
    #[cfg(feature = "crash-points")]
    pub(crate) fn start_gentle(database: &Database, seed: u64) -> Self {
        Self::start_some(database, seed, 2)
    }

    /// Starts all of them, with so long pauses that a busy machine keeps up for hours, and spends its
    /// time on faults.
    #[cfg(feature = "crash-points")]
    pub(crate) fn start_for_long(database: &Database, seed: u64) -> Self {
        let slow = |habit: Habit| {
            let times = if *habit.rows.end() > 50 { 30 } else { 4 };
            let pause = habit.pause.start() * times..=habit.pause.end() * times;
            Habit { pause, ..habit }
        };
        Self::start_these(database, seed, (0..).zip(habits().map(slow)))
    }

    /// Starts only the writer of transactions of 5,000 rows.
    #[cfg(feature = "crash-points")]
    pub(crate) fn start_large(database: &Database, seed: u64) -> Self {
        Self::start_these(database, seed, (0..).zip(habits()).skip(3))
    }

    fn start_some(database: &Database, seed: u64, count: usize) -> Self {
        Self::start_these(database, seed, (0..).zip(habits()).take(count))
    }

    fn start_these(
        database: &Database,
        seed: u64,
        habits: impl Iterator<Item = (u64, Habit)>,
    ) -> Self {
        let shared = Arc::<Shared>::default();
        let writers = habits.map(|(number, habit)| {
            let mut writer = Writer::new(database, (seed, number), habit, &shared);
            std::thread::spawn(move || writer.write())
        });
        let writers = writers.collect();
        Self { shared, writers }
    }

    /// Commits at least `rows` rows, and returns.
    #[cfg(feature = "crash-points")]
    #[track_caller]
    pub(crate) fn fill(database: &Database, seed: u64, rows: u64) {
        let habit = Habit { rows: 50..=300, pause: 0..=0 };
        let mut writer = Writer::new(database, (seed, 3), habit, &Arc::default());
        let session = database.session();
        let mut committed = 0;
        while committed < rows {
            committed += writer.transaction(&session).unwrap();
        }
    }

    /// Stops the writers after their present transactions.
    #[track_caller]
    pub(crate) fn stop(mut self) -> Written {
        self.shared.stop.store(true, Ordering::Relaxed);
        for writer in self.writers.drain(..) {
            writer.join().expect("a writer panicked; its message is above");
        }
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Written {
            transactions: read(&self.shared.transactions),
            rows: read(&self.shared.committed),
            undone: read(&self.shared.undone),
            failures: read(&self.shared.failures),
        }
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

/// The payload of the `number`th row of `key`, byte for byte as Postgres prints it.
pub(super) fn payload(key: &str, number: u64) -> String {
    // Mostly small, some of a few kilobytes.
    let length = if number.is_multiple_of(97) { 3_000 } else { number * 7 % 160 };
    let pad = "x".repeat(usize::try_from(length).unwrap());
    format!(r#"{{"key": "{key}", "pad": "{pad}", "seq": {number}}}"#)
}

struct Writer {
    number: u64,
    habit: Habit,
    url: String,
    random: Random,
    shared: Arc<Shared>,
}

/// A row to be written: key and number.
type Row = (String, u64);

/// One statement of many rows, one statement a row, or COPY.
#[derive(Clone, Copy, Debug)]
enum Way {
    Insert,
    Inserts,
    Copy,
}

impl Writer {
    fn new(
        database: &Database,
        (seed, number): (u64, u64),
        habit: Habit,
        shared: &Arc<Shared>,
    ) -> Self {
        Self {
            number,
            habit,
            url: database.url().to_owned(),
            random: Random::new(seed, number),
            shared: Arc::clone(shared),
        }
    }

    fn write(&mut self) {
        let mut session = None;
        while !self.shared.stop.load(Ordering::Relaxed) {
            let pause = self.random.between(*self.habit.pause.start(), *self.habit.pause.end());
            // Waits for a server that is being restarted.
            let open = session.get_or_insert_with(|| Session::open(&self.url));
            match self.transaction(open) {
                Ok(rows) if rows > 0 => {
                    self.shared.transactions.fetch_add(1, Ordering::Relaxed);
                    self.shared.committed.fetch_add(rows, Ordering::Relaxed);
                }
                Ok(_) => {}
                Err(error) => {
                    let stopped = error.code().is_none_or(|code| code.code().starts_with("57P"));
                    assert!(stopped, "a writer's mistake: {error:?}");
                    self.shared.failures.fetch_add(1, Ordering::Relaxed);
                    session = None;
                }
            }
            std::thread::sleep(Duration::from_millis(pause));
        }
    }

    /// One transaction; how many rows it committed.
    fn transaction(&mut self, session: &Session) -> Result<u64, tokio_postgres::Error> {
        let count = self.random.between(*self.habit.rows.start(), *self.habit.rows.end());
        session.try_query("begin")?;
        let (rows, counters) = self.rows(session, count)?;
        let way = match self.random.between(0, 2) {
            0 if count <= 200 => Way::Inserts,
            1 => Way::Copy,
            _ => Way::Insert,
        };
        let (first, second) = rows.split_at(rows.len() / 2);
        if self.random.chance(25) {
            // Rows that would be the next of their keys, but never happen.
            session.try_query("savepoint doomed")?;
            self.doomed(session, first, way)?;
            session.try_query("rollback to savepoint doomed")?;
        }
        put(session, first, way, payload)?;
        let kept = self.random.chance(25);
        if kept {
            session.try_query("savepoint kept")?;
        }
        put(session, second, way, payload)?;
        if kept {
            session.try_query("release savepoint kept")?;
        }
        if self.random.chance(15) {
            session.try_query("savepoint doomed")?;
            self.doomed(session, second, way)?;
            session.try_query("rollback to savepoint doomed")?;
        }
        let values: Vec<_> =
            counters.iter().map(|(key, number)| format!("('{key}', {number})")).collect();
        session.try_query(&format!(
            "update counter set n = new.n from (values {}) new (key, n) where counter.key = new.key",
            values.join(", ")
        ))?;
        if self.random.chance(8) {
            session.try_query("rollback")?;
            self.shared.undone.fetch_add(count, Ordering::Relaxed);
            return Ok(0);
        }
        session.try_query("commit")?;
        Ok(count)
    }

    /// Chooses keys, locks their counters, and numbers `count` rows on from them.
    ///
    /// All locks of a transaction are taken at once and in the order of the keys: no deadlock.
    fn rows(
        &mut self,
        session: &Session,
        count: u64,
    ) -> Result<(Vec<Row>, BTreeMap<String, u64>), tokio_postgres::Error> {
        let mut keys: Vec<String> = Vec::new();
        for _ in 0..(count / 8).clamp(1, COLD_KEYS) {
            keys.push(format!("cold-{}-{}", self.number, self.random.between(0, COLD_KEYS - 1)));
        }
        if self.random.chance(40) {
            keys.push(format!("hot-{}", self.random.between(0, HOT_KEYS - 1)));
        }
        let list: Vec<_> = keys.iter().map(|key| format!("'{key}'")).collect();
        let locked = session.try_query(&format!(
            "select key, n from counter where key in ({}) order by key for update",
            list.join(", ")
        ))?;
        let mut counters = BTreeMap::new();
        for row in locked {
            let [Some(key), Some(number)] = row.as_slice() else { panic!("{row:?}") };
            counters.insert(key.clone(), number.parse::<u64>().unwrap());
        }
        let mut rows = Vec::new();
        for _ in 0..count {
            let last = u64::try_from(keys.len() - 1).unwrap();
            let key = &keys[usize::try_from(self.random.between(0, last)).unwrap()];
            let number = counters.get_mut(key).unwrap();
            *number += 1;
            rows.push((key.clone(), *number));
        }
        Ok((rows, counters))
    }

    fn doomed(
        &self,
        session: &Session,
        rows: &[Row],
        way: Way,
    ) -> Result<(), tokio_postgres::Error> {
        self.shared.undone.fetch_add(u64::try_from(rows.len()).unwrap(), Ordering::Relaxed);
        put(session, rows, way, |key, number| {
            format!(r#"{{"key": "{key}", "pad": "rolled back", "seq": {number}}}"#)
        })
    }
}

fn put(
    session: &Session,
    rows: &[Row],
    way: Way,
    payload: impl Fn(&str, u64) -> String,
) -> Result<(), tokio_postgres::Error> {
    const COLUMNS: &str = "outbox (aggregatetype, aggregateid, type, payload)";
    if rows.is_empty() {
        return Ok(());
    }
    let kind = |key: &str| key.split('-').next().unwrap_or_default().to_owned();
    let value = |(key, number): &Row| {
        format!("('{}', '{key}', 'Counted', '{}')", kind(key), payload(key, *number))
    };
    let values = rows.iter().map(value);
    match way {
        Way::Insert => {
            let values = values.collect::<Vec<_>>().join(", ");
            session.try_query(&format!("insert into {COLUMNS} values {values}"))?;
        }
        Way::Inserts => {
            let statements = values.map(|value| format!("insert into {COLUMNS} values {value}; "));
            session.try_query(&statements.collect::<String>())?;
        }
        Way::Copy => {
            let mut text = String::new();
            for (key, number) in rows {
                let payload = payload(key, *number);
                writeln!(text, "{}\t{key}\tCounted\t{payload}", kind(key)).unwrap();
            }
            // The server reads the file itself: for the log it is the same COPY as from a client.
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            session.try_query(&format!("copy {COLUMNS} from '{}'", file.path().display()))?;
        }
    }
    Ok(())
}
