//! Several streams in one process: each on a thread of its own.
//!
//! A stream that works through a backlog lets its thread sleep between two reads of the socket, so
//! that the server sends more at once; two streams on one thread would sleep through each other's
//! work. They share nothing but the configuration and the signal to drain. One that fails, waits or
//! is halted does so alone.

use std::future::Future;
use std::thread;

use tokio::sync::{mpsc, watch};

use crate::config::Config;
use crate::config::env::Environment;
use crate::metrics::Metrics;
use crate::status::Status;
use crate::supervisor::{Ended, KnownTopics, Supervisor};

/// One stream: what it is told, and where it tells how it goes.
pub(super) type Stream = (Config, (Status, Metrics));

/// How a stream reads its configuration again.
pub(super) fn loader(
    environment: Environment,
    (shards, index): (u32, u32),
) -> impl FnMut() -> Result<Config, String> {
    move || {
        let config = Config::load(&environment).map_err(|invalid| invalid.to_string())?.config;
        let stream = if config.shards == shards { config.stream(index) } else { None };
        stream.ok_or_else(|| format!("WALPOST_SHARDS was {shards} and is {} now", config.shards))
    }
}

/// Starts the streams; the answer is how each ended, once all have. Dropped, it leaves them running:
/// the process is then about to end.
///
/// # Errors
///
/// A thread or its runtime cannot be made.
pub(super) fn start(
    streams: Vec<Stream>,
    environment: &Environment,
    drained: &watch::Receiver<bool>,
) -> std::io::Result<impl Future<Output = Vec<Ended>> + use<>> {
    let count = streams.len();
    let (say, mut said) = mpsc::unbounded_channel();
    let topics: Vec<_> = streams.iter().map(|_| KnownTopics::default()).collect();
    for ((config, told), own) in streams.into_iter().zip(topics.clone()) {
        let index = config.shard_index();
        let load = loader(environment.clone(), (config.shards, index));
        let (say, drained, topics) = (say.clone(), drained.clone(), topics.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name(format!("shard-{index}"));
        thread.spawn(move || {
            let _inside = tracing::info_span!("shard", index).entered();
            let supervisor = {
                let _entered = runtime.enter();
                Supervisor::new(config, load, told).among(&topics, &own)
            };
            let ended = runtime.block_on(Box::pin(supervisor.run(drained)));
            // A thread that asks a broker that does not answer must not hold up the end.
            runtime.shutdown_background();
            if say.send(ended).is_err() {
                tracing::debug!("nobody waits for this stream any more");
            }
        })?;
    }
    Ok(async move {
        let mut ended = Vec::with_capacity(count);
        while ended.len() < count {
            match said.recv().await {
                Some(one) => ended.push(one),
                // Each stream says how it ended; a panic ends the process.
                None => break,
            }
        }
        ended
    })
}

/// How the process ended, by how its streams did: as badly as the worst.
pub(super) fn together(ended: &[Ended]) -> Ended {
    let unsettled = ended.iter().filter_map(|one| match one {
        Ended::Unsettled(events) => Some(*events),
        Ended::Drained | Ended::SnapshotInterrupted => None,
    });
    match unsettled.reduce(u64::saturating_add) {
        Some(events) => Ended::Unsettled(events),
        None if ended.contains(&Ended::SnapshotInterrupted) => Ended::SnapshotInterrupted,
        None => Ended::Drained,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_ends_as_badly_as_the_worst_of_its_streams() {
        use Ended::{Drained, SnapshotInterrupted, Unsettled};
        assert_eq!(together(&[Drained, Drained]), Drained);
        assert_eq!(together(&[Drained, SnapshotInterrupted]), SnapshotInterrupted);
        assert_eq!(together(&[Unsettled(2), SnapshotInterrupted, Unsettled(3)]), Unsettled(5));
    }
}
