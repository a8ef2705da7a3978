//! What walpost promises under faults, tried hard: each crash point, each deliberate mistake, and
//! random faults for as long as one likes. `tests/README.md` says how to run it.
//!
//! The servers and the oracle are those of `tests/spec`.

#[cfg(test)]
mod brokers;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod mutants;
#[cfg(test)]
mod page;
#[cfg(test)]
mod run;
#[cfg(test)]
mod scene;

/// What is to be tried: nothing, for a handful; `full`; or part of a name.
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test's knob, not walpost's configuration")]
fn wish() -> String {
    use walpost::{crash::Point, mutant::Mutant};
    let wish = std::env::var("WALPOST_TORTURE").unwrap_or_default();
    let names: Vec<_> = Point::ALL
        .iter()
        .map(|point| point.name())
        .chain(Mutant::ALL.iter().map(|mutant| mutant.name()))
        .collect();
    for part in wish.split(',').filter(|part| !part.is_empty() && *part != "full") {
        let name = part.split(':').next().unwrap_or_default();
        let known = names.iter().any(|known| known.contains(name));
        assert!(known, "`{name}` is no crash point and no mistake; these are: {names:?}");
    }
    wish
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
