//! What walpost promises under faults, tried hard: each crash point, each deliberate mistake, and
//! random faults for as long as one likes. `tests/README.md` says how to run it.
//!
//! The servers and the oracle are those of `tests/spec`.

#[cfg(test)]
mod crash;
#[cfg(test)]
mod mutants;
#[cfg(test)]
mod run;
#[cfg(test)]
mod scene;

/// What is to be tried: nothing, for a handful; `full`; or part of a name.
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test's knob, not walpost's configuration")]
fn wish() -> String {
    std::env::var("WALPOST_TORTURE").unwrap_or_default()
}

#[cfg(test)]
use spec::{oracle, servers};

#[cfg(test)]
#[path = "../spec"]
#[expect(
    dead_code,
    unused_imports,
    reason = "made for the tests of the specification, which use the rest"
)]
mod spec {
    pub(crate) mod oracle;
    pub(crate) mod servers;
}
