//! `DATABASE_URL` and libpq's variables.
//!
//! As in libpq, the parts of the URL win over the variables. Source: PostgreSQL manual,
//! "Connection URIs" and "Environment Variables" (libpq).

use std::path::PathBuf;
use std::time::Duration;

use super::env::Origin;
use super::reader::Reader;
use super::value::{choice, closest};
use crate::postgres::options::{
    ChannelBinding, ConnectOptions, Host, HostAddress, RootCertificates, SslMode,
    TargetSessionAttrs,
};
use crate::secret::Secret;

/// Parameters of the URL, and the variable that each stands for.
const PARAMETERS: &[(&str, &str)] = &[
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

/// libpq variables that walpost does not take, and that a user may believe it does.
const NOT_TAKEN: &[&str] = &[
    "PGAPPNAME",
    "PGOPTIONS",
    "PGSERVICE",
    "PGSERVICEFILE",
    "PGPASSFILE",
    "PGHOSTADDR",
    "PGSSLCRL",
    "PGSSLNEGOTIATION",
    "PGREQUIREAUTH",
    "PGKRBSRVNAME",
    "PGGSSENCMODE",
    "PGREQUIRESSL",
    "PGSSLCERTMODE",
    "PGREQUIREPEER",
    "PGLOADBALANCEHOSTS",
];

const SSL_MODES: &[(&str, SslMode)] = &[
    ("disable", SslMode::Disable),
    ("allow", SslMode::Allow),
    ("prefer", SslMode::Prefer),
    ("require", SslMode::Require),
    ("verify-ca", SslMode::VerifyCa),
    ("verify-full", SslMode::VerifyFull),
];

const CHANNEL_BINDINGS: &[(&str, ChannelBinding)] = &[
    ("disable", ChannelBinding::Disable),
    ("prefer", ChannelBinding::Prefer),
    ("require", ChannelBinding::Require),
];

const SESSION_ATTRS: &[(&str, TargetSessionAttrs)] = &[
    ("any", TargetSessionAttrs::Any),
    ("read-write", TargetSessionAttrs::ReadWrite),
    ("read-only", TargetSessionAttrs::ReadOnly),
    ("primary", TargetSessionAttrs::Primary),
    ("standby", TargetSessionAttrs::Standby),
    ("prefer-standby", TargetSessionAttrs::PreferStandby),
];

/// What the URL says, by the variable that each part stands for.
#[derive(Default)]
struct Url(Vec<(&'static str, String)>);

/// Reads where the database is. Gives something usable also after mistakes, which are noted.
pub(super) fn read(reader: &mut Reader<'_>) -> ConnectOptions {
    for name in NOT_TAKEN {
        if reader.names().iter().any(|set| set == name) {
            reader.warn(format!("{name} is not used by walpost"));
        }
    }
    let url = match reader.filled("DATABASE_URL") {
        Some(text) => match parse_url(&text) {
            Ok((url, warnings)) => {
                for warning in warnings {
                    reader.warn(warning);
                }
                url
            }
            Err(reason) => {
                reader.problem("DATABASE_URL", None, reason);
                Url::default()
            }
        },
        None => Url::default(),
    };
    let part = |name: &'static str, reader: &mut Reader<'_>| part(&url, name, reader);
    let hosts_text = part("PGHOST", reader);
    let ports_text = part("PGPORT", reader);
    let hosts = hosts(hosts_text.as_deref(), ports_text.as_deref(), reader);
    let user = part("PGUSER", reader).unwrap_or_default();
    if user.is_empty() {
        reader.problem("PGUSER", None, "is required, or a user in DATABASE_URL");
    }
    let database = part("PGDATABASE", reader).unwrap_or_else(|| user.clone());
    let word = |name, reader: &mut Reader<'_>| part(name, reader).map(|value| (name, value));
    let sslmode = pick(word("PGSSLMODE", reader), SSL_MODES, reader);
    let channel_binding = pick(word("PGCHANNELBINDING", reader), CHANNEL_BINDINGS, reader);
    let attrs = pick(word("PGTARGETSESSIONATTRS", reader), SESSION_ATTRS, reader);
    let sslrootcert = part("PGSSLROOTCERT", reader).map(|value| {
        if value == "system" {
            RootCertificates::System
        } else {
            RootCertificates::File(PathBuf::from(value))
        }
    });
    let sslcert = part("PGSSLCERT", reader).map(PathBuf::from);
    let sslkey = part("PGSSLKEY", reader).map(PathBuf::from);
    if sslcert.is_some() != sslkey.is_some() {
        reader.problem("PGSSLCERT", None, "and PGSSLKEY go together; set both or none");
    }
    let connect_timeout = part("PGCONNECT_TIMEOUT", reader);
    let connect_timeout = seconds(connect_timeout.as_deref(), reader);
    ConnectOptions {
        hosts,
        database,
        user,
        password: part("PGPASSWORD", reader).map(Secret::new),
        sslmode,
        sslrootcert,
        sslcert,
        sslkey,
        channel_binding: channel_binding.unwrap_or(ChannelBinding::Prefer),
        connect_timeout,
        target_session_attrs: attrs.unwrap_or(TargetSessionAttrs::ReadWrite),
        application_name: String::new(),
        wal_sender_timeout: Duration::ZERO,
    }
}

/// A part: from the URL, else from its variable.
fn part(url: &Url, name: &'static str, reader: &mut Reader<'_>) -> Option<String> {
    match url.0.iter().find(|(variable, _)| *variable == name) {
        Some((_, value)) => {
            reader.effective(name, value.clone(), Origin::Url);
            Some(value.clone())
        }
        None => reader.filled(name),
    }
}

fn pick<T: Copy>(
    value: Option<(&'static str, String)>,
    words: &[(&str, T)],
    reader: &mut Reader<'_>,
) -> Option<T> {
    let (name, value) = value?;
    match choice(&value, words) {
        Ok(picked) => Some(picked),
        Err(reason) => {
            reader.refuse(name, &value, reason);
            None
        }
    }
}

fn seconds(value: Option<&str>, reader: &mut Reader<'_>) -> Duration {
    const DEFAULT: Duration = Duration::from_secs(10);
    let Some(value) = value else { return DEFAULT };
    match value.parse::<u32>() {
        // As in libpq, 0 is without limit; a day is as good as that.
        Ok(0) => Duration::from_secs(86_400),
        Ok(seconds) => Duration::from_secs(u64::from(seconds.max(2))),
        Err(_) => {
            reader.refuse("PGCONNECT_TIMEOUT", value, "expected whole seconds, as in libpq");
            DEFAULT
        }
    }
}

fn hosts(hosts: Option<&str>, ports: Option<&str>, reader: &mut Reader<'_>) -> Vec<Host> {
    let names: Vec<_> = hosts.unwrap_or("localhost").split(',').map(str::trim).collect();
    let ports: Vec<_> = ports.unwrap_or("5432").split(',').map(str::trim).collect();
    if ports.len() != 1 && ports.len() != names.len() {
        let shown = Some(ports.join(","));
        reader.problem(
            "PGPORT",
            shown,
            format!(
                "has {} ports for {} hosts; give one, or one for each",
                ports.len(),
                names.len()
            ),
        );
        return Vec::new();
    }
    let mut result = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        let port = ports.get(index).or(ports.first()).copied().unwrap_or("");
        let port = if port.is_empty() { "5432" } else { port };
        match port.parse::<u16>() {
            Ok(port) if port > 0 => {
                let address = if name.starts_with('/') || name.starts_with('@') {
                    HostAddress::UnixDirectory(PathBuf::from(name))
                } else {
                    let name = if name.is_empty() { "localhost" } else { name };
                    HostAddress::Tcp(name.to_owned())
                };
                result.push(Host { address, port });
            }
            Ok(_) | Err(_) => reader.refuse("PGPORT", port, "expected a port, 1 to 65535"),
        }
    }
    result
}

/// Takes a URL apart. The errors hold no part of it, because any could be the password.
fn parse_url(text: &str) -> Result<(Url, Vec<String>), String> {
    let rest = text
        .strip_prefix("postgres://")
        .or_else(|| text.strip_prefix("postgresql://"))
        .ok_or("expected postgres://user:password@host:port/database (the URL is not shown)")?;
    let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, q)| (rest, Some(q)));
    let (authority, database) = rest.split_once('/').map_or((rest, ""), |parts| parts);
    if database.contains('@') {
        return Err("has a / before its last @; encode / in the password as %2F".to_owned());
    }
    let (userinfo, hosts) =
        authority.rsplit_once('@').map_or((None, authority), |(u, h)| (Some(u), h));
    let mut url = Url::default();
    let mut warnings = Vec::new();
    if let Some(userinfo) = userinfo {
        let (user, password) =
            userinfo.split_once(':').map_or((userinfo, None), |(user, p)| (user, Some(p)));
        url.set("PGUSER", &decode(user)?);
        if let Some(password) = password {
            url.set("PGPASSWORD", &decode(password)?);
        }
    }
    url.set_hosts(hosts)?;
    url.set("PGDATABASE", &decode(database)?);
    for pair in query.into_iter().flat_map(|query| query.split('&')).filter(|p| !p.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or("a parameter has no value")?;
        let key = decode(key)?;
        if let Some((_, variable)) = PARAMETERS.iter().find(|(name, _)| *name == key) {
            url.set(variable, &decode(value)?);
        } else if matches!(
            key.as_str(),
            "application_name" | "options" | "fallback_application_name"
        ) {
            warnings.push(format!("the parameter {key} of DATABASE_URL is not used by walpost"));
        } else {
            return Err(match closest(&key, PARAMETERS.iter().map(|(name, _)| *name)) {
                Some(meant) => format!("has an unknown parameter; did you mean {meant}?"),
                None => {
                    let names: Vec<_> = PARAMETERS.iter().map(|(name, _)| *name).collect();
                    format!("has an unknown parameter; known are {}", names.join(", "))
                }
            });
        }
    }
    Ok((url, warnings))
}

impl Url {
    fn set(&mut self, variable: &'static str, value: &str) {
        if !value.is_empty() {
            self.0.retain(|(name, _)| *name != variable);
            self.0.push((variable, value.to_owned()));
        }
    }

    /// `host:port,host:port`, an IPv6 address in brackets, a socket directory percent-encoded.
    fn set_hosts(&mut self, text: &str) -> Result<(), String> {
        if text.is_empty() {
            return Ok(());
        }
        let mut names = Vec::new();
        let mut ports = Vec::new();
        for host in text.split(',') {
            let (name, port) = match host.strip_prefix('[') {
                Some(rest) => {
                    let (name, rest) =
                        rest.split_once(']').ok_or("has an IPv6 address without its bracket")?;
                    (name, rest.strip_prefix(':').unwrap_or(rest))
                }
                None => host.rsplit_once(':').unwrap_or((host, "")),
            };
            names.push(decode(name)?);
            ports.push(port.to_owned());
        }
        self.set("PGHOST", &names.join(","));
        if ports.iter().any(|port| !port.is_empty()) {
            self.set("PGPORT", &ports.join(","));
        }
        Ok(())
    }
}

/// Undoes percent-encoding.
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
        bytes.push(u8::try_from(high * 16 + low).map_err(|_| refused())?);
    }
    String::from_utf8(bytes).map_err(|_| refused())
}
