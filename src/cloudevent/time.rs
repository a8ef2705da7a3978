//! Times: from what Postgres prints to RFC 3339, without memory of its own.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::options::TimeUnit;
use crate::outbox::column::ColumnType;

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
/// `0001-01-01T00:00:00Z`. Years before it are BC to Postgres, and RFC 3339 has no form for them.
const EARLIEST: i64 = -719_162 * MICROS_PER_DAY;
/// `9999-12-31T23:59:59.999999Z`: years of RFC 3339 have four digits.
const LATEST: i64 = 2_932_897 * MICROS_PER_DAY - 1;

/// `2024-05-01T10:00:00.123456Z` or, on a full second, `2024-05-01T10:00:00Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeText {
    bytes: [u8; 27],
    length: usize,
}

impl TimeText {
    /// The time so many microseconds after 1970-01-01 00:00 UTC; `None` outside of the years 1 to
    /// 9999.
    pub(crate) fn of_unix_micros(micros: i64) -> Option<Self> {
        if !(EARLIEST..=LATEST).contains(&micros) {
            return None;
        }
        let (year, month, day) = civil_of_days(micros.div_euclid(MICROS_PER_DAY));
        let of_day = micros.rem_euclid(MICROS_PER_DAY);
        let second = of_day / MICROS_PER_SECOND;
        let fraction = of_day % MICROS_PER_SECOND;
        let mut text = Self { bytes: [0; 27], length: 0 };
        text.number(year, 4);
        text.byte(b'-');
        text.number(month, 2);
        text.byte(b'-');
        text.number(day, 2);
        text.byte(b'T');
        text.number(second / 3600, 2);
        text.byte(b':');
        text.number(second / 60 % 60, 2);
        text.byte(b':');
        text.number(second % 60, 2);
        if fraction != 0 {
            text.byte(b'.');
            text.number(fraction, 6);
        }
        text.byte(b'Z');
        Some(text)
    }

    pub(crate) fn as_str(&self) -> &str {
        let written = self.bytes.get(..self.length).unwrap_or_default();
        std::str::from_utf8(written).unwrap_or_default()
    }

    fn byte(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length = self.length.saturating_add(1);
        }
    }

    fn number(&mut self, number: i64, digits: u32) {
        for power in (0..digits).rev() {
            let digit = number / 10_i64.pow(power) % 10;
            self.byte(b'0'.saturating_add(u8::try_from(digit).unwrap_or(0)));
        }
    }
}

/// Whether there is a time zone of this name.
///
/// # Errors
///
/// When the IANA database that is compiled in has none.
pub fn check_time_zone(name: &str) -> Result<(), String> {
    TimeReader::new(TimeUnit::Seconds, name).map(|_| ())
}

/// How time columns are read.
#[derive(Clone, Debug)]
pub(crate) struct TimeReader {
    unit: TimeUnit,
    /// Zone of times that do not say theirs; `None` is UTC.
    zone: Option<TimeZone>,
}

impl TimeReader {
    /// Reads integers in `unit`, and times without a zone in the zone of this IANA name.
    ///
    /// The zones are compiled in: an image without `/usr/share/zoneinfo` must not read the same
    /// row otherwise.
    pub(crate) fn new(unit: TimeUnit, zone: &str) -> Result<Self, String> {
        let zone = if zone.eq_ignore_ascii_case("UTC") {
            None
        } else {
            Some(jiff::tz::db().get(zone).map_err(|_| {
                format!("there is no time zone {zone:?}; one looks like Europe/Berlin")
            })?)
        };
        Ok(Self { unit, zone })
    }

    /// A column's value as RFC 3339 in UTC; `None` where it has no such form.
    pub(crate) fn read(&self, printed: &[u8], column_type: ColumnType) -> Option<TimeText> {
        let micros = match column_type {
            ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8 => self.integer(printed)?,
            ColumnType::Bool
            | ColumnType::Bytea
            | ColumnType::Text
            | ColumnType::Char
            | ColumnType::Json
            | ColumnType::Jsonb
            | ColumnType::Date
            | ColumnType::Timestamp
            | ColumnType::TimestampTz
            | ColumnType::Other => self.printed(printed)?,
        };
        TimeText::of_unix_micros(micros)
    }

    /// Finer than microseconds is cut off, as Postgres has no finer times either.
    fn integer(&self, printed: &[u8]) -> Option<i64> {
        let number: i64 = std::str::from_utf8(printed).ok()?.parse().ok()?;
        match self.unit {
            TimeUnit::Seconds => number.checked_mul(MICROS_PER_SECOND),
            TimeUnit::Milliseconds => number.checked_mul(1000),
            TimeUnit::Microseconds => Some(number),
            TimeUnit::Nanoseconds => Some(number.div_euclid(1000)),
        }
    }

