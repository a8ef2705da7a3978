//! The sending of letters and the writing of their markers, window after window.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::message::Message as _;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::verdict::{Rules, Verdict};
use crate::cli::command::{Stopped, refused};
use crate::cli::dlq::letters::{Done, Topic, is_before};
use crate::cli::output;
use crate::cli::sender::{Number, Record, Sender, Trouble};
use crate::config::Config;
use crate::error::Failure;
use crate::kafka::dead_letter::{
    ATTEMPTED, ATTEMPTS, CONNECTOR, Letter, Place, RESOLUTION, RESOLVES,
};
use crate::kafka::producer::TOPIC_LIMIT;
use crate::kafka::reading::Extents;

/// Letters that are sent before their markers are written: what a kill between the two repeats.
const WINDOW: usize = 100;

/// And their bytes, unless one letter alone has more.
const WINDOW_BYTES: usize = 8 << 20;

/// How long a topic may take to appear. Most letters for a topic that is still missing fail fast.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often the progress is told.
const TOLD: Duration = Duration::from_secs(10);

/// What became of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// Letters that Kafka has confirmed in their topic.
    pub(super) sent: u64,
    /// Letters that are marked.
    pub(super) marked: u64,
    /// Letters that could not be sent, and why.
    pub(super) refused: Vec<(Place, String)>,
}

/// A letter on its way.
struct Going {
    letter: Letter,
    value: Option<Vec<u8>>,
    topic: Option<String>,
}

impl Going {
    fn bytes(&self) -> usize {
        let headers = self.letter.headers.iter().map(|(name, value)| name.len() + value.len());
        self.value.as_ref().map_or(0, Vec::len)
            + self.letter.key.as_ref().map_or(0, Vec::len)
            + headers.sum::<usize>()
    }

    /// Kafka has refused it before, so may do so again, and would refuse others with it.
    fn is_suspect(&self) -> bool {
        self.letter.reason() == Some("refused_by_broker")
    }
}

/// Does with all letters before `ends` what the rules say.
pub(super) async fn act(
    config: &Config,
    topic: &Topic,
    (rules, done, ends): (Rules, Arc<Done>, Extents),
    total: u64,
) -> Result<Outcome, Stopped> {
    let mut redrive = Redrive {
        config,
        sender: Sender::connect(config).await?,
        missing: HashSet::new(),
        outcome: Outcome::default(),
        resolution: if rules.resolve_only { "dismissed" } else { "redriven" },
        done: Arc::clone(&done),
        total,
        told: Instant::now(),
    };
    // One window waits while one is sent.
    let (windows, mut taken) = mpsc::channel::<Vec<Going>>(1);
    let reading = async {
        let read =
            topic.letters((Vec::new(), windows), move |(window, windows), letter, record| {
                let Verdict::Send(topic) = rules.judge(&done, &letter) else { return };
                if !is_before(&ends, record) {
                    return;
                }
                let value = record.payload().map(<[u8]>::to_vec);
                let going = Going { letter, value, topic };
                let bytes: usize = window.iter().map(Going::bytes).sum();
                let full = window.len() >= WINDOW || bytes + going.bytes() > WINDOW_BYTES;
                let alone = going.is_suspect() || window.last().is_some_and(Going::is_suspect);
                if !window.is_empty() && (full || alone) {
                    // Nobody takes it any more after an error, which is told there.
                    drop(windows.blocking_send(std::mem::take(window)));
                }
                window.push(going);
            });
        let ((rest, windows), _) = read.await?;
        if !rest.is_empty() {
            drop(windows.send(rest).await);
        }
        Ok::<_, Stopped>(())
    };
    let sending = async {
        while let Some(window) = taken.recv().await {
            redrive.window(&window).await?;
        }
        Ok(())
    };
    tokio::try_join!(reading, sending)?;
    Ok(redrive.outcome)
}

struct Redrive<'a> {
    config: &'a Config,
    sender: Sender,
    /// Topics that the brokers do not know.
    missing: HashSet<String>,
    outcome: Outcome,
    resolution: &'static str,
    done: Arc<Done>,
    total: u64,
    told: Instant,
}

