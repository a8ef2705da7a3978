//! `DATABASE_URL` and libpq's variables.
//!
//! As in libpq, the parts of the URL win over the variables. Source: PostgreSQL manual,
//! "Connection URIs" and "Environment Variables" (libpq).

use std::path::PathBuf;
use std::time::Duration;

use super::env::Origin;
use super::reader::{Reader, word};
use super::url::{self, Url};
use crate::postgres::options::{
    ChannelBinding, ConnectOptions, Host, HostAddress, RootCertificates, SslMode,
    TargetSessionAttrs,
};
use crate::secret::Secret;

/// libpq variables that walpost does not take, and that a user may believe it does.
/// Source: PostgreSQL 18 manual, "Environment Variables" (libpq).
const NOT_TAKEN: &[&str] = &[
    "PGAPPNAME",
    "PGCLIENTENCODING",
    "PGDATESTYLE",
    "PGGEQO",
    "PGGSSDELEGATION",
    "PGGSSENCMODE",
    "PGGSSLIB",
    "PGHOSTADDR",
    "PGKRBSRVNAME",
    "PGLOADBALANCEHOSTS",
    "PGLOCALEDIR",
    "PGMAXPROTOCOLVERSION",
    "PGMINPROTOCOLVERSION",
    "PGOPTIONS",
    "PGPASSFILE",
    "PGREQUIREAUTH",
    "PGREQUIREPEER",
    "PGREQUIRESSL",
    "PGSERVICE",
    "PGSERVICEFILE",
    "PGSSLCERTMODE",
    "PGSSLCOMPRESSION",
    "PGSSLCRL",
    "PGSSLCRLDIR",
    "PGSSLMAXPROTOCOLVERSION",
    "PGSSLMINPROTOCOLVERSION",
    "PGSSLNEGOTIATION",
    "PGSSLSNI",
    "PGSYSCONFDIR",
    "PGTZ",
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

/// The parts of the URL over libpq's variables, with every mistake going to the reader.
struct Parts<'r, 's> {
    /// `None` after a mistake in it, so that what it may have said is not asked for.
    url: Option<Url>,
    reader: &'r mut Reader<'s>,
}

/// A part's text, and whether it is of the URL.
struct Part {
    variable: &'static str,
    text: String,
    of_url: bool,
}

/// Reads where the database is. Gives something usable also after mistakes, which are noted.
pub(super) fn read(reader: &mut Reader<'_>) -> ConnectOptions {
    let url = url(reader);
    let mut parts = Parts { url, reader };
    let hosts = parts.hosts();
    let user = parts.user();
    let database = parts.text("PGDATABASE").unwrap_or_else(|| user.clone());
    let sslmode = parts.word("PGSSLMODE", SSL_MODES);
    let channel_binding = parts.word("PGCHANNELBINDING", CHANNEL_BINDINGS);
    let attrs = parts.word("PGTARGETSESSIONATTRS", SESSION_ATTRS);
    let sslrootcert = parts.text("PGSSLROOTCERT").map(|text| match text.as_str() {
        "system" => RootCertificates::System,
        _ => RootCertificates::File(PathBuf::from(text)),
    });
    let options = ConnectOptions {
        hosts,
        database,
        user,
        password: parts.text("PGPASSWORD").map(Secret::new),
        sslmode,
        sslrootcert,
        sslcert: parts.text("PGSSLCERT").map(PathBuf::from),
        sslkey: parts.text("PGSSLKEY").map(PathBuf::from),
        channel_binding: channel_binding.unwrap_or(ChannelBinding::Prefer),
        connect_timeout: parts.connect_timeout(),
        target_session_attrs: attrs.unwrap_or(TargetSessionAttrs::ReadWrite),
        application_name: String::new(),
        wal_sender_timeout: Duration::ZERO,
    };
    check_encryption(reader, &options);
    options
}

/// What `DATABASE_URL` says, and warnings about what is set and has no effect.
fn url(reader: &mut Reader<'_>) -> Option<Url> {
    let unused: Vec<_> = reader
        .names()
        .filter(|name| NOT_TAKEN.contains(name))
        .map(|name| format!("{name} is not used by walpost"))
        .collect();
    for warning in unused {
        reader.warn(warning);
    }
    let Some(text) = reader.filled("DATABASE_URL") else { return Some(Url::default()) };
    match Url::parse(&text) {
        Ok(mut url) => {
            for warning in std::mem::take(&mut url.warnings) {
                reader.warn(warning);
            }
            for (variable, value) in url.parts() {
                if reader.differs(variable, value) {
                    reader.warn(format!(
                        "{variable} has no effect, because DATABASE_URL has this part too"
                    ));
                }
            }
            Some(url)
        }
        Err(reason) => {
            reader.problem("DATABASE_URL", None, format!("{reason} (the URL is not shown)"));
            None
        }
    }
}

/// What cannot be kept together, found before the first connection would.
fn check_encryption(reader: &mut Reader<'_>, options: &ConnectOptions) {
    if options.sslcert.is_some() != options.sslkey.is_some() {
        reader.problem("PGSSLCERT", None, "goes together with PGSSLKEY; set both or none");
    }
    let weak = match options.sslmode {
        Some(SslMode::Allow | SslMode::Prefer | SslMode::Require | SslMode::VerifyCa) => true,
        Some(SslMode::Disable | SslMode::VerifyFull) | None => false,
    };
    let needs_file = options.sslmode == Some(SslMode::VerifyCa) && options.sslrootcert.is_none();
    if needs_file || (weak && options.sslrootcert == Some(RootCertificates::System)) {
        // As libpq: any certificate of a public authority would pass, whoever owns it.
        let reason = "must be verify-full with the system's authorities, or PGSSLROOTCERT a file";
        reader.problem("PGSSLMODE", None, reason);
    }
    if options.channel_binding == ChannelBinding::Require
        && options.sslmode == Some(SslMode::Disable)
    {
        let reason = "cannot be require without encryption; PGSSLMODE is disable";
        reader.problem("PGCHANNELBINDING", None, reason);
    }
}

impl Parts<'_, '_> {
    /// A part: from the URL, else from its variable.
    fn part(&mut self, variable: &'static str) -> Option<Part> {
        if let Some(text) = self.url.as_ref().and_then(|url| url.part(variable)) {
            self.reader.effective(variable, text, Origin::Url);
            return Some(Part { variable, text: text.to_owned(), of_url: true });
        }
        let text = self.reader.filled(variable)?;
        Some(Part { variable, text, of_url: false })
    }

    /// Unlike libpq, walpost does not go on with the name that the operating system has for it.
    fn user(&mut self) -> String {
        let user = match &self.url {
            Some(url) if url.part("PGUSER").is_none() => {
                self.reader.required("PGUSER", "is required, or a user in DATABASE_URL")
            }
            Some(_) | None => self.text("PGUSER"),
        };
        user.unwrap_or_default()
    }

    fn text(&mut self, variable: &'static str) -> Option<String> {
        self.part(variable).map(|part| part.text)
    }

    fn word<T: Copy>(&mut self, variable: &'static str, words: &[(&str, T)]) -> Option<T> {
        let part = self.part(variable)?;
        match word(variable, &part.text, words) {
            Ok(meant) => Some(meant),
            Err(reason) => {
                self.refuse(&part, &reason);
                None
            }
        }
    }

    /// Notes that a part is wrong. No part of the URL is repeated, as any may be the password.
    fn refuse(&mut self, part: &Part, reason: &str) {
        if !part.of_url {
            self.reader.refuse(part.variable, &part.text, reason);
            return;
        }
        let parameter = url::PARAMETERS
            .iter()
            .find(|(_, variable)| *variable == part.variable)
            .map_or(part.variable, |(parameter, _)| *parameter);
        self.reader.problem("DATABASE_URL", None, format!("{parameter}: {reason}"));
    }

    fn connect_timeout(&mut self) -> Duration {
        const DEFAULT: Duration = Duration::from_secs(10);
        /// As in libpq, zero or less is without limit; a day is as good as that.
        const NONE: Duration = Duration::from_secs(86_400);
        let Some(part) = self.part("PGCONNECT_TIMEOUT") else { return DEFAULT };
        match part.text.parse::<i32>() {
            Ok(seconds) => match u64::try_from(seconds) {
                // As in libpq, one second is taken as two.
                Ok(seconds @ 1..) => Duration::from_secs(seconds.max(2)).min(NONE),
                Ok(0) | Err(_) => NONE,
            },
            Err(_) => {
                self.refuse(&part, "expected whole seconds without a unit, as in libpq");
                DEFAULT
            }
        }
    }

    /// Hosts with their ports: one port for all, or one for each.
    fn hosts(&mut self) -> Vec<Host> {
        let names = self.text("PGHOST").unwrap_or_else(|| "localhost".to_owned());
        let names: Vec<_> = names.split(',').map(str::trim).collect();
        let part = self.part("PGPORT");
        let text = part.as_ref().map_or("5432", |part| part.text.as_str());
        let ports: Vec<_> = text.split(',').map(str::trim).collect();
        if ports.len() != 1 && ports.len() != names.len() {
            let (ports, hosts) = (ports.len(), names.len());
            let reason = format!("has {ports} ports for {hosts} hosts; give one, or one for each");
            if let Some(part) = &part {
                self.refuse(part, &reason);
            }
            return Vec::new();
        }
        let mut hosts = Vec::with_capacity(names.len());
        for (index, name) in names.iter().enumerate() {
            let port = ports.get(index).or(ports.first()).copied().unwrap_or("");
            let port = if port.is_empty() { Ok(5432) } else { port.parse::<u16>() };
            match port {
                Ok(port @ 1..) => hosts.push(Host { address: address(name), port }),
                Ok(0) | Err(_) => {
                    if let Some(part) = &part {
                        self.refuse(part, "expected a port, 1 to 65535");
                    }
                    return Vec::new();
                }
            }
        }
        hosts
    }
}

fn address(name: &str) -> HostAddress {
    if name.starts_with(['/', '@']) {
        HostAddress::UnixDirectory(PathBuf::from(name))
    } else {
        let name = if name.is_empty() { "localhost" } else { name };
        HostAddress::Tcp(name.to_owned())
    }
}

#[cfg(test)]
mod tests;
