//! Logging in with tokens (SASL/OAUTHBEARER): who gives them out, and when the next one is due.
//!
//! One thread for each [`Login`] asks for a token before the one before expires, and hands it to every
//! client that was made with this login. A client without a token waits; so whoever makes one need not.
//!
//! When a token is due and none is to be had, it is asked for again with pauses from
//! half a second to ten seconds, for ever. Only when the endpoint itself refuses us, and no token is left that
//! is valid, do the clients report an error of authentication; an endpoint that is away is an outage.

mod kept;
#[cfg(feature = "msk-iam")]
pub mod msk_iam;
pub mod oauth;

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

pub use kept::Kept;
use tokio::time::Instant;

use super::librdkafka::{Seats, Token};

/// The first pause after a failure, and the least between two questions.
const PAUSE: Duration = Duration::from_millis(500);

/// The longest pause after failures. Kafka's own clients wait as long (`sasl.login.retry.backoff.max.ms`).
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Shortest time between a token and the next, whatever life the token has.
const LIFE_MIN: Duration = Duration::from_secs(1);

/// The part of a token's life after which the next one is asked for.
///
/// A broker that wants sessions renewed (`connections.max.reauth.ms`) ends one with its token, and
/// librdkafka logs in anew after 90 % of the time that is left at the login (`rd_kafka_sasl_reauth_tmr`
/// in rdkafka_broker.c): by then the next token is there.
const RENEWED: f64 = 0.75;

/// How much the clocks of brokers may differ from ours without consequence: close to its end, a token
/// may have expired for them.
const CLOCKS: Duration = Duration::from_secs(5);

/// Who gives out tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Issuer {
    /// An OAuth 2.0 token endpoint.
    OAuth(Box<oauth::Options>),
    /// We ourselves, with AWS credentials.
    #[cfg(feature = "msk-iam")]
    MskIam(Box<msk_iam::Options>),
}

/// A token, and what else was learnt with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The token.
    pub token: Token,
    /// How long it lives from now on.
    pub life: Duration,
    /// How many seconds our clock is ahead of the issuer's, where that is known.
    pub clock_ahead: Option<i64>,
    /// Who gave it, in a few words.
    pub by: String,
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Whoever was asked knows us and says no, or does not know us; else nobody said anything that
    /// decides.
    pub refused: bool,
    /// What happened, without any secret.
    pub message: String,
}

impl Trouble {
    fn away(message: impl Into<String>) -> Self {
        Self { refused: false, message: message.into() }
    }

    fn refused(message: impl Into<String>) -> Self {
        Self { refused: true, message: message.into() }
    }
}

impl Issuer {
    /// Asks for a token, once.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub async fn ask(&self) -> Result<Granted, Trouble> {
        match self {
            Self::OAuth(options) => options.ask().await,
            #[cfg(feature = "msk-iam")]
            Self::MskIam(options) => options.ask().await,
        }
    }
}

/// Where the clients of a configuration get their tokens. Clones share the tokens.
#[derive(Clone, Debug)]
pub struct Login(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    issuer: Issuer,
    seats: Arc<Seats>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Wakes the thread; `None` as long as it was not needed.
    wake: Option<Sender<()>>,
    trouble: Option<Trouble>,
    /// When the last token expires.
    valid_until: Option<Instant>,
}

impl PartialEq for Login {
    fn eq(&self, other: &Self) -> bool {
        self.0.issuer == other.0.issuer
    }
}

impl Eq for Login {}

impl Login {
    /// Asks for nothing before the first client is made.
    #[must_use]
    pub fn new(issuer: Issuer) -> Self {
        let shared = Shared { issuer, seats: Arc::default(), state: Mutex::default() };
        Self(Arc::new(shared))
    }

    /// Who gives out the tokens.
    #[must_use]
    pub fn issuer(&self) -> &Issuer {
        &self.0.issuer
    }

