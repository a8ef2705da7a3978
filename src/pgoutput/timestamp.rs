//! The server's clock.

/// Microseconds from 1970-01-01 to 2000-01-01, both 00:00 UTC: 10,957 days.
const POSTGRES_EPOCH_UNIX_MICROS: i64 = 10_957 * 86_400 * 1_000_000;

/// A `TimestampTz` of the wire protocol: microseconds since 2000-01-01 00:00 UTC.
///
/// Source: `PostgreSQL` manual, "Logical Replication Message Formats" (Begin).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PgTimestamp(i64);

impl PgTimestamp {
    /// The time so many microseconds after 2000-01-01 00:00 UTC.
    #[must_use]
    pub const fn new(micros: i64) -> Self {
        Self(micros)
    }

    /// The time so many microseconds after 1970-01-01 00:00 UTC; the ends of the range saturate.
    #[must_use]
    pub const fn from_unix_micros(micros: i64) -> Self {
        Self(micros.saturating_sub(POSTGRES_EPOCH_UNIX_MICROS))
    }

    /// Microseconds since 1970-01-01 00:00 UTC; the ends of the range saturate.
    #[must_use]
    pub const fn to_unix_micros(self) -> i64 {
        self.0.saturating_add(POSTGRES_EPOCH_UNIX_MICROS)
    }
}
