//! Goal: a time is written as RFC 3339 in UTC or refused, never shifted.
//! Method: times as Postgres prints them, and every microsecond there and back.

use super::*;

#[track_caller]
fn check(column_type: ColumnType, zone: &str, printed: &str, expected: Option<&str>) {
    let reader = TimeReader::new(TimeUnit::Milliseconds, zone).expect(zone);
    let text = reader.read(printed.as_bytes(), column_type);
    assert_eq!(text.as_ref().map(TimeText::as_str), expected, "{printed:?} in {zone}");
}

#[test]
fn a_timestamp_with_time_zone_becomes_rfc_3339_in_utc() {
    for (printed, expected) in [
        ("2024-05-01 10:00:00.123456+00", Some("2024-05-01T10:00:00.123456Z")),
        ("2024-05-01 10:00:00.1+00", Some("2024-05-01T10:00:00.100000Z")),
        ("2024-05-01 10:00:00+00", Some("2024-05-01T10:00:00Z")),
        ("2024-05-01 15:30:00+05:30", Some("2024-05-01T10:00:00Z")),
        ("1883-11-18 11:59:59-04:56:02", Some("1883-11-18T16:56:01Z")),
        ("0001-01-01 00:00:00+00", Some("0001-01-01T00:00:00Z")),
        ("9999-12-31 23:59:59.999999+00", Some("9999-12-31T23:59:59.999999Z")),
        ("9999-12-31 23:59:59-01", None),
        ("0001-01-01 00:00:00+01", None),
        ("10000-01-01 00:00:00+00", None),
        ("0001-01-01 00:00:00+00 BC", None),
        ("infinity", None),
        ("-infinity", None),
        ("", None),
        ("2024-02-30 00:00:00+00", None),
    ] {
        check(ColumnType::TimestampTz, "Europe/Berlin", printed, expected);
    }
}

#[test]
fn a_timestamp_without_time_zone_is_read_in_the_configured_zone() {
    let check = |zone, printed, expected| {
        check(ColumnType::Timestamp, zone, printed, expected);
    };
    check("UTC", "2024-05-01 10:00:00.5", Some("2024-05-01T10:00:00.500000Z"));
    check("Europe/Berlin", "2024-05-01 10:00:00", Some("2024-05-01T08:00:00Z"));
    check("Europe/Berlin", "2024-01-01 10:00:00", Some("2024-01-01T09:00:00Z"));
    // Recorded from Postgres 15: `select timestamp '…' at time zone 'America/New_York'`.
    check("America/New_York", "2021-11-07 01:30:00", Some("2021-11-07T06:30:00Z"));
    check("America/New_York", "2018-03-11 02:30:00", Some("2018-03-11T07:30:00Z"));
}

#[test]
fn a_date_is_its_midnight_in_the_configured_zone() {
    check(ColumnType::Date, "UTC", "2024-05-01", Some("2024-05-01T00:00:00Z"));
    check(ColumnType::Date, "Asia/Kolkata", "2024-05-01", Some("2024-04-30T18:30:00Z"));
    check(ColumnType::Date, "UTC", "infinity", None);
    check(ColumnType::Date, "UTC", "2023-02-29", None);
}

#[test]
fn a_text_is_a_time_as_rfc_3339_writes_it() {
    for (printed, expected) in [
        ("2024-05-01T10:00:00Z", Some("2024-05-01T10:00:00Z")),
        ("2024-05-01t10:00:00.123456789z", Some("2024-05-01T10:00:00.123456Z")),
        ("2024-05-01T10:00:00+02:00", Some("2024-05-01T08:00:00Z")),
        ("2024-05-01T10:00:00+02:00x", None),
        ("2024-05-01T10:00", None),
        ("2024-05-01T10:00:00.Z", None),
        ("2024-05-01T24:00:00Z", None),
        ("2024-05-01T10:00:60Z", None),
        ("1.5.2024", None),
        ("yesterday", None),
    ] {
        check(ColumnType::Text, "UTC", printed, expected);
    }
}

#[test]
fn an_integer_counts_units_since_1970() {
    let check = |unit, printed: &str, expected: Option<&str>| {
        let reader = TimeReader::new(unit, "UTC").expect("UTC");
        let text = reader.read(printed.as_bytes(), ColumnType::Int8);
        assert_eq!(text.as_ref().map(TimeText::as_str), expected, "{printed:?} {unit:?}");
    };
    check(TimeUnit::Seconds, "1714557600", Some("2024-05-01T10:00:00Z"));
    check(TimeUnit::Milliseconds, "1714557600123", Some("2024-05-01T10:00:00.123000Z"));
    check(TimeUnit::Microseconds, "1714557600123456", Some("2024-05-01T10:00:00.123456Z"));
    check(TimeUnit::Nanoseconds, "1714557600123456789", Some("2024-05-01T10:00:00.123456Z"));
    check(TimeUnit::Nanoseconds, "-1", Some("1969-12-31T23:59:59.999999Z"));
    check(TimeUnit::Seconds, "9223372036854775807", None);
    check(TimeUnit::Milliseconds, "9223372036854775807", None);
}

#[test]
fn an_unknown_zone_is_refused() {
    let refused = TimeReader::new(TimeUnit::Seconds, "Mars/Olympus").expect_err("no zone");
    assert_eq!(refused, "there is no time zone \"Mars/Olympus\"; one looks like Europe/Berlin");
}

proptest::proptest! {
    #[test]
    fn every_day_survives_the_way_there_and_back(micros in EARLIEST..=LATEST) {
        let text = TimeText::of_unix_micros(micros).expect("in range");
        let reader = TimeReader::new(TimeUnit::Seconds, "UTC").expect("UTC");
        proptest::prop_assert_eq!(reader.printed(text.as_str().as_bytes()), Some(micros));
    }

    #[test]
    fn arbitrary_bytes_are_a_time_or_none(bytes in proptest::collection::vec(0_u8.., 0..40)) {
        let reader = TimeReader::new(TimeUnit::Seconds, "Europe/Berlin").expect("zone");
        for column_type in [ColumnType::Int8, ColumnType::Timestamp] {
            if let Some(text) = reader.read(&bytes, column_type) {
                proptest::prop_assert!((20..=27).contains(&text.as_str().len()));
            }
        }
    }
}