impl Redrive<'_> {
    /// Sends the letters of a window, and marks those that arrived.
    async fn window(&mut self, window: &[Going]) -> Result<(), Stopped> {
        let (arrived, trouble) = self.send(window).await?;
        let again = match trouble {
            None => Vec::new(),
            // What was sent before the trouble is marked first, by a producer that works.
            Some(trouble) => {
                self.sender = Sender::connect(self.config).await?;
                match trouble {
                    Trouble::Failure(failure) => {
                        self.mark(&arrived).await?;
                        return Err(failure.into());
                    }
                    Trouble::Refused { said, .. } => {
                        let again = self.remaining(window, &arrived, &said);
                        if let ([only], true, true) = (window, again.is_empty(), arrived.is_empty())
                        {
                            self.note(only).await?;
                        }
                        again
                    }
                }
            }
        };
        self.mark(&arrived).await?;
        for going in again {
            Box::pin(self.window(std::slice::from_ref(going))).await?;
        }
        if self.told.elapsed() >= TOLD {
            self.told = Instant::now();
            output::error(&format!("{} of {} letters", self.outcome.marked, self.total));
        }
        Ok(())
    }

    /// What is to be tried alone after a refusal; the one letter that was alone is refused.
    fn remaining<'w>(
        &mut self,
        window: &'w [Going],
        arrived: &[&Going],
        said: &str,
    ) -> Vec<&'w Going> {
        let gone = |going: &Going| {
            let place = going.letter.place;
            let dealt_with = |(refused, _): &(Place, String)| *refused == place;
            arrived.iter().any(|other| other.letter.place == place)
                || self.outcome.refused.iter().any(dealt_with)
        };
        let remaining: Vec<_> = window.iter().filter(|going| !gone(going)).collect();
        if let ([only], 1) = (remaining.as_slice(), window.len()) {
            self.outcome.refused.push((only.letter.place, format!("kafka refuses it: {said}")));
            return Vec::new();
        }
        remaining
    }

    /// Sends letters; gives back those that Kafka has confirmed, and what ended it.
    async fn send<'w>(
        &mut self,
        window: &'w [Going],
    ) -> Result<(Vec<&'w Going>, Option<Trouble>), Stopped> {
        let mut numbers: Vec<(Number, &Going)> = Vec::new();
        let (only_marked, sent): (Vec<_>, Vec<_>) =
            window.iter().partition(|going| going.topic.is_none());
        let mut trouble = None;
        for going in sent {
            match self.enqueue(going).await? {
                Ok(Some(number)) => numbers.push((number, going)),
                Ok(None) => {}
                Err(found) => {
                    trouble = Some(found);
                    break;
                }
            }
        }
        if trouble.is_none() {
            trouble = self.sender.settle().await.err();
        }
        let arrived = numbers.iter().filter(|(number, _)| self.sender.has_confirmed(*number));
        let mut arrived: Vec<_> = arrived.map(|(_, going)| *going).collect();
        self.outcome.sent += u64::try_from(arrived.len()).unwrap_or(0);
        arrived.extend(only_marked);
        Ok((arrived, trouble))
    }

    async fn enqueue(&mut self, going: &Going) -> Result<Result<Option<Number>, Trouble>, Stopped> {
        let Some(name) = going.topic.as_deref() else { return Ok(Ok(None)) };
        let known = match self.missing.contains(name) {
            true => None,
            false => self.sender.topic(self.config, name, PATIENCE).await?,
        };
        let Some(topic) = known else {
            self.missing.insert(name.to_owned());
            let why = format!("topic {name} does not exist, and the brokers do not make it");
            self.outcome.refused.push((going.letter.place, why));
            return Ok(Ok(None));
        };
        let attempts = going.letter.attempts().saturating_add(1).to_string();
        let own = (ATTEMPTS, attempts.as_bytes());
        let headers: Vec<_> = going.letter.event_headers().chain([own]).collect();
        let (key, value) = (going.letter.key.as_deref(), going.value.as_deref());
        let record = Record { key, value, headers: &headers };
        Ok(self.sender.send(topic, &record).await.map(Some))
    }

    /// Marks letters as resolved.
    async fn mark(&mut self, arrived: &[&Going]) -> Result<(), Stopped> {
        let name = &self.config.dlq_topic;
        let Some(topic) = self.sender.topic(self.config, name, TOPIC_LIMIT).await? else {
            return Err(refused(
                format!("topic {name} is gone"),
                "the letters that were sent cannot be marked",
            ));
        };
        for going in arrived {
            let place = going.letter.place;
            let copies = self.done.copies.get(&place).into_iter().flatten();
            for place in std::iter::once(&place).chain(copies) {
                let place = place.to_string();
                let headers = [
                    (RESOLVES, place.as_bytes()),
                    (RESOLUTION, self.resolution.as_bytes()),
                    (CONNECTOR, self.config.name.as_bytes()),
                ];
                let key = going.letter.key.as_deref();
                let record = Record { key, value: Some(b""), headers: &headers };
                self.sender.send(topic, &record).await.map_err(Failure::from)?;
                self.outcome.marked += 1;
            }
        }
        self.sender.settle().await.map_err(Failure::from)?;
        Ok(())
    }

    /// Notes that a letter was refused again.
    async fn note(&mut self, going: &Going) -> Result<(), Stopped> {
        let name = &self.config.dlq_topic;
        let Some(topic) = self.sender.topic(self.config, name, TOPIC_LIMIT).await? else {
            return Ok(());
        };
        let place = going.letter.place.to_string();
        let headers = [(ATTEMPTED, place.as_bytes()), (CONNECTOR, self.config.name.as_bytes())];
        let key = going.letter.key.as_deref();
        let record = Record { key, value: Some(b""), headers: &headers };
        self.sender.send(topic, &record).await.map_err(Failure::from)?;
        self.sender.settle().await.map_err(Failure::from)?;
        Ok(())
    }
}
