//! The streams that are served: one as a rule, several with shards.

use crate::metrics::Metrics;
use crate::status::together::Together;
use crate::status::{Report, Status};

/// Every stream of the process, in the order of their numbers.
#[derive(Clone, Debug)]
pub(super) struct Streams(Vec<(Status, Metrics)>);

impl Streams {
    pub(super) const fn new(streams: Vec<(Status, Metrics)>) -> Self {
        Self(streams)
    }

    /// What follows from all of them. `None` when there is none.
    pub(super) fn together(&self) -> Option<Together> {
        Together::of(self.0.iter().map(|(status, _)| status.report()).collect())
    }

    /// One of several; `None` where there is no such stream, or one only.
    pub(super) fn one(&self, shard: usize) -> Option<Report> {
        let several = self.0.len() > 1;
        self.0.get(shard).filter(|_| several).map(|(status, _)| status.report())
    }

    /// The text of `/metrics`.
    pub(super) fn metrics(&self) -> String {
        let all: Vec<_> = self.0.iter().map(|(_, metrics)| metrics.clone()).collect();
        Metrics::render_all(&all)
    }

    /// What is due every second.
    pub(super) fn upkeep(&self) {
        for (status, metrics) in &self.0 {
            metrics.upkeep();
            status.see();
        }
    }
}
