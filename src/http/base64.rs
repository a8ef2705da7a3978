//! Base64 as HTTP wants it (RFC 4648 section 4), in the one direction that is needed.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Writes bytes in base64, with padding.
pub(super) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let mut bits = [0_u8; 3];
        for (to, from) in bits.iter_mut().zip(group) {
            *to = *from;
        }
        let [a, b, c] = bits;
        let sextets = [a >> 2, (a << 4 | b >> 4) & 63, (b << 2 | c >> 6) & 63, c & 63];
        for (place, sextet) in sextets.into_iter().enumerate() {
            // A group of n bytes has n + 1 digits; padding fills it up to four.
            let digit = ALPHABET.get(usize::from(sextet)).filter(|_| place <= group.len());
            text.push(digit.map_or('=', |digit| char::from(*digit)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::encode;

    #[test]
    fn the_vectors_of_rfc_4648_hold() {
        #[track_caller]
        fn check(bytes: &[u8], expected: &str) {
            assert_eq!(encode(bytes), expected);
        }
        check(b"", "");
        check(b"f", "Zg==");
        check(b"fo", "Zm8=");
        check(b"foo", "Zm9v");
        check(b"foob", "Zm9vYg==");
        check(b"fooba", "Zm9vYmE=");
        check(b"foobar", "Zm9vYmFy");
        check(&[0xFF, 0xFE, 0xFD], "//79");
    }
}