    /// A date or timestamp as Postgres prints it (`datestyle = ISO`), or as RFC 3339 writes it.
    /// `infinity`, years BC and years of more than four digits are none of these.
    fn printed(&self, printed: &[u8]) -> Option<i64> {
        let mut text = Cursor(printed);
        let (year, month, day) = date(&mut text)?;
        let mut of_day = 0;
        let mut offset = None;
        if !text.0.is_empty() {
            if !(text.skip(b' ') || text.skip(b'T') || text.skip(b't')) {
                return None;
            }
            of_day = time_of_day(&mut text)?;
            offset = read_offset(&mut text)?;
        }
        let local = days_of_civil(year, month, day) * MICROS_PER_DAY + of_day;
        match (offset, &self.zone) {
            (Some(seconds), _) => Some(local - seconds * MICROS_PER_SECOND),
            (None, None) => Some(local),
            (None, Some(zone)) => in_zone(local, zone),
        }
    }
}

/// The instant at which clocks of `zone` show `local`, given as if it were UTC.
///
/// As Postgres' `AT TIME ZONE`: a time that clocks show twice is the later one, a time that they
/// leave out is read with the offset before the change. ("Handling of Invalid or Ambiguous
/// Timestamps" in the manual.)
fn in_zone(local: i64, zone: &TimeZone) -> Option<i64> {
    let timestamp = jiff::Timestamp::from_microsecond(local).ok()?;
    let clock: DateTime = TimeZone::UTC.to_datetime(timestamp);
    Some(zone.to_ambiguous_timestamp(clock).later().ok()?.as_microsecond())
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn skip(&mut self, byte: u8) -> bool {
        match self.0.split_first() {
            Some((first, rest)) if *first == byte => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    fn digit(&mut self) -> Option<i64> {
        let (first, rest) = self.0.split_first()?;
        let digit = first.checked_sub(b'0').filter(|digit| *digit < 10)?;
        self.0 = rest;
        Some(i64::from(digit))
    }

    /// A number of exactly so many digits, at most `greatest`.
    fn number(&mut self, digits: u32, greatest: i64) -> Option<i64> {
        let mut number = 0;
        for _ in 0..digits {
            number = number * 10 + self.digit()?;
        }
        (number <= greatest).then_some(number)
    }
}

fn date(text: &mut Cursor<'_>) -> Option<(i64, i64, i64)> {
    let year = text.number(4, 9999).filter(|year| *year > 0)?;
    let month = after(text, b'-', 12).filter(|month| *month > 0)?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 31,
    };
    let day = after(text, b'-', days).filter(|day| *day > 0)?;
    Some((year, month, day))
}

/// Two digits after a mark.
fn after(text: &mut Cursor<'_>, mark: u8, greatest: i64) -> Option<i64> {
    if text.skip(mark) { text.number(2, greatest) } else { None }
}

/// `10:00:00.123456`, in microseconds.
fn time_of_day(text: &mut Cursor<'_>) -> Option<i64> {
    let hour = text.number(2, 23)?;
    let minute = after(text, b':', 59)?;
    let second = after(text, b':', 59)?;
    let mut fraction = 0;
    if text.skip(b'.') {
        let mut weight = 100_000;
        fraction = text.digit()? * weight;
        while let Some(digit) = text.digit() {
            weight /= 10;
            fraction += digit * weight;
        }
    }
    Some(((hour * 60 + minute) * 60 + second) * MICROS_PER_SECOND + fraction)
}

/// `Z`, `+05`, `-04:56` or `-04:56:02` in seconds, and nothing after it; `Some(None)` when there
/// is no offset.
fn read_offset(text: &mut Cursor<'_>) -> Option<Option<i64>> {
    if text.0.is_empty() {
        return Some(None);
    }
    let mut seconds = 0;
    if !(text.skip(b'Z') || text.skip(b'z')) {
        let sign = if text.skip(b'+') { 1 } else { -1 };
        if sign < 0 && !text.skip(b'-') {
            return None;
        }
        seconds = text.number(2, 23)? * 3600;
        for unit in [60, 1] {
            if !text.0.is_empty() {
                seconds += after(text, b':', 59)? * unit;
            }
        }
        seconds *= sign;
    }
    text.0.is_empty().then_some(Some(seconds))
}

/// Days from 1970-01-01 to a date of the Gregorian calendar, year 1 to 9999.
///
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`.
const fn days_of_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The date so many days after 1970-01-01; `civil_from_days` of the same source.
const fn civil_of_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests;
