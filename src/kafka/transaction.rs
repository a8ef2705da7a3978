//! Exactly-once: events, dead letters and the checkpoint record in one Kafka transaction.
//!
//! ```text
//!   Idle ──first record──► Open ──close──► Closing ──all reported──► Ending ──► Idle
//!    ▲                                                                 │ slow
//!    └──────────── Renewing (a new client under the same id) ◄─────────┘
//! ```
//!
//! *What a report means.* Within a transaction a delivery is no confirmation: the record counts
//! when the transaction is committed. So reports are kept back here and given out after the
//! commit, the rows' before the checkpoint's, and everything behind this room works as in
//! at-least-once.
//!
//! *Why nothing is ever aborted.* An abort is safe only as long as no request to commit can be on
//! its way. Not to have it at all is simpler than to prove that each time: whatever goes wrong
//! ends the generation, and the next one takes over the `transactional.id`. The broker then
//! finishes what is decided and aborts what is not, before it answers, and the checkpoint, read
//! after that, says which of the two it was.
//!
//! *The request that comes late.* librdkafka 2.12 speaks the first version of the transaction
//! protocol (it has no KIP-890 part 2), in which a request to end a transaction names the
//! producer's epoch and not the transaction. When such a request is held up somewhere and
//! librdkafka sends it again, the second one ends the transaction, and the first one may arrive
//! later and end the *next* one half-way: torn, or lost with its checkpoint stored (Jepsen on
//! KAFKA-17754; librdkafka issue 5423). librdkafka does not tell that it has sent twice, but it
//! waits `retry.backoff.ms` less a fifth before (`rd_kafka_buf_retry`). That is set to
//! [`RETRY_BACKOFF`] here, so a commit that took less than `SUSPICIOUS` was asked for once. After
//! any other the next transaction begins under a new epoch, which a late request does not have.
//!
//! *Who waits.* librdkafka's calls block. They are made on a thread of their own, one at a time, so
//! that the loop goes on with status updates and whatever else it does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::client::Properties;
use super::librdkafka::{Client, ClientError, Handle, Happening, Refusal};
use crate::crash::{self, Point};
use crate::mutant::{self, Mutant};

/// `retry.backoff.ms` of a transactional producer.
pub const RETRY_BACKOFF: Duration = Duration::from_millis(250);

/// A commit that took this long may have been asked for twice. Less than four fifths of
/// [`RETRY_BACKOFF`], with a quarter to spare for clocks and schedulers.
const SUSPICIOUS: Duration = Duration::from_millis(150);

/// How long taking over the `transactional.id` may take.
const INIT_LIMIT: Duration = Duration::from_secs(30);

/// How long one call blocks, until it is made again: how soon the thread notices that its producer
/// was given up.
const STEP: Duration = Duration::from_millis(500);

/// A call of [`STEP`] that took so long stood still with its process, which may have a successor by now.
/// To take over the `transactional.id` again would stop that one for nothing.
const STILL: Duration = Duration::from_secs(2);

/// What is between two calls at least.
const PAUSE: Duration = Duration::from_millis(50);

/// How long the broker lets a transaction be open (`transaction.timeout.ms`).
///
/// Consumers with `read_committed` wait for an open transaction, so this is how long a walpost that
/// died and is not started again holds them up. But a broker that restarts, or a partition that
/// changes its leader, must not end every transaction of a healthy walpost: that takes seconds, and
/// half a minute on a bad day. The default of 60 s leaves room for both; the time that a
/// transaction is meant to be open comes on top.
#[must_use]
pub fn timeout(interval: Duration) -> Duration {
    Duration::from_secs(60) + interval
}

/// The `transactional.id`: of the connector's name alone, so that whoever works under this name
/// fences whoever did before, wherever it runs.
#[must_use]
pub fn id(name: &str) -> String {
    if mutant::is(Mutant::IdWithPid) {
        return format!("walpost.{name}.{}", std::process::id());
    }
    format!("walpost.{name}")
}

/// Takes over a `transactional.id` and gives it up again: what its last owner left open is ended
/// when this returns, and its last owner can write no more. Blocks.
///
/// # Errors
/// librdkafka refuses the properties, or the brokers the id; or they do not answer in time.
/// Must be called within a Tokio runtime.
pub fn fence(properties: &Properties) -> Result<(), ClientError> {
    let client = properties.client()?;
    let done = client.handle().init_transactions(INIT_LIMIT).map_err(|refusal| refusal.error);
    client.happenings(|_| {});
    done
}

/// What the thread is asked to do.
enum Job {
    Init(Handle, oneshot::Sender<Took>),
    Renew(Handle, oneshot::Sender<Took>),
    Commit(Handle, oneshot::Sender<Took>),
}

/// How long a call took that did what it was asked for.
type Took = Result<Duration, ClientError>;

/// An answer that is waited for.
type Answer = oneshot::Receiver<Took>;

