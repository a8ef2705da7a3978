//! The words for what the process is doing.

/// What the process is doing, as `walpost_state`, the status page and the log say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Connecting, or connecting again, and not yet reading.
    Starting,
    /// Another session holds the slot; this instance waits to take over.
    Standby,
    /// Publishing the rows that were in the table when the slot was made.
    Snapshotting,
    /// Reading the stream.
    Streaming,
    /// Reading has stopped until Kafka confirms what is in flight.
    Backpressured,
    /// Stopping: nothing new is read, what is in flight is being confirmed.
    Draining,
    /// Up but not working; the halt says why.
    Halted,
}

impl State {
    /// Every state, in the order of a life.
    pub const ALL: [Self; 7] = [
        Self::Starting,
        Self::Standby,
        Self::Snapshotting,
        Self::Streaming,
        Self::Backpressured,
        Self::Draining,
        Self::Halted,
    ];

    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Standby => "standby",
            Self::Snapshotting => "snapshotting",
            Self::Streaming => "streaming",
            Self::Backpressured => "backpressured",
            Self::Draining => "draining",
            Self::Halted => "halted",
        }
    }
}
