//! Names inside SQL and inside replication commands, which know no bind parameters.

use super::error::Error;

/// The longest name Postgres keeps, in bytes (`NAMEDATALEN` less one); it cuts longer ones.
const NAME_MAX: usize = 63;

/// A name as an SQL identifier: `"` around it, and each `"` inside doubled.
///
/// Source: PostgreSQL manual, "Identifiers and Key Words".
///
/// # Errors
///
/// The name is empty or holds a NUL, which no identifier can.
pub fn quote_identifier(name: &str) -> Result<String, Error> {
    if name.is_empty() || name.contains('\0') {
        return Err(Error::configuration(format!("{name:?} cannot be the name of anything")));
    }
    Ok(format!("\"{}\"", name.replace('"', "\"\"")))
}

/// A schema and a name, both quoted, with a dot between.
///
/// # Errors
///
/// As [`quote_identifier`].
pub fn quote_qualified(schema: &str, name: &str) -> Result<String, Error> {
    Ok(format!("{}.{}", quote_identifier(schema)?, quote_identifier(name)?))
}

/// A text as an SQL string constant: `'` around it, and each `'` inside doubled.
///
/// This is right for SQL because both of our sessions leave `standard_conforming_strings` on, and
/// right for replication commands, whose grammar knows no other escape.
///
/// # Errors
///
/// The text holds a NUL.
pub fn quote_literal(text: &str) -> Result<String, Error> {
    if text.contains('\0') {
        return Err(Error::configuration(format!("{text:?} cannot be sent to Postgres")));
    }
    Ok(format!("'{}'", text.replace('\'', "''")))
}

/// The names of publications as the value of pgoutput's option `publication_names`: identifiers
/// with commas between, and the whole a string constant.
///
/// # Errors
///
/// A name is empty or holds a NUL, or there is none.
pub fn quote_publications(names: &[&str]) -> Result<String, Error> {
    if names.is_empty() {
        return Err(Error::configuration("no publication is named"));
    }
    let quoted = names.iter().map(|name| quote_identifier(name)).collect::<Result<Vec<_>, _>>()?;
    quote_literal(&quoted.join(","))
}

/// Checks the name of a replication slot: one to 63 lower-case letters, digits and underscores.
///
/// Source: PostgreSQL manual, "Querying and Manipulating Replication Slots".
///
/// # Errors
///
/// The name is not of that form.
pub fn check_slot_name(slot: &str) -> Result<(), Error> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if (1..=NAME_MAX).contains(&slot.len()) && slot.bytes().all(allowed) {
        return Ok(());
    }
    Err(Error::configuration(format!(
        "{slot:?} cannot be the name of a replication slot; allowed are 1 to {NAME_MAX} of a-z, 0-9 and _"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(quoted: Result<String, Error>, expected: Option<&str>) {
        assert_eq!(quoted.ok().as_deref(), expected);
    }

    #[test]
    fn an_identifier_is_quoted() {
        check(quote_identifier("outbox"), Some("\"outbox\""));
        check(quote_identifier("Out box"), Some("\"Out box\""));
        check(quote_identifier("a\"b"), Some("\"a\"\"b\""));
        check(quote_identifier("\"; drop table x; --"), Some("\"\"\"; drop table x; --\""));
        check(quote_identifier(""), None);
        check(quote_identifier("a\0b"), None);
        check(quote_qualified("public", "Out.box"), Some("\"public\".\"Out.box\""));
    }

    #[test]
    fn publications_are_identifiers_inside_a_string() {
        check(quote_publications(&["walpost"]), Some("'\"walpost\"'"));
        check(quote_publications(&["a", "b,c"]), Some("'\"a\",\"b,c\"'"));
        check(quote_publications(&["it's \"x\""]), Some("'\"it''s \"\"x\"\"\"'"));
        check(quote_publications(&[]), None);
        check(quote_publications(&["a\0"]), None);
    }

    #[test]
    fn a_slot_name_is_lower_case_letters_digits_and_underscores() {
        for good in ["walpost", "a", "0_9", &"x".repeat(63)] {
            assert!(check_slot_name(good).is_ok(), "{good}");
        }
        for bad in ["", "Walpost", "a-b", "a b", "ä", "a\"", "a'", "a\0", &"x".repeat(64)] {
            assert!(check_slot_name(bad).is_err(), "{bad}");
        }
    }

    /// Reads what [`quote_identifier`] wrote, by the server's rule.
    fn unquote(quoted: &str, quote: char) -> Option<String> {
        let inner = quoted.strip_prefix(quote)?.strip_suffix(quote)?;
        let mut name = String::new();
        let mut chars = inner.chars();
        while let Some(next) = chars.next() {
            if next == quote && chars.next() != Some(quote) {
                return None;
            }
            name.push(next);
        }
        Some(name)
    }

    proptest! {
        #[test]
        fn every_name_comes_back_or_is_refused(name in any::<String>()) {
            match quote_identifier(&name) {
                Ok(quoted) => prop_assert_eq!(unquote(&quoted, '"'), Some(name.clone())),
                Err(_) => prop_assert!(name.is_empty() || name.contains('\0')),
            }
            if let Ok(quoted) = quote_literal(&name) {
                prop_assert_eq!(unquote(&quoted, '\''), Some(name));
            }
        }
    }
}
