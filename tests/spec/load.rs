//! Writers that insert while something else happens, and what must have come of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::servers::{Database, Kafka, Session, until};

/// A session that inserts small transactions until it is told to stop.
#[derive(Debug)]
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    writer: Option<JoinHandle<()>>,
}

impl Load {
    /// Inserts `rows` rows a transaction into `outbox`, spread over ten keys, with a serial number `n`
    /// in the payload that grows with each row.
    pub(crate) fn start(database: &Database, rows: u32, pause: Duration) -> Self {
        let (url, stop) = (database.url().to_owned(), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let writer = std::thread::spawn(move || {
            let session = Session::open(&url);
            let mut n = 0;
            while !stopped.load(Ordering::Relaxed) {
                session.execute(&format!(
                    "insert into outbox (aggregatetype, aggregateid, type, payload)
                     select 'order', 'key-' || n % 10, 'Placed', jsonb_build_object('n', n)
                     from generate_series({n}, {n} + {rows} - 1) as n"
                ));
                n += rows;
                std::thread::sleep(pause);
            }
        });
        Self { stop, writer: Some(writer) }
    }

    /// Stops the writer; panics if it failed.
    #[track_caller]
    pub(crate) fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.writer.take().unwrap().join().unwrap();
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// What came of a load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrived {
    /// Rows of the table.
    pub(crate) rows: usize,
    /// Records beyond one for each row.
    pub(crate) repeats: usize,
}

/// Waits until each row of `outbox` has come to `<database>.order`, and panics unless the first
/// deliveries of each key are in the order of commits.
#[track_caller]
pub(crate) fn check_arrived(database: &Database, kafka: &Kafka) -> Arrived {
    let ids = database.query("select id, payload->>'n', aggregateid from outbox");
    let ids: HashMap<String, (u64, String)> = ids
        .into_iter()
        .map(|row| {
            let [id, n, key] = row.try_into().unwrap();
            (id.unwrap(), (n.unwrap().parse().unwrap(), key.unwrap()))
        })
        .collect();
    let topic = format!("{}.order", database.name());
    let records = until(&format!("all {} rows in {topic}", ids.len()), || {
        let records = kafka.records(&topic);
        let mut distinct: Vec<_> = records.iter().map(|record| record.header("ce_id")).collect();
        distinct.sort_unstable();
        distinct.dedup();
        (distinct.len() >= ids.len()).then_some(records)
    });
    let mut seen = std::collections::HashSet::new();
    let mut last: HashMap<&str, u64> = HashMap::new();
    for record in &records {
        let id = record.header("ce_id").unwrap();
        let Some((n, key)) = ids.get(id) else { panic!("no row has the id of {record:?}") };
        assert_eq!(record.key_text(), key);
        if seen.insert(id) {
            let before = last.insert(key, *n);
            assert!(before.is_none_or(|before| before < *n), "{key}: {n} after {before:?}");
        }
    }
    Arrived { rows: ids.len(), repeats: records.len() - seen.len() }
}
