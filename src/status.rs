//! stub until the http branch lands
#![expect(missing_docs, reason = "stub")]
pub mod halt;
pub mod heartbeat;
pub mod state;
pub use halt::{Halt, HaltCode};
pub use heartbeat::Heartbeat;
pub use state::State;
use std::sync::{Arc, Mutex};
#[derive(Clone)]
pub struct Status(Arc<Mutex<State>>, Arc<heartbeat::Heartbeats>);
#[derive(Default, Debug)]
pub struct Facts {}
impl Status {
    pub fn new(_name: &str, _slot: &str) -> Self {
        Self(
            Arc::new(Mutex::new(State::Starting)),
            Arc::new(heartbeat::Heartbeats::new(tokio::time::Instant::now())),
        )
    }
    pub fn state(&self) -> State {
        *self.0.lock().expect("l")
    }
    pub fn set_state(&self, s: State) {
        let mut l = self.0.lock().expect("l");
        if *l != s {
            tracing::info!("state {}", s.as_str());
            *l = s;
        }
    }
    pub fn halt(&self, halt: Halt) {
        *self.0.lock().expect("l") = State::Halted;
        let Halt { code, message, hint } = halt;
        tracing::error!(code = code.as_str(), hint, "halted: {message}");
    }
    pub fn error(&self, _c: &'static str, _m: &str, _h: &str) {}
    pub fn update(&self, change: impl FnOnce(&mut Facts)) {
        change(&mut Facts::default())
    }
    pub fn heartbeat(&self, t: &'static str) -> Heartbeat {
        self.1.register(t)
    }
}
impl std::fmt::Debug for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Status")
    }
}
