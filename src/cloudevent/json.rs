//! JSON (RFC 8259): is a text one, what are an object's members, how is a string written.
//!
//! A syntax check of its own, because `serde_json` allocates for every nested text, and nothing
//! may allocate per event; its answers are compared with `serde_json`'s in the tests. It does not
//! recurse: depth costs one byte a level in memory that is used again.

/// Open objects and arrays while a text is read; memory that is used again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Nesting(Vec<Container>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Container {
    Object,
    Array,
}

/// Not JSON, at this byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Invalid {
    pub(crate) at: usize,
}

/// Whether a text is exactly one JSON value, with white space around it.
pub(crate) fn check(text: &str, nesting: &mut Nesting) -> Result<(), Invalid> {
    let mut scanner = Scanner { text, at: 0 };
    scanner.value(nesting)?;
    scanner.white_space();
    if scanner.at == text.len() { Ok(()) } else { Err(scanner.invalid()) }
}

/// Calls `member` with each member of a JSON object: its name as a JSON string with quotes, its
/// value as JSON text without white space around it.
pub(crate) fn for_each_member<'a, E: From<Invalid>>(
    text: &'a str,
    nesting: &mut Nesting,
    mut member: impl FnMut(&'a str, &'a str) -> Result<(), E>,
) -> Result<(), E> {
    let mut scanner = Scanner { text, at: 0 };
    scanner.white_space();
    scanner.expect(b'{')?;
    scanner.white_space();
    if !scanner.skip(b'}') {
        loop {
            let start = scanner.at;
            scanner.string()?;
            let name = scanner.since(start);
            scanner.colon()?;
            let start = scanner.at;
            scanner.value(nesting)?;
            member(name, scanner.since(start))?;
            scanner.white_space();
            if scanner.skip(b'}') {
                break;
            }
            scanner.expect(b',')?;
            scanner.white_space();
        }
    }
    scanner.white_space();
    if scanner.at == text.len() { Ok(()) } else { Err(scanner.invalid().into()) }
}

/// A string that holds half of a surrogate pair, which is no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LoneSurrogate;

/// Calls `emit` with the pieces of the text that a JSON string stands for.
///
/// `string` is in its quotes and was found to be a JSON string.
pub(crate) fn unescape(string: &str, mut emit: impl FnMut(&str)) -> Result<(), LoneSurrogate> {
    let mut rest = string.strip_prefix('"').unwrap_or(string);
    rest = rest.strip_suffix('"').unwrap_or(rest);
    let mut buffer = [0; 4];
    while let Some((plain, escape)) = rest.split_once('\\') {
        emit(plain);
        let mut characters = escape.chars();
        let character = match characters.next() {
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => {
                let first = hex4(&mut characters);
                match first {
                    0xD800..=0xDBFF => {
                        let low = characters.as_str().strip_prefix("\\u").ok_or(LoneSurrogate)?;
                        characters = low.chars();
                        let second = hex4(&mut characters);
                        if !(0xDC00..=0xDFFF).contains(&second) {
                            return Err(LoneSurrogate);
                        }
                        let code = 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
                        char::from_u32(code).ok_or(LoneSurrogate)?
                    }
                    _ => char::from_u32(first).ok_or(LoneSurrogate)?,
                }
            }
            // A quote, a backslash or a slash.
            Some(other) => other,
            None => break,
        };
        emit(character.encode_utf8(&mut buffer));
        rest = characters.as_str();
    }
    emit(rest);
    Ok(())
}

/// The number of four hexadecimal digits, which were found to be there.
fn hex4(characters: &mut std::str::Chars<'_>) -> u32 {
    characters.by_ref().take(4).fold(0, |code, digit| code << 4 | digit.to_digit(16).unwrap_or(0))
}