#[derive(Debug)]
enum Phase {
    /// Before [`Transactions::init`].
    New,
    /// No transaction is open; the next record opens one.
    Idle,
    /// Records are taken.
    Open(Instant),
    /// No more records are taken, and some are not reported yet.
    Closing,
    /// The request to commit may have left.
    Ending(Answer),
    /// Committed, but not as fast as it should be: the next transaction needs a new epoch.
    Suspect,
    /// A new client is about to take over.
    Renewing(Box<Client>, Answer),
    /// Over: a new generation tells what became of the last transaction.
    Failed,
}

/// What has become of the call that was under way.
#[derive(Debug)]
pub(super) enum Turn {
    /// The transaction is committed.
    Committed,
    /// From here on this is the client, and the other one is done with.
    Renewed(Box<Client>),
    /// It is not known, or it was refused.
    Failed(ClientError),
}

/// The transactions of one producer.
#[derive(Debug)]
pub(super) struct Transactions {
    phase: Phase,
    /// Records of this transaction that are not reported yet.
    unreported: u64,
    /// Reports of this transaction.
    reports: Vec<Happening>,
    jobs: mpsc::Sender<Job>,
    given_up: Arc<AtomicBool>,
}

impl Drop for Transactions {
    fn drop(&mut self) {
        self.given_up.store(true, Ordering::Relaxed);
    }
}

impl Transactions {
    /// Starts the thread that waits.
    pub(super) fn new() -> Result<Self, ClientError> {
        let (jobs, inbox) = mpsc::channel();
        let given_up = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&given_up);
        std::thread::Builder::new()
            .name("kafka-transactions".to_owned())
            .spawn(move || work(&inbox, &stop))
            .map_err(|error| failure(&format!("no thread for transactions: {error}")))?;
        Ok(Self { phase: Phase::New, unreported: 0, reports: Vec::new(), jobs, given_up })
    }

    /// Takes over the `transactional.id`. Under the lock of the slot only: it ends the work of
    /// whoever has it.
    pub(super) async fn init(&mut self, client: &Client) -> Result<(), ClientError> {
        if !matches!(self.phase, Phase::New) {
            return Ok(());
        }
        self.ask(|answer| Job::Init(client.handle(), answer))
            .await
            .unwrap_or_else(|_| Err(failure("the thread for transactions is gone")))
            .map(|_| self.phase = Phase::Idle)
    }

    fn ask(&self, job: impl FnOnce(oneshot::Sender<Took>) -> Job) -> Answer {
        let (answer, asked) = oneshot::channel();
        // A thread that is gone drops the sender, which the receiver reports.
        drop(self.jobs.send(job(answer)));
        asked
    }

    /// A record is about to be enqueued: opens a transaction where none is open.
    pub(super) fn before_record(&mut self, client: &Client) -> Result<(), ClientError> {
        match self.phase {
            Phase::Open(_) => Ok(()),
            Phase::Idle => {
                client.handle().begin_transaction()?;
                crash::at(Point::TransactionBegun);
                self.phase = Phase::Open(Instant::now());
                Ok(())
            }
            Phase::New
            | Phase::Closing
            | Phase::Ending(_)
            | Phase::Suspect
            | Phase::Renewing(..)
            | Phase::Failed => Err(failure("a record came between two transactions")),
        }
    }

    /// A record was enqueued.
    pub(super) fn enqueued(&mut self) {
        self.unreported += 1;
    }

    /// Whether records may be enqueued now.
    pub(super) fn takes_records(&self) -> bool {
        matches!(self.phase, Phase::Idle | Phase::Open(_))
    }

    /// Since when a transaction is open that records may be added to.
    pub(super) fn open_since(&self) -> Option<Instant> {
        if let Phase::Open(since) = self.phase { Some(since) } else { None }
    }

    /// The transaction is complete: it is committed as soon as all its records are reported.
    pub(super) fn close(&mut self) {
        assert!(matches!(self.phase, Phase::Open(_)), "no transaction is open: {:?}", self.phase);
        self.phase = Phase::Closing;
    }

    /// Keeps a confirmation back until the commit, and hands on what is not one.
    pub(super) fn keep_back(&mut self, happening: Happening) -> Option<Happening> {
        match happening {
            Happening::Delivered { count, .. } => {
                self.unreported = self.unreported.saturating_sub(u64::from(count));
                self.reports.push(happening);
                None
            }
            Happening::Failed { .. } => {
                // Never committed from here on, whatever is reported after it.
                self.phase = Phase::Failed;
                Some(happening)
            }
            Happening::Fatal(_) | Happening::Notice(_) | Happening::Transaction(_) => {
                Some(happening)
            }
        }
    }

    /// The confirmations of a transaction that was committed, those of `last` at the end.
    pub(super) fn confirmations(&mut self, last: u64) -> Vec<Happening> {
        let mut reports = std::mem::take(&mut self.reports);
        reports.sort_by_key(
            |report| matches!(report, Happening::Delivered { tag, .. } if *tag == last),
        );
        reports
    }

    /// Makes the next call to librdkafka, if it is time for one.
    pub(super) fn go_on(
        &mut self,
        client: &Client,
        properties: &Properties,
    ) -> Result<(), ClientError> {
        match self.phase {
            Phase::Closing if self.unreported == 0 => {
                let answer = self.ask(|answer| Job::Commit(client.handle(), answer));
                self.phase = Phase::Ending(answer);
            }
            Phase::Suspect => {
                let fresh = properties.client()?;
                let answer = self.ask(|answer| Job::Renew(fresh.handle(), answer));
                self.phase = Phase::Renewing(Box::new(fresh), answer);
            }
            Phase::New
            | Phase::Idle
            | Phase::Open(_)
            | Phase::Closing
            | Phase::Ending(_)
            | Phase::Renewing(..)
            | Phase::Failed => {}
        }
        Ok(())
    }

    /// Waits for the call that is under way; for ever, where there is none.
    ///
    /// Cancel safe: the answer stays in its channel until it is taken, and what follows from it
    /// happens without waiting.
    pub(super) async fn turn(&mut self) -> Turn {
        let gone = |_| Err(failure("the thread for transactions is gone"));
        match &mut self.phase {
            Phase::Ending(answer) => match answer.await.unwrap_or_else(gone) {
                Ok(took) if took < SUSPICIOUS => {
                    self.phase = Phase::Idle;
                    Turn::Committed
                }
                Ok(took) => {
                    tracing::info!(
                        ?took,
                        "a commit was slow; the next transaction begins under a new epoch"
                    );
                    self.phase = Phase::Suspect;
                    Turn::Committed
                }
                Err(error) => {
                    self.phase = Phase::Failed;
                    Turn::Failed(error)
                }
            },
            Phase::Renewing(_, answer) => {
                let said = answer.await.unwrap_or_else(gone);
                let before = std::mem::replace(&mut self.phase, Phase::Failed);
                match (said, before) {
                    (Ok(_), Phase::Renewing(client, _)) => {
                        self.phase = Phase::Idle;
                        Turn::Renewed(client)
                    }
                    (Err(error), _) => Turn::Failed(error),
                    (Ok(_), _) => Turn::Failed(failure("no client was to be renewed")),
                }
            }
            Phase::New
            | Phase::Idle
            | Phase::Open(_)
            | Phase::Closing
            | Phase::Suspect
            | Phase::Failed => std::future::pending().await,
        }
    }
}

