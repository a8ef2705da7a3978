//! `DATABASE_URL`: `postgres://user:password@host:port,host:port/database?parameter=value`.
//!
//! No error repeats any part of the URL, because any part may be the password: with a `/` in it
//! that is not in percent form, its beginning stands where the port is and its end where the
//! database is.
//!
//! Source: PostgreSQL manual, "Connection URIs" (libpq); `conninfo_uri_parse_options` in libpq's
//! `fe-connect.c`.

use super::value::closest;

/// Parameters of the URL, and the variable that each stands for.
pub(super) const PARAMETERS: &[(&str, &str)] = &[
    ("host", "PGHOST"),
    ("port", "PGPORT"),
    ("dbname", "PGDATABASE"),
    ("user", "PGUSER"),
    ("password", "PGPASSWORD"),
    ("sslmode", "PGSSLMODE"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("channel_binding", "PGCHANNELBINDING"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("target_session_attrs", "PGTARGETSESSIONATTRS"),
];

/// Parameters that libpq knows and walpost has no use for.
const NOT_USED: &[&str] = &["application_name", "options", "fallback_application_name"];

/// What a URL says, by the variable that each part stands for.
#[derive(Default)]
pub(super) struct Url {
    parts: Vec<(&'static str, String)>,
    /// What the user should know although it is no mistake.
    pub(super) warnings: Vec<String>,
}

impl Url {
    /// The part that stands for a variable.
    pub(super) fn part(&self, variable: &str) -> Option<&str> {
        self.parts.iter().find(|(name, _)| *name == variable).map(|(_, value)| value.as_str())
    }

    /// All parts, with the variables that they stand for.
    pub(super) fn parts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.parts.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// Takes a URL apart.
    ///
    /// # Errors
    /// What is wrong, without any part of the URL.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with(['"', '\'']) {
            return Err("begins with a quote; give the URL without quotes".to_owned());
        }
        let rest = text
            .strip_prefix("postgres://")
            .or_else(|| text.strip_prefix("postgresql://"))
            .ok_or("expected postgres://user:password@host:port/database")?;
        if rest.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err("has a space or a control character; write it in percent form".to_owned());
        }
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, q)| (rest, Some(q)));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        if database.contains('@') {
            return Err("has a / before its @; write / in a password as %2F".to_owned());
        }
        let mut url = Self::default();
        let hosts = match authority.rsplit_once('@') {
            Some((userinfo, hosts)) => {
                url.set_user(userinfo)?;
                hosts
            }
            None => authority,
        };
        url.set_hosts(hosts)?;
        url.set("PGDATABASE", decode(database)?);
        for pair in query.into_iter().flat_map(|query| query.split('&')) {
            if !pair.is_empty() {
                url.set_parameter(pair)?;
            }
        }
        Ok(url)
    }

    /// A later value replaces an earlier one; an empty one says nothing.
    fn set(&mut self, variable: &'static str, value: String) {
        if !value.is_empty() {
            self.parts.retain(|(name, _)| *name != variable);
            self.parts.push((variable, value));
        }
    }

    fn set_user(&mut self, userinfo: &str) -> Result<(), String> {
        if userinfo.contains('@') {
            return Err("has more than one @; write @ in a user or password as %40".to_owned());
        }
        let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        self.set("PGUSER", decode(user)?);
        self.set("PGPASSWORD", decode(password)?);
        Ok(())
    }

    /// `host:port,host:port`, an IPv6 address in brackets, a socket directory in percent form.
    fn set_hosts(&mut self, text: &str) -> Result<(), String> {
        let mut names = Vec::new();
        let mut ports = Vec::new();
        for host in text.split(',') {
            let (name, port) = match host.strip_prefix('[') {
                Some(rest) => match rest.split_once(']') {
                    Some((name, "")) => (name, ""),
                    Some((name, rest)) if rest.starts_with(':') => (name, rest.trim_matches(':')),
                    Some(_) | None => {
                        return Err("has an IPv6 address whose brackets are wrong".to_owned());
                    }
                },
                None => host.split_once(':').unwrap_or((host, "")),
            };
            if port.contains(':') {
                return Err("has a host with more than one colon; an IPv6 address stands in \
                            brackets, and : in a password is %3A"
                    .to_owned());
            }
            let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
            if !port.is_empty() && !is_port {
                return Err("has a port that is no number from 1 to 65535; if that is in a \
                            password, write / as %2F, ? as %3F and @ as %40"
                    .to_owned());
            }
            let name = decode(name)?;
            if name.contains(',') {
                return Err("has a host with a comma in percent form".to_owned());
            }
            names.push(name);
            ports.push(port);
        }
        if names.iter().any(|name| !name.is_empty()) {
            self.set("PGHOST", names.join(","));
        }
        if ports.iter().any(|port| !port.is_empty()) {
            self.set("PGPORT", ports.join(","));
        }
        Ok(())
    }

    fn set_parameter(&mut self, pair: &str) -> Result<(), String> {
        let (key, value) = pair
            .split_once('=')
            .ok_or("has a parameter without =; write ? in a password as %3F")?;
        let (key, value) = (decode(key)?, decode(value)?);
        if let Some((_, variable)) = PARAMETERS.iter().find(|(name, _)| *name == key) {
            self.set(variable, value);
        } else if key == "ssl" && value == "true" {
            // As libpq does, for URLs made for JDBC.
            self.set("PGSSLMODE", "require".to_owned());
        } else if let Some(name) = NOT_USED.iter().find(|name| **name == key) {
            self.warnings.push(format!("the parameter {name} of DATABASE_URL is not used"));
        } else {
            let names = || PARAMETERS.iter().map(|(name, _)| *name);
            return Err(match closest(&key, names()) {
                Some(meant) => format!("has an unknown parameter; did you mean {meant}?"),
                None => {
                    let names: Vec<_> = names().collect();
                    format!("has an unknown parameter; known are {}", names.join(", "))
                }
            });
        }
        Ok(())
    }
}

