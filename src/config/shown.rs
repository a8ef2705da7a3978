//! What of a value may be shown.

use super::kafka::property;
use super::table;

/// Longest part of a value that an error repeats, in characters.
const VALUE_MAX: usize = 200;

/// Whether a variable's value must not be shown at all.
pub(super) fn is_secret(name: &str) -> bool {
    match name.strip_prefix("KAFKA_PROP_") {
        Some(property) => property::is_secret(&property::of_variable(property)),
        None => table::find(name).is_some_and(|variable| variable.secret),
    }
}

/// A variable's value as it may be shown: `***` for a secret, and without the user and password of
/// a URL, wherever it stands.
pub(super) fn value(name: &str, value: &str) -> String {
    if is_secret(name) {
        return "***".to_owned();
    }
    without_user(value)
}

/// As [`value`], and no longer than an error message bears.
pub(super) fn in_error(name: &str, text: &str) -> Option<String> {
    (!is_secret(name)).then(|| value(name, text).chars().take(VALUE_MAX).collect())
}

/// A URL, or an address, without its user and password.
pub(super) fn without_user(text: &str) -> String {
    let Some((before, after)) = text.rsplit_once('@') else { return text.to_owned() };
    match before.split_once("://") {
        Some((scheme, _)) => format!("{scheme}://***@{after}"),
        None if before.contains(':') => format!("***@{after}"),
        // A role such as `walpost@shop`, or a socket in the abstract namespace.
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, text: &str, expected: &str) {
        assert_eq!(value(name, text), expected, "{name}={text:?}");
    }

    #[test]
    fn a_secret_is_stars_and_a_url_has_no_user() {
        check("PGPASSWORD", "hunter2", "***");
        check("PGUSER", "walpost@shop", "walpost@shop");
        check("PGHOST", "@abstract,db", "@abstract,db");
        check("WALPOST_REGISTRY_URL", "https://u:hunter2@reg:8081", "https://***@reg:8081");
        check("WALPOST_REGISTRY_URL", "https://hunter2@reg:8081", "https://***@reg:8081");
        check("KAFKA_BOOTSTRAP_SERVERS", "a:1,u:hun,ter2@b:2", "***@b:2");
        check("KAFKA_BOOTSTRAP_SERVERS", "ssl://u:hunt@er2@b:2", "ssl://***@b:2");
        check("KAFKA_PROP_LINGER_MS", "5", "5");
        check("KAFKA_PROP_SSL_KEY_PEM", "hunter2", "***");
        check("KAFKA_PROP_SASL_PASWORD", "hunter2", "***");
    }

    #[test]
    fn an_error_repeats_a_long_value_in_part_and_a_secret_not_at_all() {
        let long = in_error("PGUSER", &"ä".repeat(300)).expect("no secret");
        assert_eq!(long.chars().count(), VALUE_MAX);
        let url = format!("https://u:{}@reg", "x".repeat(300));
        assert_eq!(in_error("WALPOST_CE_SOURCE", &url).as_deref(), Some("https://***@reg"));
        assert_eq!(in_error("PGPASSWORD", "hunter2"), None);
    }
}
