//! Spans of time and sizes as people say them.

/// `3 s`, `2 min 5 s`, `1 h 14 min`, `3 d 2 h`: the two largest units, rounded down.
pub(crate) fn spoken(seconds: f64) -> String {
    // `max` also turns NaN into zero, and a span over ten million years is no span.
    let whole = std::time::Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default();
    let total = whole.as_secs();
    let (days, hours, minutes) = (total / 86_400, total / 3_600 % 24, total / 60 % 60);
    let pair = |large: u64, unit: &str, small: u64, rest: &str| {
        if small == 0 {
            format!("{large} {unit}")
        } else {
            format!("{large} {unit} {small} {rest}")
        }
    };
    match total {
        0 if !whole.is_zero() => "under 1 s".to_owned(),
        0..60 => format!("{total} s"),
        60..3_600 => pair(minutes, "min", total % 60, "s"),
        3_600..86_400 => pair(hours, "h", minutes, "min"),
        _ => pair(days, "d", hours, "h"),
    }
}

/// `512 B`, `16.0 MiB`: bytes in binary units.
pub(crate) fn spoken_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut shown = "B";
    for unit in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        shown = unit;
    }
    format!("{value:.1} {shown}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_said_in_its_two_largest_units() {
        #[track_caller]
        fn check(seconds: f64, expected: &str) {
            assert_eq!(spoken(seconds), expected);
        }
        check(0.0, "0 s");
        check(0.3, "under 1 s");
        check(-5.0, "0 s");
        check(f64::NAN, "0 s");
        check(f64::INFINITY, "0 s");
        check(59.9, "59 s");
        check(60.0, "1 min");
        check(125.0, "2 min 5 s");
        check(4_445.0, "1 h 14 min");
        check(86_400.0 * 3.0 + 7_300.0, "3 d 2 h");
    }

    #[test]
    fn bytes_are_said_in_binary_units() {
        #[track_caller]
        fn check(bytes: u64, expected: &str) {
            assert_eq!(spoken_bytes(bytes), expected);
        }
        check(0, "0 B");
        check(1023, "1023 B");
        check(1024, "1.0 KiB");
        check(16 * 1024 * 1024, "16.0 MiB");
        check(u64::MAX, "16384.0 PiB");
    }
}
