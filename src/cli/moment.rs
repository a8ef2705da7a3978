//! Moments on the command line.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// What is accepted, for the help and for refusals.
const ACCEPTED: &str = "expected a moment: 2026-11-21T10:00:00Z, 2026-11-21T10:00 or 2026-11-21 (both UTC), or how long ago: 30m, 2h, 7d";

/// Microseconds since 1970.
pub(super) type Micros = i64;

/// Reads a moment; for clap.
pub(super) fn parse(text: &str) -> Result<Micros, String> {
    at(text, Timestamp::now())
}

/// Writes a moment as [`parse`] reads it.
pub(super) fn print(micros: Micros) -> String {
    Timestamp::from_microsecond(micros).map_or_else(|_| micros.to_string(), |time| time.to_string())
}

fn at(text: &str, now: Timestamp) -> Result<Micros, String> {
    let text = text.trim();
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.as_microsecond());
    }
    if let Ok(time) = text.parse::<DateTime>() {
        let time = time.to_zoned(TimeZone::UTC).map_err(|_| ACCEPTED.to_owned())?;
        return Ok(time.timestamp().as_microsecond());
    }
    let plain = text.chars().all(|character| character.is_ascii_alphanumeric());
    match text.parse::<Span>() {
        Ok(ago) if plain && !ago.is_negative() => now
            .to_zoned(TimeZone::UTC)
            .checked_sub(ago)
            .map(|time| time.timestamp().as_microsecond())
            .map_err(|_| ACCEPTED.to_owned()),
        Ok(_) | Err(_) => Err(ACCEPTED.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let now = "2026-11-21T12:00:00Z".parse().expect("a time");
        assert_eq!(at(text, now).ok().map(print).as_deref(), expected, "{text:?}");
    }

    #[test]
    fn a_moment_is_a_time_a_day_or_how_long_ago() {
        check("2026-11-21T10:00:00Z", Some("2026-11-21T10:00:00Z"));
        check("2026-11-21T10:00:00.123456+02:00", Some("2026-11-21T08:00:00.123456Z"));
        check("2026-11-21 10:00:00+00", Some("2026-11-21T10:00:00Z"));
        check("2026-11-21T10:00", Some("2026-11-21T10:00:00Z"));
        check("2026-11-21", Some("2026-11-21T00:00:00Z"));
        check("2h", Some("2026-11-21T10:00:00Z"));
        check("90s", Some("2026-11-21T11:58:30Z"));
        check("7d", Some("2026-11-14T12:00:00Z"));
        check("", None);
        check("yesterday", None);
        check("-2h", None);
        check("2026-13-01", None);
    }
}
