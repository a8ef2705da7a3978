//! Sends what is enqueued at once while little is under way, and in large batches under load.
//!
//! librdkafka has one `linger.ms` for a producer's whole life: short for latency or long for
//! batches. A short one costs more than small batches: an idempotent partition has one batch under
//! way, and while that is, librdkafka's thread asks its socket again and again without waiting
//! once the next batch has lingered (`rd_kafka_toppar_producer_serve` gives out "now" as the time
//! of the next wake-up before it finds that it may not send; librdkafka 2.12.1). With
//! `linger.ms=1` and a backlog, half of the relay's processor time was seen in that loop.
//!
//! So the linger is long, and while little is under way it is suspended: `rd_kafka_flush` declares
//! it over for as long as the call lasts, and a thread that does nothing else makes that call.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::librdkafka::Handle;

/// The linger where nobody asks for promptness, and nobody set another: longer than the brokers'
/// answer usually takes.
pub(super) const LINGER: &str = "10";

/// How long one request lasts at most. Meanwhile everything that is enqueued leaves at once.
const HOLD: Duration = Duration::from_millis(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Nothing,
    Now,
    End,
}

#[derive(Debug)]
struct Shared {
    wanted: Mutex<Wanted>,
    changed: Condvar,
}

impl Shared {
    /// The state is one word and always whole, also after a panic elsewhere.
    fn want(&self, wanted: Wanted) {
        let mut now = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        if *now == Wanted::Nothing || wanted == Wanted::End {
            *now = wanted;
            self.changed.notify_one();
        }
    }

    /// Waits until something is wanted, and takes it.
    fn take(&self) -> Wanted {
        let mut now = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match *now {
                Wanted::Nothing => {
                    now = self.changed.wait(now).unwrap_or_else(PoisonError::into_inner);
                }
                Wanted::Now => {
                    *now = Wanted::Nothing;
                    return Wanted::Now;
                }
                Wanted::End => return Wanted::End,
            }
        }
    }
}

/// A request for promptness may be made as long as this lives.
#[derive(Debug)]
pub(super) struct Prompt(Arc<Shared>);

impl Prompt {
    /// Starts the thread.
    ///
    /// # Errors
    /// The operating system has no thread to give.
    pub(super) fn start(handle: Handle) -> std::io::Result<Self> {
        let shared =
            Arc::new(Shared { wanted: Mutex::new(Wanted::Nothing), changed: Condvar::new() });
        let of_thread = Arc::clone(&shared);
        std::thread::Builder::new().name("kafka-prompt".to_owned()).spawn(move || {
            while of_thread.take() == Wanted::Now {
                handle.flush(HOLD);
            }
        })?;
        Ok(Self(shared))
    }

    /// What is enqueued now, and for the next two milliseconds, does not linger.
    pub(super) fn now(&self) {
        self.0.want(Wanted::Now);
    }
}

impl Drop for Prompt {
    fn drop(&mut self) {
        self.0.want(Wanted::End);
    }
}
