//! Values with units, and the other plain forms.

use std::time::Duration;

/// A duration with its unit: `250ms`, `30s`, `5m`, `1h`, `7d`; `0` needs none.
///
/// # Errors
/// What is accepted.
pub fn duration(text: &str) -> Result<Duration, String> {
    const UNITS: &[(&str, u64)] =
        &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    let accepted = "a number with a unit: 250ms, 30s, 5m, 1h or 7d";
    with_unit(text, UNITS, accepted).map(Duration::from_millis)
}

/// A size with its unit, in bytes: `500B`, `64KiB`, `16MiB`, `1MB`; `0` needs none.
///
/// # Errors
/// What is accepted.
pub(super) fn size(text: &str) -> Result<u64, String> {
    const UNITS: &[(&str, u64)] = &[
        ("B", 1),
        ("kB", 1_000),
        ("KB", 1_000),
        ("KiB", 1 << 10),
        ("MB", 1_000_000),
        ("MiB", 1 << 20),
        ("GB", 1_000_000_000),
        ("GiB", 1 << 30),
    ];
    with_unit(text, UNITS, "a number with a unit: 500B, 64KiB, 16MiB, 1MB or 1GiB")
}

fn with_unit(text: &str, units: &[(&str, u64)], accepted: &str) -> Result<u64, String> {
    if text == "0" {
        return Ok(0);
    }
    let refused = || format!("expected {accepted}");
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .ok_or_else(|| format!("a unit is missing; expected {accepted}"))?;
    let (digits, unit) = text.split_at_checked(end).ok_or_else(refused)?;
    let number: u64 = digits.parse().map_err(|_| refused())?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit).ok_or_else(refused)?;
    number.checked_mul(*factor).ok_or_else(|| "the value is too large".to_owned())
}

/// One of a closed set of words.
///
/// # Errors
/// The words that are accepted, which `offered` are, and the one that was probably meant.
pub(super) fn choice<T: Copy>(
    text: &str,
    words: &[(&str, T)],
    offered: &[&str],
) -> Result<T, String> {
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let hint = closest(text, offered.iter().copied())
        .map(|word| format!("; did you mean \"{word}\"?"))
        .unwrap_or_default();
    let expected = match offered {
        [first, second] => format!("{first} or {second}"),
        _ => format!("one of {}", offered.join(", ")),
    };
    Err(format!("expected {expected}{hint}"))
}

/// The candidate that was probably meant: a third of its letters may be wrong, at most four.
pub(super) fn closest<'a>(
    text: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .map(|candidate| (distance(text, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).clamp(1, 4))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edits from one text to the other (Levenshtein), without regard to case, `-` as `_`.
pub(super) fn distance(left: &str, right: &str) -> usize {
    let normal = |text: &str| -> Vec<char> {
        text.chars()
            .take(128)
            .map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() })
            .collect()
    };
    let (left, right) = (normal(left), normal(right));
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut diagonal = i;
        let mut before = i + 1;
        if let Some(first) = row.first_mut() {
            *first = before;
        }
        for (b, cell) in right.iter().zip(row.iter_mut().skip(1)) {
            let edited = (diagonal + usize::from(a != b)).min(*cell + 1).min(before + 1);
            diagonal = *cell;
            *cell = edited;
            before = edited;
        }
    }
    row.last().copied().unwrap_or(left.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_duration(text: &str, milliseconds: Option<u64>) {
        let expected = milliseconds.map(Duration::from_millis);
        assert_eq!(duration(text).ok(), expected, "{text:?}");
    }

    #[test]
    fn a_duration_carries_its_unit() {
        check_duration("250ms", Some(250));
        check_duration("30s", Some(30_000));
        check_duration("5m", Some(300_000));
        check_duration("1h", Some(3_600_000));
        check_duration("7d", Some(604_800_000));
        check_duration("0", Some(0));
        for refused in ["30", "", "s", "-1s", "1.5s", "30 s", "30S", "99999999999999999999s"] {
            check_duration(refused, None);
        }
        check_duration("18446744073709551615d", None);
    }

    #[test]
    fn a_size_carries_its_unit() {
        for (text, expected) in [
            ("16MiB", Some(16 << 20)),
            ("1MB", Some(1_000_000)),
            ("64KiB", Some(65_536)),
            ("500B", Some(500)),
            ("0", Some(0)),
            ("16", None),
            ("16M", None),
            ("16 MiB", None),
            ("18446744073709551615GiB", None),
        ] {
            assert_eq!(size(text).ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_word_that_is_refused_is_answered_with_those_that_are_not() {
        let words = [("true", true), ("false", false)];
        assert_eq!(choice("true", &words, &["true", "false"]), Ok(true));
        for (text, expected) in [
            ("yes", "expected true or false"),
            ("True", "expected true or false; did you mean \"true\"?"),
            ("", "expected true or false"),
        ] {
            let refused = choice(text, &words, &["true", "false"]);
            assert_eq!(refused, Err(expected.to_owned()), "{text:?}");
        }
    }

    #[test]
    fn the_word_that_was_meant_is_found() {
        let words = ["verify-full", "verify-ca", "require"];
        for (text, expected) in [
            ("verify_full", Some("verify-full")),
            ("verfy-ca", Some("verify-ca")),
            ("requir", Some("require")),
            ("something", None),
        ] {
            assert_eq!(closest(text, words.into_iter()), expected, "{text:?}");
        }
    }
}