    /// Why there is no new token; `None` when the last question was answered with one.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        self.0.state().trouble.clone()
    }

    /// Why there is no valid token, where nobody has refused one: what brokers say of an expired token
    /// then says nothing of us.
    pub(super) fn outage(&self) -> Option<Trouble> {
        let state = self.0.state();
        let soon = Instant::now() + CLOCKS;
        if state.valid_until.is_some_and(|until| until > soon) {
            return None;
        }
        match &state.trouble {
            Some(trouble) => Some(trouble.clone()).filter(|trouble| !trouble.refused),
            None => state.valid_until.map(|_| {
                Trouble::away("the token for kafka has expired, and the next one is on its way")
            }),
        }
    }

    /// The clients that are handed tokens. The first one has the thread started; each later one has it
    /// ask at once, if it waits after a failure.
    pub(super) fn seats(&self) -> &Arc<Seats> {
        let mut state = self.0.state();
        if let Some(wake) = &state.wake {
            // The thread ends with the last `Login` only.
            if wake.send(()).is_err() {
                tracing::error!("the thread that asks for tokens has ended");
            }
        } else {
            let (wake, woken) = mpsc::channel();
            let shared = Arc::downgrade(&self.0);
            let thread = std::thread::Builder::new().name("login".to_owned());
            match thread.spawn(move || keep(&shared, &woken)) {
                Ok(_) => state.wake = Some(wake),
                Err(error) => {
                    let message = format!("no thread to ask for tokens: {error}");
                    tracing::error!("{message}");
                    state.trouble = Some(Trouble::away(message));
                }
            }
        }
        &self.0.seats
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When the next token is asked for.
struct Due {
    at: Instant,
    /// The last answer was none: a new client has it asked for earlier.
    failing: bool,
}

/// Asks for tokens until the last [`Login`] is gone.
fn keep(login: &Weak<Shared>, woken: &Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("no runtime to ask for tokens: {error}");
            return;
        }
    };
    let mut pause = PAUSE;
    loop {
        let Some(shared) = login.upgrade() else { return };
        let answer = runtime.block_on(shared.issuer.ask());
        let due = shared.settle(answer, &mut pause);
        drop(shared);
        if !wait(due, woken) {
            return;
        }
    }
}

/// Waits until a token is due; `false`: nobody needs one any more.
fn wait(mut due: Due, woken: &Receiver<()>) -> bool {
    loop {
        match woken.recv_timeout(due.at.saturating_duration_since(Instant::now())) {
            Ok(()) if due.failing => due.at = due.at.min(Instant::now() + PAUSE),
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
}

impl Shared {
    /// Hands out the answer, and says when to ask again.
    fn settle(&self, answer: Result<Granted, Trouble>, pause: &mut Duration) -> Due {
        let now = Instant::now();
        let given = answer.and_then(|granted| match self.seats.give(granted.token.clone()) {
            Ok(()) => Ok(granted),
            Err(error) => Err(Trouble::away(format!("{}: {}", granted.by, error.message))),
        });
        let trouble = match given {
            Ok(granted) => {
                *pause = PAUSE;
                let mut state = self.state();
                if state.trouble.take().is_some() {
                    tracing::info!("{} gives tokens again", granted.by);
                }
                tracing::debug!("{} gave a token for {:?}", granted.by, granted.life);
                state.valid_until = Some(now + granted.life);
                return Due {
                    at: now + granted.life.mul_f64(RENEWED).max(LIFE_MIN),
                    failing: false,
                };
            }
            Err(trouble) => trouble,
        };
        let at = now + *pause;
        *pause = pause.saturating_mul(2).min(PAUSE_MAX);
        let mut state = self.state();
        let valid_until = state.valid_until.filter(|until| *until > now);
        if state.trouble.as_ref() != Some(&trouble) {
            let left = valid_until.map_or(0, |until| (until - now).as_secs());
            tracing::warn!(seconds_left = left, "no new token for kafka: {}", trouble.message);
        }
        state.trouble = Some(trouble.clone());
        drop(state);
        if trouble.refused && valid_until.is_none() {
            self.seats.refuse(&trouble.message);
        }
        // The end of the token is when a refusal is to be told, and not some pause after it.
        Due { at: valid_until.map_or(at, |until| at.min(until)), failing: true }
    }
}
