//! Media types: `datacontenttype`.

/// Whether a text is a media type as RFC 2045 §5.1 writes it, e.g. `text/plain; charset=utf-8`.
///
/// # Errors
///
/// When it is none, or one that marks a structured event: a record in binary mode would then be
/// read as the event that its payload claims to be.
pub fn check_media_type(text: &str) -> Result<(), String> {
    if !is_media_type(text) {
        return Err("is no media type, which looks like application/json or \
                    text/plain; charset=utf-8"
            .to_owned());
    }
    if marks_an_event(text) {
        return Err(
            "is a media type of CloudEvents itself, which would make the payload pass for \
                    an event"
                .to_owned(),
        );
    }
    Ok(())
}

fn is_media_type(text: &str) -> bool {
    let (essence, mut parameters) = match text.split_once(';') {
        Some((essence, parameters)) => (essence, Some(parameters)),
        None => (text, None),
    };
    let Some((kind, subtype)) = essence.trim_end_matches([' ', '\t']).split_once('/') else {
        return false;
    };
    if !is_token(kind) || !is_token(subtype) {
        return false;
    }
    while let Some(text) = parameters {
        match parameter(text.trim_start_matches([' ', '\t'])) {
            Some(rest) => parameters = rest,
            None => return false,
        }
    }
    true
}

/// Reads one `name=value`; what follows its semicolon is returned, `None` inside where none does.
fn parameter(text: &str) -> Option<Option<&str>> {
    let (name, value) = text.split_once('=')?;
    if !is_token(name) {
        return None;
    }
    let rest = match value.strip_prefix('"') {
        Some(quoted) => after_quoted(quoted)?,
        None => {
            let end = value.find([';', ' ', '\t']).unwrap_or(value.len());
            let (token, rest) = value.split_at_checked(end)?;
            if !is_token(token) {
                return None;
            }
            rest
        }
    };
    let rest = rest.trim_start_matches([' ', '\t']);
    if rest.is_empty() { Some(None) } else { rest.strip_prefix(';').map(Some) }
}

/// What follows the quote that ends a quoted string.
fn after_quoted(text: &str) -> Option<&str> {
    let mut characters = text.chars();
    loop {
        match characters.next()? {
            '"' => return Some(characters.as_str()),
            '\\' => {
                characters.next().filter(char::is_ascii)?;
            }
            ' '..='~' => {}
            _ => return None,
        }
    }
}

fn is_token(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(allowed)
}

/// Receivers tell a structured event by this prefix (Kafka protocol binding, "Content Modes").
fn marks_an_event(text: &str) -> bool {
    const PREFIX: &str = "application/cloudevents";
    text.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// Whether data of this type is JSON: subtype `json` or `…+json` (JSON event format, "Payload
/// Serialization"), in upper or lower case, whatever its parameters.
pub(crate) fn is_json(text: &str) -> bool {
    let essence = text.split(';').next().unwrap_or_default().trim_end_matches([' ', '\t']);
    let subtype = essence.split_once('/').map_or("", |(_, subtype)| subtype);
    let suffix = subtype.rsplit('+').next().unwrap_or_default();
    suffix.eq_ignore_ascii_case("json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, accepted: bool, json: bool) {
        assert_eq!((check_media_type(text).is_ok(), is_json(text)), (accepted, json), "{text:?}");
    }

    #[test]
    fn media_types_are_read_by_their_grammar() {
        check("application/json", true, true);
        check("Application/JSON; charset=utf-8", true, true);
        check("application/vnd.acme.order+json", true, true);
        check("application/vnd.acme+json;v=\"1;2\\\"\" ; a=b", true, true);
        check("text/plain", true, false);
        check("text/plain ;charset=\"\"", true, false);
        check("application/jsonl", true, false);
        check("application/json+xml", true, false);
        for text in [
            "",
            "json",
            "a/",
            "/b",
            "a/b/c",
            "a/b;",
            "a/b; c",
            "a/b; c=",
            "a/b; =d",
            "a/b c",
            " a/b",
            "a/b; c=\"d",
            "a/b;c=d e",
            "é/b",
            "a/b\n",
            "a/b; c=\"d\"e",
            "a,b/c",
        ] {
            assert!(check_media_type(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_payload_cannot_pass_for_an_event() {
        for text in [
            "application/cloudevents+json",
            "application/CloudEvents",
            "application/cloudevents-batch+json; charset=UTF-8",
        ] {
            assert!(check_media_type(text).is_err(), "{text:?}");
        }
    }
}
