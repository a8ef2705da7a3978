//! The sending, at a rate, with its progress, until it is done or somebody stops it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use std::io::IsTerminal as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use super::plan::{Plan, encoder};
use super::sent::{HEADER, Sent};
use super::source::Source;
use super::{Asked, event_identity};
use crate::cli::command::{Stopped, refused};
use crate::cli::output;
use crate::cli::printed::seconds;
use crate::cli::sender::{Record, Sender};
use crate::config::Config;
use crate::error::Failure;
use crate::kafka::producer::TOPIC_LIMIT;
use crate::outbox::row::RowScratch;
use crate::pipeline::encode;

/// How often the progress is shown on a terminal.
const SHOWN: Duration = Duration::from_millis(500);

/// And where standard error is not a terminal.
const LOGGED: Duration = Duration::from_secs(10);

/// Sends what the plan has counted, in its order; returns how many events Kafka has confirmed.
pub(super) async fn send(
    config: &Config,
    source: &Source<'_>,
    asked: &Asked,
    (plan, mut sent): (&Plan, Sent),
) -> Result<u64, Stopped> {
    let Some(run) = asked.run.as_ref() else { return Ok(0) };
    let mut sender = Sender::connect(config).await?;
    // All of them before the first event, so that nothing is sent when one is missing.
    for topic in plan.topics.keys() {
        if sender.topic(config, topic, TOPIC_LIMIT).await?.is_none() {
            return Err(refused(
                format!(
                    "topic {topic} does not exist, and the brokers do not make it; nothing was sent"
                ),
                "create it, or set WALPOST_TOPIC_PARTITIONS",
            ));
        }
    }
    let mut encoder = encoder(config)?;
    let mut scratch = RowScratch::new();
    let mut way = Way::new(plan.total().events, asked.rate)?;
    for table in 0..source.tables() {
        let Some(mut reading) = source.read(table).await? else { continue };
        loop {
            let piece = reading.next().await?;
            if piece.is_empty() {
                break;
            }
            for row in &piece {
                let row = scratch.copy_of(row.iter().map(Option::as_deref));
                let mapping = &reading.present.mapping;
                let encoded = encode(&mut encoder, mapping, &row, asked.time).await?;
                // Bad rows were counted by the plan.
                let Ok(event) = encoded else { continue };
                if sent.take(event_identity(&event)) {
                    continue;
                }
                way.wait(&mut sender).await?;
                let name = asked.to_topic.as_deref().unwrap_or(event.topic);
                let Some(topic) = sender.topic(config, name, TOPIC_LIMIT).await? else {
                    let message = format!("topic {name} is gone");
                    return Err(Failure::again("topic_missing", message).into());
                };
                let own = (HEADER, run.as_str().as_bytes());
                let headers: Vec<_> = event.headers.iter().chain([own]).collect();
                let record = Record { key: event.key, value: event.value, headers: &headers };
                sender.send(topic, &record).await.map_err(Failure::from)?;
                way.sent += 1;
                way.show(&sender);
            }
        }
    }
    sender.settle().await.map_err(Failure::from)?;
    way.end(&sender);
    Ok(sender.confirmed())
}

/// How far it is, and whether it may go on.
struct Way {
    total: u64,
    sent: u64,
    rate: Option<u32>,
    began: Instant,
    shown: Instant,
    on_terminal: bool,
    signals: Arc<AtomicU8>,
}

impl Way {
    fn new(total: u64, rate: Option<u32>) -> Result<Self, Stopped> {
        let signals = Arc::new(AtomicU8::new(0));
        for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
            let (signals, mut stream) = (Arc::clone(&signals), signal(kind)?);
            tokio::spawn(async move {
                while stream.recv().await.is_some() {
                    signals.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let on_terminal = std::io::stderr().is_terminal();
        let began = Instant::now();
        Ok(Self { total, sent: 0, rate, began, shown: began, on_terminal, signals })
    }

    /// Waits for the turn of the next event.
    async fn wait(&mut self, sender: &mut Sender) -> Result<(), Stopped> {
        let turn = self.rate.map(|rate| {
            let nanos = u128::from(self.sent) * 1_000_000_000 / u128::from(rate);
            self.began + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
        });
        loop {
            if self.signals.load(Ordering::Relaxed) > 0 {
                return self.stop(sender).await;
            }
            self.show(sender);
            let Some(turn) = turn.filter(|turn| *turn > Instant::now()) else { return Ok(()) };
            let soon = Instant::now() + SHOWN;
            sender.wait_until(turn.min(soon)).await.map_err(Failure::from)?;
        }
    }

    /// Ends in order: what is under way is waited for, unless there is a second signal.
    async fn stop(&self, sender: &mut Sender) -> Result<(), Stopped> {
        let signals = Arc::clone(&self.signals);
        let second = async move {
            while signals.load(Ordering::Relaxed) < 2 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            settled = sender.settle() => settled.map_err(Failure::from)?,
            () = second => {}
        }
        self.end(sender);
        Err(Stopped::Failure(Failure::again(
            "stopped",
            format!(
                "stopped by a signal; kafka has confirmed {} of {} events",
                sender.confirmed(),
                self.total
            ),
        )))
    }

    fn show(&mut self, sender: &Sender) {
        let interval = if self.on_terminal { SHOWN } else { LOGGED };
        if self.shown.elapsed() < interval {
            return;
        }
        self.shown = Instant::now();
        let text = self.text(sender.confirmed());
        if self.on_terminal { output::over(&text) } else { output::error(&text) }
    }

    fn end(&self, sender: &Sender) {
        if self.on_terminal {
            output::over(&format!("{}\n", self.text(sender.confirmed())));
        }
    }

    fn text(&self, confirmed: u64) -> String {
        let percent = (confirmed * 100).checked_div(self.total).unwrap_or(100);
        let millis = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = confirmed.saturating_mul(1_000) / millis;
        let left = self.total.saturating_sub(confirmed);
        let left = left.saturating_mul(millis).checked_div(confirmed.saturating_mul(1_000));
        let left = left.map_or_else(String::new, |left| format!(", {} left", seconds(left)));
        format!("{confirmed} of {} events, {percent} %, {rate} a second{left}", self.total)
    }
}
