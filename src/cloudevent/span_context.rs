//! Debezium's `tracingspancontext`: the text of a `java.util.Properties` with a trace in it.
//!
//! Source: `Properties.load` of the Java documentation; Debezium, "Distributed tracing".

/// Calls `found` with the value of the first property called `key`, in pieces.
///
/// Returns `false` when there is none, or the text is not one that `Properties.load` reads.
pub(crate) fn property(text: &str, key: &str, found: impl FnMut(&str)) -> bool {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\u{c}', '\r', '\n']);
        if rest.is_empty() {
            return false;
        }
        if rest.starts_with(['#', '!']) {
            let end = rest.find(['\r', '\n']).unwrap_or(rest.len());
            rest = rest.get(end..).unwrap_or_default();
            continue;
        }
        let mut name = Matcher { wanted: key, fits: true };
        let Some(after_key) = unescape(rest, Part::Key, |piece| name.take(piece)) else {
            return false;
        };
        let is_key = name.fits && name.wanted.is_empty();
        let value = after_key.trim_start_matches([' ', '\t', '\u{c}']);
        let value = value.strip_prefix(['=', ':']).unwrap_or(value);
        let value = value.trim_start_matches([' ', '\t', '\u{c}']);
        if is_key {
            return unescape(value, Part::Value, found).is_some();
        }
        let Some(after_value) = unescape(value, Part::Value, |_| {}) else { return false };
        rest = after_value;
    }
}

/// Compares a name that comes in pieces.
struct Matcher<'a> {
    wanted: &'a str,
    fits: bool,
}

impl Matcher<'_> {
    fn take(&mut self, piece: &str) {
        match self.wanted.strip_prefix(piece) {
            Some(rest) => self.wanted = rest,
            None => self.fits = false,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Ends at white space, `=` or `:` too.
    Key,
    /// Ends with the line.
    Value,
}

/// Emits a key or value without its escapes and returns what follows it; `None` when an escape
/// is malformed.
fn unescape(text: &str, part: Part, mut emit: impl FnMut(&str)) -> Option<&str> {
    let mut buffer = [0; 4];
    let mut characters = text.chars();
    loop {
        let here = characters.as_str();
        let character = match characters.next() {
            None => return Some(here),
            Some('\r' | '\n') => return Some(here),
            Some(' ' | '\t' | '\u{c}' | '=' | ':') if part == Part::Key => return Some(here),
            Some('\\') => match characters.next() {
                None => return Some(""),
                Some('\r' | '\n') => {
                    // A line that goes on in the next, whose indentation does not count.
                    let next = characters.as_str();
                    characters = next.trim_start_matches([' ', '\t', '\u{c}', '\r', '\n']).chars();
                    continue;
                }
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\u{c}',
                Some('u') => {
                    let mut code = 0;
                    for _ in 0..4 {
                        code = code << 4 | characters.next()?.to_digit(16)?;
                    }
                    char::from_u32(code)?
                }
                Some(other) => other,
            },
            Some(other) => other,
        };
        emit(character.encode_utf8(&mut buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, key: &str, expected: Option<&str>) {
        let mut value = String::new();
        let found = property(text, key, |piece| value.push_str(piece));
        assert_eq!(found.then_some(value.as_str()), expected, "{text:?} {key}");
    }

    #[test]
    fn properties_are_read_as_java_does() {
        // As `Properties.store` writes it: a date, then keys with `:`, `=` and `#` escaped.
        let stored = "#Thu Oct 22 10:15:30 UTC 2026\ntracestate=a\\=1,b\\=2\n\
                      traceparent=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n";
        check(
            stored,
            "traceparent",
            Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        );
        check(stored, "tracestate", Some("a=1,b=2"));
        check(stored, "trace", None);
        check("a : b", "a", Some("b"));
        check("a b", "a", Some("b"));
        check("a\\:b=c", "a:b", Some("c"));
        check("a=\\u00e9\\\n   x\r\nb=2", "a", Some("éx"));
        check("a", "a", Some(""));
        check("", "a", None);
        check("a=\\uzzzz", "a", None);
        check("!a=1\r\n\r\n  a=2", "a", Some("2"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_to_an_end(text in "\\PC*|[ab=:\\\\\\n\\r #!u0]*") {
            property(&text, "a", |_| {});
        }
    }
}
