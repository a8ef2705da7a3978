//! Where a request goes.

/// An `http` or `https` URL without user and fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    text: String,
    https: bool,
    host: String,
    port: u16,
    authority: String,
    path: String,
}

/// What is wrong with a URL. No part of it is repeated, because it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlFault {
    /// It has a user in it.
    User,
    /// What is expected of its form.
    Form(&'static str),
}

const EXPECTED: UrlFault = UrlFault::Form("expected http://host:port or https://host:port");

impl Url {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// See [`UrlFault`].
    pub fn parse(text: &str) -> Result<Self, UrlFault> {
        let (https, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err(EXPECTED),
        };
        let plain = |c: char| c.is_ascii_graphic() && !"#\"<>\\^`{|}".contains(c);
        if !rest.chars().all(plain) {
            let expected = "expected a URL without query, fragment and blanks";
            return Err(UrlFault::Form(expected));
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err(UrlFault::User);
        }
        let (host, port) = match authority.rsplit_once(':') {
            // The colons of an IPv6 address are inside of brackets.
            Some((host, port)) if !port.ends_with(']') => {
                let port = port.parse();
                (host, port.map_err(|_| UrlFault::Form("expected a port from 1 to 65535"))?)
            }
            Some(_) | None => (authority, if https { 443 } else { 80 }),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() || port == 0 {
            return Err(EXPECTED);
        }
        Ok(Self {
            text: text.to_owned(),
            https,
            host: host.to_owned(),
            port,
            authority: authority.to_owned(),
            path: path.to_owned(),
        })
    }

    /// The URL, as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a password that is sent there can be read on the way.
    #[must_use]
    pub fn is_in_the_clear(&self) -> bool {
        let loopback = self.host == "localhost"
            || self.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        !self.https && !loopback
    }

    /// Whether it is `https`.
    #[must_use]
    pub const fn https(&self) -> bool {
        self.https
    }

    /// The host; of an IPv6 address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, also where it is that of the scheme.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// `host:port` as it stands in the URL, for the header `Host`.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// All behind the host; may be empty.
    #[must_use]
    pub fn path_and_query(&self) -> &str {
        &self.path
    }

    /// What stands in the first line of a request: never empty, and never a query alone.
    #[must_use]
    pub fn target(&self) -> String {
        if self.path.starts_with('/') { self.path.clone() } else { format!("/{}", self.path) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<(bool, &str, u16, &str), UrlFault>) {
        let found = Url::parse(text);
        let found = found.map(|url| (url.https(), url.host().to_owned(), url.port(), url.target()));
        let expected = expected
            .map(|(https, host, port, target)| (https, host.to_owned(), port, target.to_owned()));
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn a_url_may_have_a_path_and_a_query() {
        check("https://idp/token", Ok((true, "idp", 443, "/token")));
        check("https://idp:8443/a/b?p=policy", Ok((true, "idp", 8443, "/a/b?p=policy")));
        check("http://idp?p=policy", Ok((false, "idp", 80, "/?p=policy")));
        check("http://[::1]:1/x@y", Ok((false, "::1", 1, "/x@y")));
        check("https://u:p@idp/token", Err(UrlFault::User));
        check("idp/token", Err(EXPECTED));
        check("https:///token", Err(EXPECTED));
    }
}