/// What made the open transaction fail, where it has.
///
/// librdkafka then throws its records away without a reason; the reason is the answer to any
/// transaction call. This one does nothing else inside a transaction.
pub(super) fn cause(client: &Client) -> Option<ClientError> {
    match client.handle().begin_transaction() {
        Ok(()) => None,
        Err(error) if error.code == RDKafkaErrorCode::State => None,
        Err(error) => Some(error),
    }
}

fn failure(message: &str) -> ClientError {
    ClientError { code: RDKafkaErrorCode::Fail, message: message.to_owned() }
}

/// The thread: one call after the other, until nobody asks any more.
fn work(inbox: &mpsc::Receiver<Job>, given_up: &AtomicBool) {
    while let Ok(job) = inbox.recv() {
        let began = Instant::now();
        let (answer, done) = match job {
            Job::Init(handle, answer) => {
                let done = handle.init_transactions(INIT_LIMIT);
                (answer, done.map_err(|refusal| refusal.error))
            }
            // Kafka may go away right after a slow commit, for any time. All is confirmed by then, so
            // there is no reason to give up the slot for it.
            Job::Renew(handle, answer) => {
                (answer, insist(given_up, STILL, || handle.init_transactions(STEP)))
            }
            Job::Commit(handle, answer) => {
                crash::at(Point::BeforeCommit);
                let done = insist(given_up, Duration::MAX, || handle.commit_transaction(STEP));
                crash::at(Point::CommitAnswered);
                (answer, done)
            }
        };
        // Nobody waits any more when the generation has ended.
        drop(answer.send(done.map(|()| began.elapsed())));
    }
}

/// Makes a call again and again until it is answered, as long as the producer is wanted, and no call
/// takes longer than `still`.
fn insist(
    given_up: &AtomicBool,
    still: Duration,
    call: impl Fn() -> Result<(), Refusal>,
) -> Result<(), ClientError> {
    loop {
        let began = Instant::now();
        match call() {
            Ok(()) => return Ok(()),
            Err(Refusal { resumable: true, .. })
                if !given_up.load(Ordering::Relaxed) && began.elapsed() < still =>
            {
                // Most wait for as long as they may; some are refused at once, for now.
                std::thread::sleep(PAUSE.saturating_sub(began.elapsed()));
            }
            Err(Refusal { error, .. }) => return Err(error),
        }
    }
}
