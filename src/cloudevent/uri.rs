//! URI references, strictly by RFC 3986.
//!
//! Stricter than browsers, because consumers differ in what else they take: a blank, a brace or a
//! lone `%` makes Java's SDK throw, and Go's rewrites other characters than ASCII.

/// `true` for a `URI-reference` of RFC 3986 §4.1, which may be empty.
pub(crate) fn is_reference(text: &str) -> bool {
    let (rest, fragment) = cut(text, '#');
    let (rest, query) = cut(rest, '?');
    let tail_is_fine = [query, fragment]
        .into_iter()
        .flatten()
        .all(|part| is_made_of(part, |byte| is_pchar(byte) || matches!(byte, b'/' | b'?')));
    tail_is_fine && is_hierarchy(after_scheme(rest), scheme_of(rest).is_none())
}

/// `true` for a reference that has a scheme.
pub(crate) fn is_absolute(text: &str) -> bool {
    is_reference(text) && scheme_of(cut(cut(text, '#').0, '?').0).is_some()
}

/// Appends `segment` as one path segment: everything but unreserved characters in percent form.
pub(crate) fn push_segment(out: &mut String, segment: &str) {
    for byte in segment.bytes() {
        if is_unreserved(byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for digit in [byte >> 4, byte & 15] {
                let digit = char::from_digit(u32::from(digit), 16).unwrap_or('0');
                out.push(digit.to_ascii_uppercase());
            }
        }
    }
}

fn cut(text: &str, mark: char) -> (&str, Option<&str>) {
    text.split_once(mark).map_or((text, None), |(before, after)| (before, Some(after)))
}

/// The scheme of a reference without query and fragment.
fn scheme_of(rest: &str) -> Option<&str> {
    let (scheme, _) = rest.split_once(':')?;
    let mut bytes = scheme.bytes();
    let fits = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    fits.then_some(scheme)
}

fn after_scheme(rest: &str) -> &str {
    match (scheme_of(rest), rest.split_once(':')) {
        (Some(_), Some((_, after))) => after,
        _ => rest,
    }
}

/// `hier-part` or, without a scheme, `relative-part`.
fn is_hierarchy(text: &str, relative: bool) -> bool {
    let Some(rest) = text.strip_prefix("//") else {
        let first = text.split('/').next().unwrap_or_default();
        // A colon in the first segment of a relative path would be read as a scheme (§4.2).
        return is_path(text) && !(relative && first.contains(':'));
    };
    let end = rest.find('/').unwrap_or(rest.len());
    match rest.split_at_checked(end) {
        Some((authority, path)) => is_authority(authority) && is_path(path),
        None => false,
    }
}

fn is_path(path: &str) -> bool {
    is_made_of(path, |byte| is_pchar(byte) || byte == b'/')
}

fn is_authority(authority: &str) -> bool {
    let (user, host) =
        authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    let is_name = |byte| is_unreserved(byte) || is_sub_delimiter(byte);
    let user_is_fine =
        user.is_none_or(|user| is_made_of(user, |byte| is_name(byte) || byte == b':'));
    let (host_is_fine, port) = match host.strip_prefix('[') {
        Some(literal) => match literal.split_once(']') {
            Some((address, after)) => (is_ip_literal(address), after),
            None => (false, ""),
        },
        None => {
            let end = host.find(':').unwrap_or(host.len());
            let (name, after) = host.split_at_checked(end).unwrap_or((host, ""));
            (is_made_of(name, is_name), after)
        }
    };
    let port_is_fine = port.is_empty()
        || port.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()));
    user_is_fine && host_is_fine && port_is_fine
}

/// What may stand in brackets: an IPv6 address or an address of a future version.
fn is_ip_literal(address: &str) -> bool {
    match address.strip_prefix(['v', 'V']) {
        Some(future) => future.split_once('.').is_some_and(|(version, rest)| {
            let is_rest = |byte| is_unreserved(byte) || is_sub_delimiter(byte) || byte == b':';
            !version.is_empty()
                && version.bytes().all(|byte| byte.is_ascii_hexdigit())
                && !rest.is_empty()
                && rest.bytes().all(is_rest)
        }),
        None => address.parse::<std::net::Ipv6Addr>().is_ok(),
    }
}

/// Every byte is allowed by itself or begins a percent form.
fn is_made_of(text: &str, allowed: impl Fn(u8) -> bool) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let fine = if byte == b'%' {
            let mut digit = || bytes.next().is_some_and(|byte| byte.is_ascii_hexdigit());
            digit() && digit()
        } else {
            allowed(byte)
        };
        if !fine {
            return false;
        }
    }
    true
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

const fn is_sub_delimiter(byte: u8) -> bool {
    matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
}

const fn is_pchar(byte: u8) -> bool {
    is_unreserved(byte) || is_sub_delimiter(byte) || matches!(byte, b':' | b'@')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the text is a reference, and whether it is absolute.
    #[track_caller]
    fn check(text: &str, reference: bool, absolute: bool) {
        assert_eq!((is_reference(text), is_absolute(text)), (reference, absolute), "{text:?}");
    }

    #[test]
    fn references_are_read_strictly() {
        for text in ["", "a", "/a/b", "//h", "//h:80/a", "?q", "#f", "a/b:c", "./a:b", "..", "//"] {
            check(text, true, false);
        }
        for text in [
            "http://example.com",
            "http://u:p@h:80/a?b=c/d?#f",
            "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66",
            "mailto:a@b.c",
            "file:///etc",
            "http://[::1]:8080/",
            "http://[v1.a:b]/",
            "a:",
            "http://h/%7Ea",
        ] {
            check(text, true, true);
        }
        for text in [
            "a b",
            "{a}",
            "%",
            "%4",
            "%zz",
            "é",
            "a:b:c d",
            "1a:b",
            "http://h:x/",
            "http://[::1",
            "http://[::g]/",
            "http://h/[",
            "a#b#c",
            "a\\b",
            "\"",
            "<a>",
            "a^b",
            "a|b",
            "`",
            "http://[::1]x/",
            "http://[v.a]/",
            ":a",
            "a\n",
            "http://a@b@c/",
        ] {
            check(text, false, false);
        }
    }

    #[test]
    fn a_segment_keeps_only_unreserved_characters() {
        let mut out = String::from("/");
        push_segment(&mut out, "a-b._~Z9 é/%:?");
        assert_eq!(out, "/a-b._~Z9%20%C3%A9%2F%25%3A%3F");
        assert!(is_reference(&out));
    }

    proptest::proptest! {
        #[test]
        fn any_segment_makes_a_reference(name in "\\PC*") {
            let mut out = String::from("/");
            push_segment(&mut out, &name);
            proptest::prop_assert!(is_reference(&out), "{}", out);
        }
    }
}