/// Undoes percent-encoding. A NUL would end the text early on its way to the server.
fn decode(text: &str) -> Result<String, String> {
    let refused = || "has a wrong percent-encoding; encode % as %25, @ as %40, / as %2F".to_owned();
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err(refused()) };
        match u8::try_from(high * 16 + low) {
            Ok(byte) if byte != 0 => bytes.push(byte),
            Ok(_) | Err(_) => return Err(refused()),
        }
    }
    String::from_utf8(bytes).map_err(|_| refused())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)]) {
        let url = Url::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let mut parts: Vec<_> = url.parts().collect();
        parts.sort_unstable();
        assert_eq!(parts, expected, "{text}");
    }

    #[test]
    fn a_url_has_the_parts_that_libpq_finds_in_it() {
        check("postgres://", &[]);
        check("postgresql:///", &[]);
        check(
            "postgresql://u:p@db:5433/shop",
            &[
                ("PGDATABASE", "shop"),
                ("PGHOST", "db"),
                ("PGPASSWORD", "p"),
                ("PGPORT", "5433"),
                ("PGUSER", "u"),
            ],
        );
        check("postgres://a,b:5433/", &[("PGHOST", "a,b"), ("PGPORT", ",5433")]);
        check("postgres://[::1]:5433,[fd00::2]", &[("PGHOST", "::1,fd00::2"), ("PGPORT", "5433,")]);
        check("postgres://%2Ftmp/shop", &[("PGDATABASE", "shop"), ("PGHOST", "/tmp")]);
        check("postgres:///shop?host=/tmp", &[("PGDATABASE", "shop"), ("PGHOST", "/tmp")]);
        check("postgres://db?host=other&host=last", &[("PGHOST", "last")]);
        check("postgres://u%40x:p%2F%3F%3A%25w@", &[("PGPASSWORD", "p/?:%w"), ("PGUSER", "u@x")]);
        check("postgres://u:a:b@", &[("PGPASSWORD", "a:b"), ("PGUSER", "u")]);
        check("postgres://?ssl=true", &[("PGSSLMODE", "require")]);
        check("postgres://?dbname=d&user=u&", &[("PGDATABASE", "d"), ("PGUSER", "u")]);
    }

    #[test]
    fn parameters_without_a_use_are_warned_of() {
        let url = Url::parse("postgres://db?application_name=x&options=-c%20a%3Db").expect("url");
        assert_eq!(url.warnings.len(), 2, "{:?}", url.warnings);
        assert_eq!(url.part("PGHOST"), Some("db"));
    }

    #[track_caller]
    fn check_refused(text: &str, expected: &str) {
        let refused = Url::parse(text).map(|_| ()).expect_err(text);
        assert!(refused.contains(expected), "{text}: {refused}");
    }

    #[test]
    fn what_is_wrong_is_said() {
        check_refused("mysql://u@db/shop", "expected postgres://");
        check_refused("\"postgres://u@db/shop\"", "without quotes");
        check_refused("postgres://u@db/shop ", "space");
        check_refused("postgres://u:a/b@db/shop", "write / in a password as %2F");
        check_refused("postgres://u:a@b@db/shop", "write @ in a user or password as %40");
        check_refused("postgres://u:a?b@db/shop", "? as %3F");
        check_refused("postgres://u:5?b@db/shop", "write ? in a password as %3F");
        check_refused("postgres://u:a", "no number from 1 to 65535");
        check_refused("postgres://db:0", "no number from 1 to 65535");
        check_refused("postgres://db:65536", "no number from 1 to 65535");
        check_refused("postgres://::1", "stands in brackets");
        check_refused("postgres://[::1", "brackets are wrong");
        check_refused("postgres://[::1]5432", "brackets are wrong");
        check_refused("postgres://a%2Cb", "comma");
        for wrong in ["%", "%4", "%zz", "%00", "%ff"] {
            check_refused(&format!("postgres://u:{wrong}@db"), "percent-encoding");
        }
        check_refused("postgres://db?sslmod=require", "did you mean sslmode?");
        check_refused("postgres://db?keepalives=1", "known are host, port");
        check_refused("postgres://db?ssl=1", "unknown parameter");
    }

    proptest! {
        #[test]
        fn no_error_repeats_a_password_however_it_is_written(
            before in "[a-z0-9/?@:%#&=,\\[\\]]{0,8}",
            after in "[a-z0-9/?@:%#&=,\\[\\]]{0,8}",
        ) {
            let url = format!("postgres://walpost:{before}CANARY{after}@db:5432/shop?sslmode=x");
            if let Err(refused) = Url::parse(&url) {
                prop_assert!(!refused.contains("CANARY"), "{url}: {refused}");
            }
        }

        #[test]
        fn arbitrary_text_never_panics(text in ".*") {
            drop(Url::parse(&text));
            drop(Url::parse(&format!("postgres://{text}")));
        }
    }
}