/// Appends a text as a JSON string in quotes.
pub(crate) fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text;
    let must_escape = |character: char| matches!(character, '"' | '\\' | '\0'..='\x1f');
    while let Some(at) = rest.find(must_escape) {
        let (plain, from) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.extend_from_slice(plain.as_bytes());
        let mut characters = from.chars();
        match characters.next() {
            Some(character @ ('"' | '\\')) => {
                out.push(b'\\');
                out.extend(u8::try_from(character));
            }
            Some(character) => {
                let code = u32::from(character);
                out.extend_from_slice(b"\\u00");
                for digit in [code >> 4, code & 15] {
                    out.extend(char::from_digit(digit, 16).and_then(|c| u8::try_from(c).ok()));
                }
            }
            None => break,
        }
        rest = characters.as_str();
    }
    out.extend_from_slice(rest.as_bytes());
    out.push(b'"');
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    const fn step(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    const fn invalid(&self) -> Invalid {
        Invalid { at: self.at }
    }

    fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn skip(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        if there {
            self.step();
        }
        there
    }

    fn expect(&mut self, byte: u8) -> Result<(), Invalid> {
        if self.skip(byte) { Ok(()) } else { Err(self.invalid()) }
    }

    fn white_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.step();
        }
    }

    fn colon(&mut self) -> Result<(), Invalid> {
        self.white_space();
        self.expect(b':')?;
        self.white_space();
        Ok(())
    }

    /// One value, whatever is in it.
    fn value(&mut self, nesting: &mut Nesting) -> Result<(), Invalid> {
        nesting.0.clear();
        loop {
            self.white_space();
            match self.peek().ok_or(self.invalid())? {
                b'{' => {
                    self.step();
                    self.white_space();
                    if !self.skip(b'}') {
                        self.string()?;
                        self.colon()?;
                        nesting.0.push(Container::Object);
                        continue;
                    }
                }
                b'[' => {
                    self.step();
                    self.white_space();
                    if !self.skip(b']') {
                        nesting.0.push(Container::Array);
                        continue;
                    }
                }
                b'"' => self.string()?,
                b't' => self.literal("true")?,
                b'f' => self.literal("false")?,
                b'n' => self.literal("null")?,
                _ => self.number()?,
            }
            if self.close(nesting)? {
                return Ok(());
            }
        }
    }

    /// What comes after a value: ends of containers, then a comma. `true` when none is open.
    fn close(&mut self, nesting: &mut Nesting) -> Result<bool, Invalid> {
        while let Some(container) = nesting.0.last() {
            self.white_space();
            match (container, self.peek()) {
                (Container::Object, Some(b'}')) | (Container::Array, Some(b']')) => {
                    self.step();
                    nesting.0.pop();
                }
                (Container::Array, Some(b',')) => {
                    self.step();
                    return Ok(false);
                }
                (Container::Object, Some(b',')) => {
                    self.step();
                    self.white_space();
                    self.string()?;
                    self.colon()?;
                    return Ok(false);
                }
                _ => return Err(self.invalid()),
            }
        }
        Ok(true)
    }

    fn literal(&mut self, word: &str) -> Result<(), Invalid> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        if rest.starts_with(word.as_bytes()) {
            self.at = self.at.saturating_add(word.len());
            Ok(())
        } else {
            Err(self.invalid())
        }
    }

    fn string(&mut self) -> Result<(), Invalid> {
        self.expect(b'"')?;
        loop {
            match self.peek().ok_or(self.invalid())? {
                b'"' => {
                    self.step();
                    return Ok(());
                }
                b'\\' => {
                    self.step();
                    self.escape()?;
                }
                0..0x20 => return Err(self.invalid()),
                _ => self.step(),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Invalid> {
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.step(),
            Some(b'u') => {
                self.step();
                for _ in 0..4 {
                    if !self.peek().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                        return Err(self.invalid());
                    }
                    self.step();
                }
            }
            _ => return Err(self.invalid()),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), Invalid> {
        self.skip(b'-');
        if !self.skip(b'0') {
            self.digits()?;
        }
        if self.skip(b'.') {
            self.digits()?;
        }
        if self.skip(b'e') || self.skip(b'E') {
            if !self.skip(b'+') {
                self.skip(b'-');
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Invalid> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.step();
        }
        if self.at > start { Ok(()) } else { Err(self.invalid()) }
    }
}

#[cfg(test)]
mod tests;
