//! What walpost promises under faults, tried hard: each crash point, each deliberate mistake, and
//! random faults for as long as one likes. `tests/README.md` says how to run it.
//!
//! The servers and the oracle are those of `tests/spec`.

#[cfg(test)]
mod crash;
#[cfg(test)]
mod scene;
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
