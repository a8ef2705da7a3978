//! A JSON payload, read once: a tree of parts of its text.
//!
//! Written here because `serde_json` turns a number into a double, or into a `RawValue` that is
//! read again at every level: a number stays its text here, so that whoever writes it decides what
//! it becomes, and loses no digit.
//!
//! Source: RFC 8259; what is read is what `serde_json` reads, which the tests compare.

use std::borrow::Cow;

/// Levels of a payload, as in `serde_json`.
const DEPTH_MAX: usize = 128;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Json<'a> {
    Null,
    Boolean(bool),
    /// The text of a number.
    Number(&'a str),
    Text(Cow<'a, str>),
    Array(Vec<Self>),
    /// The members in their order; a name may be there twice.
    Object(Vec<(Cow<'a, str>, Self)>),
}

/// What does not fit, and where, by names of the schema only: never a value of the row.
#[derive(Debug)]
pub(super) struct Unfit {
    /// Fields from the outermost on.
    pub(super) path: String,
    pub(super) what: String,
}

pub(super) fn unfit<T>(what: impl Into<String>) -> Result<T, Unfit> {
    Err(Unfit::new(what))
}

impl Unfit {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self { path: String::new(), what: what.into() }
    }

    /// The same, in this field.
    pub(super) fn inside(mut self, field: &str) -> Self {
        self.path =
            if self.path.is_empty() { field.to_owned() } else { format!("{field}.{}", self.path) };
        self
    }
}

impl<'a> Json<'a> {
    /// Reads a whole text.
    ///
    /// # Errors
    ///
    /// It is no JSON, half a surrogate pair, or nested too deeply.
    pub(super) fn read(text: &'a str) -> Result<Self, Unfit> {
        let mut reader = Reader { text, bytes: text.as_bytes(), at: 0 };
        let value = reader.value(0);
        reader.blanks();
        match value {
            Some(value) if reader.at == text.len() => Ok(value),
            Some(_) | None => unfit(
                "it cannot be read: it is nested deeper than 128 levels, or has text that is no \
                 Unicode",
            ),
        }
    }

    /// A text.
    pub(super) fn text(&self) -> Result<&str, Unfit> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Null | Self::Boolean(_) | Self::Number(_) | Self::Array(_) | Self::Object(_) => {
                unfit("a text is expected")
            }
        }
    }

    /// The values of an array.
    pub(super) fn array(&self) -> Result<&[Self], Unfit> {
        match self {
            Self::Array(values) => Ok(values),
            Self::Null | Self::Boolean(_) | Self::Number(_) | Self::Text(_) | Self::Object(_) => {
                unfit("an array is expected")
            }
        }
    }

    /// The members of an object.
    pub(super) fn object(&self) -> Result<&[(Cow<'a, str>, Self)], Unfit> {
        match self {
            Self::Object(members) => Ok(members),
            Self::Null | Self::Boolean(_) | Self::Number(_) | Self::Text(_) | Self::Array(_) => {
                unfit("an object is expected")
            }
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn is_next(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn value(&mut self, depth: usize) -> Option<Json<'a>> {
        self.blanks();
        match self.peek()? {
            b'n' => self.word("null", Json::Null),
            b't' => self.word("true", Json::Boolean(true)),
            b'f' => self.word("false", Json::Boolean(false)),
            b'"' => self.string().map(Json::Text),
            b'[' if depth < DEPTH_MAX => self.array(depth + 1),
            b'{' if depth < DEPTH_MAX => self.object(depth + 1),
            _ => self.number(),
        }
    }

    fn word(&mut self, word: &str, value: Json<'a>) -> Option<Json<'a>> {
        self.bytes.get(self.at..)?.starts_with(word.as_bytes()).then(|| {
            self.at += word.len();
            value
        })
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn number(&mut self) -> Option<Json<'a>> {
        let start = self.at;
        self.is_next(b'-');
        if !self.is_next(b'0') {
            self.digits()?;
        }
        if self.is_next(b'.') {
            self.digits()?;
        }
        if self.is_next(b'e') || self.is_next(b'E') {
            if !self.is_next(b'+') {
                self.is_next(b'-');
            }
            self.digits()?;
        }
        self.text.get(start..self.at).map(Json::Number)
    }

    fn string(&mut self) -> Option<Cow<'a, str>> {
        let start = self.at;
        self.at += 1;
        let mut escaped = false;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => {
                    escaped = true;
                    self.at += 2;
                }
                0..=0x1F => return None,
                _ => self.at += 1,
            }
        }
        let inner = self.text.get(start + 1..self.at)?;
        self.at += 1;
        if escaped {
            let quoted = self.text.get(start..self.at)?;
            return serde_json::from_str::<String>(quoted).ok().map(Cow::Owned);
        }
        Some(Cow::Borrowed(inner))
    }

    fn array(&mut self, depth: usize) -> Option<Json<'a>> {
        self.at += 1;
        let mut values = Vec::new();
        self.blanks();
        if self.is_next(b']') {
            return Some(Json::Array(values));
        }
        loop {
            values.push(self.value(depth)?);
            self.blanks();
            if self.is_next(b']') {
                return Some(Json::Array(values));
            }
            if !self.is_next(b',') {
                return None;
            }
        }
    }

    fn object(&mut self, depth: usize) -> Option<Json<'a>> {
        self.at += 1;
        let mut members = Vec::new();
        self.blanks();
        if self.is_next(b'}') {
            return Some(Json::Object(members));
        }
        loop {
            self.blanks();
            if self.peek() != Some(b'"') {
                return None;
            }
            let name = self.string()?;
            self.blanks();
            if !self.is_next(b':') {
                return None;
            }
            members.push((name, self.value(depth)?));
            self.blanks();
            if self.is_next(b'}') {
                return Some(Json::Object(members));
            }
            if !self.is_next(b',') {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The tree as `serde_json` has it, without names that are there twice. `None` where a number is
    /// beyond its `f64`: here its digits are kept, and who needs a number looks whether it is finite.
    fn value(json: &Json<'_>) -> Option<serde_json::Value> {
        Some(match json {
            Json::Null => serde_json::Value::Null,
            Json::Boolean(value) => (*value).into(),
            Json::Number(text) => match serde_json::from_str(text) {
                Err(error) if error.to_string().contains("out of range") => return None,
                number => number.expect("a number"),
            },
            Json::Text(text) => text.as_ref().into(),
            Json::Array(values) => {
                serde_json::Value::Array(values.iter().map(value).collect::<Option<_>>()?)
            }
            Json::Object(members) => {
                let members = members.iter().map(|(name, of)| Some((name.to_string(), value(of)?)));
                serde_json::Value::Object(members.collect::<Option<_>>()?)
            }
        })
    }

    #[track_caller]
    fn check(text: &str) {
        let expected = serde_json::from_str::<serde_json::Value>(text).ok();
        let found = Json::read(text).ok();
        assert_eq!(found.as_ref().and_then(value), expected, "{text:?}");
    }

    #[test]
    fn a_payload_is_read_as_serde_json_reads_it() {
        for text in [
            "null",
            " true ",
            "false",
            "nul",
            "truex",
            "",
            " ",
            "0",
            "-0",
            "01",
            "-",
            "1.",
            ".5",
            "1.50",
            "1e5",
            "1E+5",
            "1e-5",
            "1e",
            "1e+",
            "-0.5e310",
            "+1",
            "\"\"",
            "\"a",
            "\"a\\\"b\"",
            "\"\\",
            "\"\\u00e9\\ud83d\\ude00\"",
            "\"\\ud83d\"",
            "\"\\x\"",
            "\"g\u{fc}rn\"",
            "\"\t\"",
            "[]",
            "[1, [2],{}]",
            "[1,]",
            "[1 2]",
            "[",
            "]",
            "{}",
            "{\"a\": 1, \"a\": 2}",
            "{\"a\" 1}",
            "{a: 1}",
            "{\"a\": 1,}",
            "{\"a\": {\"b\": [null]}}",
            "1 1",
            "\u{a0}1",
        ] {
            check(text);
        }
        check(&format!("{}{}", "[".repeat(127), "]".repeat(127)));
        assert!(Json::read(&"[".repeat(100_000)).is_err());
    }

    proptest! {
        #[test]
        fn no_text_is_read_in_another_way(
            parts in proptest::collection::vec(
                prop_oneof![
                    Just("{"), Just("}"), Just("["), Just("]"), Just(","), Just(":"), Just("\"a\""),
                    Just("\"\\n\""), Just("1"), Just("-0.5e3"), Just("null"), Just("true"), Just(" "),
                    Just("\"\\u12\""), Just("0"), Just("."),
                ],
                0..12,
            )
        ) {
            let text = parts.concat();
            let expected = serde_json::from_str::<serde_json::Value>(&text).ok();
            prop_assert_eq!(Json::read(&text).ok().as_ref().and_then(value), expected);
        }
    }
}
