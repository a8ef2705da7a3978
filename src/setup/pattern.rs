//! Regular expressions of Postgres for the grammars that the encoder checks.
//!
//! Source: PostgreSQL manual, "POSIX Regular Expressions": advanced ones, whose ranges go by code
//! points, and which match a text of many lines as any other.

/// A character that `CloudEvents` refuses in attributes: controls and noncharacters.
pub(super) fn refused_character() -> String {
    let mut class = String::from(r"[\u0001-\u001F\u007F-\u009F\uFDD0-\uFDEF\uFFFE\uFFFF");
    for plane in 1..=0x10 {
        for last in ["FFFE", "FFFF"] {
            class.push_str(&format!(r"\U{plane:04X}{last}"));
        }
    }
    class.push(']');
    class
}

/// A media type (RFC 2045 §5.1).
pub(super) fn media_type() -> String {
    const TOKEN: &str = "[A-Za-z0-9!#$%&'*+.^_`|~-]+";
    const QUOTED: &str = r#""([ !#-\[\]-~]|\\[ -~])*""#;
    format!("^{TOKEN}/{TOKEN}[ \\t]*(;[ \\t]*{TOKEN}=({QUOTED}|{TOKEN})[ \\t]*)*$")
}

/// A media type of JSON; to be compared without regard to case.
pub(super) const JSON_TYPE: &str = "^[^/;]*/([^;]*\\+)?json[ \\t]*(;|$)";

/// Media types that mark an event; to be compared without regard to case.
pub(super) const EVENT_TYPE: &str = "^application/cloudevents";

/// A topic that Kafka takes.
pub(super) const TOPIC: &str = "^[A-Za-z0-9._-]{1,249}$";

/// A date with or without a time of day, that does not say its offset.
pub(super) fn local_time() -> String {
    format!("^{DATE}([ Tt]{TIME})?$")
}

/// A date and a time of day with an offset.
pub(super) fn offset_time() -> String {
    format!("^{DATE}[ Tt]{TIME}([Zz]|[+-]([01][0-9]|2[0-3])(:[0-5][0-9](:[0-5][0-9])?)?)$")
}

const DATE: &str = "[0-9]{4}-[0-9]{2}-[0-9]{2}";
const TIME: &str = "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]+)?";

const SCHEME: &str = "[A-Za-z][A-Za-z0-9+.-]*:";
const PERCENT: &str = "%[0-9A-Fa-f]{2}";
/// Unreserved characters and sub-delimiters, as part of a class.
const NAME: &str = r"A-Za-z0-9._~!$&'()*+,;=\-";

/// A URI reference of RFC 3986 §4.1.
pub(super) fn uri_reference() -> String {
    let tail = tail();
    let (authority, path) = (authority(), format!("([{NAME}:@/]|{PERCENT})*"));
    let plain = format!("([{NAME}@]|{PERCENT})*(/{path})?");
    // What begins with two slashes has an authority, whatever else it could be read as.
    let absolute = format!("{SCHEME}({authority}|(?!//){path})");
    format!("^({absolute}|{authority}|(?!//){plain}){tail}$")
}

/// A URI reference with a scheme.
pub(super) fn absolute_uri() -> String {
    let (authority, tail) = (authority(), tail());
    format!("^{SCHEME}({authority}|(?!//)([{NAME}:@/]|{PERCENT})*){tail}$")
}

/// Query and fragment.
fn tail() -> String {
    let part = format!("([{NAME}:@/?]|{PERCENT})*");
    format!("(\\?{part})?(#{part})?")
}

/// Two slashes, the authority, and the path behind it.
fn authority() -> String {
    let user = format!("(([{NAME}:]|{PERCENT})*@)?");
    let host = format!("(\\[({}|[vV][0-9A-Fa-f]+\\.[{NAME}:]+)\\]|([{NAME}]|{PERCENT})*)", ipv6());
    format!("//{user}{host}(:[0-9]*)?(/([{NAME}:@/]|{PERCENT})*)?")
}

/// An IPv6 address: each number of groups before `::`, and what may follow.
fn ipv6() -> String {
    const GROUP: &str = "[0-9A-Fa-f]{1,4}";
    const OCTET: &str = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
    let ipv4 = format!("{OCTET}(\\.{OCTET}){{3}}");
    let last = format!("({GROUP}:{GROUP}|{ipv4})");
    let mut forms = vec![format!("({GROUP}:){{6}}{last}")];
    for after in (0..=7_usize).rev() {
        // So many groups at most stand before the colons when so many stand behind them.
        let most = 7 - after;
        let before = match most {
            0 => String::new(),
            _ => format!("(({GROUP}:){{0,{}}}{GROUP})?", most - 1),
        };
        let behind = match after {
            0 => String::new(),
            1 => GROUP.to_owned(),
            2 => last.clone(),
            _ => format!("({GROUP}:){{{}}}{last}", after - 2),
        };
        forms.push(format!("{before}::{behind}"));
    }
    format!("({})", forms.join("|"))
}
