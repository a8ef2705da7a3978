//! The attribute `source` of a table's rows.

use super::options::EventOptions;
use super::uri;
use crate::outbox::role::TableName;

/// What `source` is where nothing is configured.
///
/// No host name: it would change at a failover, and consumers tell repeats by `source` and `id`.
const DEFAULT: &str = "/{database}/{schema}/{table}";

/// The `source` of rows of `table`.
pub(crate) fn of_table(options: &EventOptions, table: &TableName) -> String {
    let text = options.source.as_deref().unwrap_or(DEFAULT);
    let names = [
        ("{database}", options.database.as_str()),
        ("{schema}", table.schema.as_str()),
        ("{table}", table.table.as_str()),
    ];
    fill(text, &names)
}

/// Puts names, in percent form, where their placeholders are. One pass, so that a name which
/// looks like a placeholder is not taken for one.
fn fill(text: &str, names: &[(&str, &str)]) -> String {
    let mut out = String::new();
    let mut rest = text;
    'text: while !rest.is_empty() {
        for (placeholder, name) in names {
            if let Some(after) = rest.strip_prefix(placeholder) {
                uri::push_segment(&mut out, name);
                rest = after;
                continue 'text;
            }
        }
        let mut characters = rest.chars();
        out.extend(characters.next());
        rest = characters.as_str();
    }
    out
}

/// Whether a text can be `WALPOST_CE_SOURCE`.
///
/// # Errors
///
/// When it is empty or, its placeholders filled, no URI reference of RFC 3986.
pub fn check_source(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("source is empty, and CloudEvents asks for one".to_owned());
    }
    let filled = fill(text, &[("{database}", "d"), ("{schema}", "s"), ("{table}", "t")]);
    if uri::is_reference(&filled) {
        return Ok(());
    }
    Err("source is no URI reference (RFC 3986): write characters that are not allowed in percent \
         form, as in /my%20shop; placeholders are {database}, {schema} and {table}"
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: bool) {
        assert_eq!(check_source(text).is_ok(), expected, "{text:?}");
    }

    #[test]
    fn a_source_is_a_uri_reference_with_placeholders() {
        check("/{database}/{schema}/{table}", true);
        check("https://orders.example.com", true);
        check("urn:shop:{table}", true);
        check("", false);
        check("/{tabel}", false);
        check("/a b", false);
        check("/100%", false);
    }

    #[test]
    fn names_are_put_in_in_percent_form_and_once() {
        let names = [("{database}", "my shop"), ("{schema}", "{table}"), ("{table}", "ö")];
        assert_eq!(fill(DEFAULT, &names), "/my%20shop/%7Btable%7D/%C3%B6");
    }
}
