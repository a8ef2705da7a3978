//! The server's clock.

/// Microseconds from 2000-01-01 00:00:00 UTC to 1970-01-01, as a positive number: 10,957 days.
const POSTGRES_EPOCH_UNIX_MICROS: i64 = 10_957 * 86_400 * 1_000_000;

/// A moment of the server's clock (`timestamptz`): microseconds since 2000-01-01 00:00:00 UTC.
///
/// It may go backwards between two messages, when the server's clock is set. Nothing may be
/// ordered by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PgTimestamp(pub i64);

impl PgTimestamp {
    /// The moment so many microseconds after 2000-01-01 00:00:00 UTC.
    #[must_use]
    pub const fn new(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970-01-01 00:00:00 UTC.
    ///
    /// Postgres' own moments reach from 4713 BC to 294276 AD and all fit; a value that no server
    /// can mean stops at the end of the range.
    #[must_use]
    pub const fn to_unix_micros(self) -> i64 {
        self.0.saturating_add(POSTGRES_EPOCH_UNIX_MICROS)
    }

    /// The moment that is this many microseconds after 1970-01-01 00:00:00 UTC.
    #[must_use]
    pub const fn from_unix_micros(micros: i64) -> Self {
        Self(micros.saturating_sub(POSTGRES_EPOCH_UNIX_MICROS))
    }

    /// The moment that this machine's clock shows.
    #[must_use]
    pub fn now() -> Self {
        let since_1970 = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |elapsed| i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX));
        Self::from_unix_micros(since_1970)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(postgres: i64, unix: i64) {
        assert_eq!(PgTimestamp(postgres).to_unix_micros(), unix);
    }

    #[test]
    fn the_epoch_of_postgres_is_the_year_2000() {
        check(0, 946_684_800_000_000);
        check(-946_684_800_000_000, 0);
        check(1, 946_684_800_000_001);
        check(i64::MAX, i64::MAX);
    }

    #[test]
    fn unix_time_goes_there_and_back() {
        let moment = PgTimestamp(817_123_456_789_012);
        assert_eq!(PgTimestamp::from_unix_micros(moment.to_unix_micros()), moment);
    }
}
