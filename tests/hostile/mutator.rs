//! Changes of what is well formed, as many small ones as are likely to get far into a reader.

use std::ops::Range;

pub(crate) use crate::random::Random;

impl Random {
    /// A number below `end`, or 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).unwrap();
        usize::try_from(self.next() % end).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }

    /// A place of a list that is not empty.
    fn place(&mut self, bytes: &[u8]) -> usize {
        self.below(bytes.len())
    }

    fn part(&mut self, length: usize, longest: usize) -> Range<usize> {
        let from = self.below(length + 1);
        let long = self.below(longest.min(length - from) + 1);
        from..from + long
    }
}

/// What lengths and numbers are put to.
const EXTREMES: [u64; 14] = [
    0,
    1,
    2,
    3,
    0x7F,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x3FFF_FFFF,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFF,
    u64::MAX,
];

/// Texts that mean something to one reader or another.
const WORDS: [&[u8]; 24] = [
    b"\0",
    b"\xFF\xFE",
    b"\xED\xA0\x80",
    "\u{202E}é\u{1F600}".as_bytes(),
    b"\\u0000",
    b"\\ud800",
    b"\\x",
    b"\\x0",
    b"\"",
    b"\\",
    b"{",
    b"[[[[[[[[[[[[[[[[",
    b"}]",
    b"null",
    b"1e999",
    b"-0.0",
    b"{{a}",
    b"{type}",
    b"%00%zz",
    b"\r\nce_id: x",
    b"infinity",
    b"294276-12-31 23:59:59.999999+00 BC",
    b"99999999999999999999",
    b"=",
];

/// A case: one of the well-formed inputs, changed. Its parts are what the reader gets one after the
/// other.
pub(crate) fn case(random: &mut Random, from: &[Vec<Vec<u8>>]) -> Vec<Vec<u8>> {
    let mut parts = from[random.below(from.len())].clone();
    // Some stay as they are: a reader that refuses everything would pass all else.
    for _ in 0..random.below(5) {
        if random.below(8) == 0 {
            rearrange(random, &mut parts, from);
        } else if !parts.is_empty() {
            let at = random.below(parts.len());
            let other = &from[random.below(from.len())];
            let other = other.get(random.below(other.len())).cloned().unwrap_or_default();
            change(random, &mut parts[at], &other);
        }
    }
    parts
}

fn rearrange(random: &mut Random, parts: &mut Vec<Vec<u8>>, from: &[Vec<Vec<u8>>]) {
    let (one, two) = (random.below(parts.len()), random.below(parts.len()));
    match random.below(4) {
        _ if parts.is_empty() => {}
        0 => drop(parts.remove(one)),
        1 => parts.swap(one, two),
        2 => parts.insert(one, parts[two].clone()),
        _ => {
            let other = &from[random.below(from.len())];
            if let Some(part) = other.get(random.below(other.len())) {
                parts.insert(one, part.clone());
            }
        }
    }
}

fn change(random: &mut Random, bytes: &mut Vec<u8>, other: &[u8]) {
    let length = bytes.len();
    match random.below(10) {
        0 if length > 0 => {
            let at = random.place(bytes);
            bytes[at] ^= 1 << random.below(8);
        }
        1 if length > 0 => {
            let at = random.place(bytes);
            bytes[at] = random.byte();
        }
        2 => bytes.truncate(random.below(length + 1)),
        3 => drop(bytes.drain(random.part(length, 64))),
        4 => {
            let part = random.part(length, 64);
            let copy = bytes[part].to_vec();
            let at = random.below(length + 1);
            bytes.splice(at..at, copy);
        }
        // The beginning of this and the end of that.
        5 => {
            bytes.truncate(random.below(length + 1));
            bytes.extend_from_slice(&other[random.below(other.len() + 1)..]);
        }
        6 => {
            let word = WORDS[random.below(WORDS.len())];
            let part = random.part(length, 16);
            bytes.splice(part, word.iter().copied());
        }
        7 => {
            // Many of one byte: depth, and length.
            let at = random.below(length + 1);
            let byte = [b'[', b'{', b'a', 0, 0xFF, b'"', b'\\'][random.below(7)];
            bytes.splice(at..at, vec![byte; random.below(3_000)]);
        }
        _ => number(random, bytes),
    }
}

/// A number of 2, 4 or 8 bytes at some place becomes an extreme one, or one more or less.
fn number(random: &mut Random, bytes: &mut [u8]) {
    let width = [1, 2, 4, 4, 4, 8][random.below(6)];
    if bytes.len() < width {
        return;
    }
    let at = random.below(bytes.len() - width + 1);
    let field = &mut bytes[at..at + width];
    let mut whole = [0; 8];
    whole[8 - width..].copy_from_slice(field);
    let was = u64::from_be_bytes(whole);
    let now = match random.below(4) {
        0 => was.wrapping_add(1),
        1 => was.wrapping_sub(1),
        _ => EXTREMES[random.below(EXTREMES.len())],
    };
    field.copy_from_slice(&now.to_be_bytes()[8 - width..]);
}
