//! Numbers by their text, exactly.

/// Most digits that a decimal may have: enough for every type of a database, and an end.
pub(super) const PRECISION_MAX: usize = 1_000;

/// The integer that a JSON number is when it is multiplied by 10^`scale`: its sign and its digits,
/// without leading zeros, so that zero has none. `None` when it is no integer, or has more digits
/// than `precision`.
pub(super) fn scaled(text: &str, scale: usize, precision: usize) -> Option<(bool, Vec<u8>)> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (text, 0),
    };
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() || (mantissa.contains('.') && part.is_empty()) {
        return None;
    }
    let mut digits = Vec::with_capacity(whole.len() + part.len());
    for byte in whole.bytes().chain(part.bytes()) {
        if !byte.is_ascii_digit() {
            return None;
        }
        digits.push(byte - b'0');
    }
    let leading = digits.iter().take_while(|digit| **digit == 0).count();
    digits.drain(..leading);
    if digits.is_empty() {
        return Some((false, digits));
    }
    // How many zeros follow, or how many digits, which must be zeros, go.
    let shift = i64::try_from(scale)
        .ok()?
        .checked_add(exponent)?
        .checked_sub(i64::try_from(part.len()).ok()?)?;
    if shift < 0 {
        let gone = usize::try_from(shift.checked_neg()?).ok()?;
        let kept = digits.len().checked_sub(gone)?;
        if digits.iter().skip(kept).any(|digit| *digit != 0) {
            return None;
        }
        digits.truncate(kept);
    } else {
        let more = usize::try_from(shift).ok()?;
        if more > precision {
            return None;
        }
        digits.resize(digits.len() + more, 0);
    }
    (digits.len() <= precision).then_some((negative, digits))
}

/// The number as an integer of 64 bits.
pub(super) fn integer(text: &str) -> Option<i64> {
    // 19 digits are the most that fit.
    let (negative, digits) = scaled(text, 0, 19)?;
    digits.iter().try_fold(0_i64, |sum, digit| {
        let digit = i64::from(*digit);
        let sum = sum.checked_mul(10)?;
        if negative { sum.checked_sub(digit) } else { sum.checked_add(digit) }
    })
}

/// The number as an integer of 64 bits without a sign.
pub(super) fn unsigned(text: &str) -> Option<u64> {
    // 20 digits are the most that fit.
    let (negative, digits) = scaled(text, 0, 20)?;
    if negative {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, digit| sum.checked_mul(10)?.checked_add(u64::from(*digit)))
}

/// Two's complement, the most significant byte first, no longer than it must be.
pub(super) fn big_endian(negative: bool, digits: &[u8]) -> Vec<u8> {
    // The least significant byte first.
    let mut bytes: Vec<u8> = Vec::new();
    for digit in digits {
        let mut carry = u16::from(*digit);
        for byte in &mut bytes {
            let product = u16::from(*byte) * 10 + carry;
            let [high, low] = product.to_be_bytes();
            *byte = low;
            carry = u16::from(high);
        }
        if let Some(low) = u8::try_from(carry).ok().filter(|low| *low != 0) {
            bytes.push(low);
        }
    }
    if bytes.is_empty() {
        return vec![0];
    }
    if negative {
        let mut carry = true;
        for byte in &mut bytes {
            let (sum, over) = (!*byte).overflowing_add(u8::from(carry));
            (*byte, carry) = (sum, over);
        }
    }
    let sign_is_set = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    if sign_is_set != negative {
        bytes.push(if negative { 0xFF } else { 0 });
    }
    bytes.reverse();
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_its_text_and_nothing_near_it() {
        #[track_caller]
        fn check(text: &str, scale: usize, expected: Option<&str>) {
            let found = scaled(text, scale, 20).map(|(negative, digits)| {
                let digits: String = digits.iter().map(|digit| char::from(b'0' + digit)).collect();
                format!("{}{digits}", if negative { "-" } else { "" })
            });
            assert_eq!(found.as_deref(), expected, "{text} with scale {scale}");
        }
        check("12.30", 2, Some("1230"));
        check("12.3", 2, Some("1230"));
        check("-0.01", 2, Some("-1"));
        check("12.305", 2, None);
        check("12.3000", 2, Some("1230"));
        check("1e3", 0, Some("1000"));
        check("1.5E+1", 0, Some("15"));
        check("1500e-2", 0, Some("15"));
        check("1501e-2", 0, None);
        check("0.0e9", 2, Some(""));
        check("-0", 2, Some(""));
        check("1e20", 0, None);
        check("1e999999999999", 0, None);
        check("1e-999999999999", 0, None);
        check("99999999999999999999", 0, Some("99999999999999999999"));
        check("100000000000000000000", 0, None);
        check("x", 0, None);
        check("1.", 0, None);
    }

    #[test]
    fn an_integer_has_64_bits() {
        assert_eq!(integer("9223372036854775807"), Some(i64::MAX));
        assert_eq!(integer("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(integer("9223372036854775808"), None);
        assert_eq!(integer("9007199254740993"), Some(9_007_199_254_740_993));
        assert_eq!(integer("1.5"), None);
        assert_eq!(unsigned("18446744073709551615"), Some(u64::MAX));
        assert_eq!(unsigned("18446744073709551616"), None);
        assert_eq!(unsigned("-1"), None);
        assert_eq!(unsigned("-0"), Some(0));
    }

    #[test]
    fn the_bytes_of_a_number_are_those_of_the_machine_without_the_needless_ones() {
        let numbers = [0, 1, -1, 127, 128, -128, -129, 255, 256, 1230, -1230, i64::MAX, i64::MIN];
        for number in numbers {
            let (negative, digits) = scaled(&number.to_string(), 0, 20).expect("a number");
            let found = big_endian(negative, &digits);
            let whole = number.to_be_bytes();
            let sign = if number < 0 { 0xFF } else { 0 };
            let needless = (0..7)
                .take_while(|at| whole[*at] == sign && (whole[at + 1] & 0x80 != 0) == (number < 0))
                .count();
            assert_eq!(found, whole[needless..], "{number}");
        }
    }
}
