//! Where the registry is, and who we are there.

use std::path::PathBuf;
use std::time::Duration;

use crate::secret::Secret;

/// How to reach the registry (`WALPOST_REGISTRY_*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryOptions {
    /// Where it is.
    pub url: BaseUrl,
    /// User and password for basic authentication.
    pub user: Option<(String, Secret)>,
    /// Authorities trusted for its certificate; `None` are the system's.
    pub ca: Option<PathBuf>,
    /// How often the latest version of a subject is asked for again.
    pub refresh: Duration,
}

/// An `http` or `https` URL without user, query and fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    text: String,
    https: bool,
    host: String,
    port: u16,
    authority: String,
    path: String,
}

impl BaseUrl {
    /// Takes a URL apart.
    ///
    /// # Errors
    ///
    /// What is accepted. No part of the text is repeated, because it may hold a password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim_end_matches('/');
        let (https, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err("expected http://host:port or https://host:port".to_owned()),
        };
        if rest.contains('@') {
            return Err("has a user in it; give it as WALPOST_REGISTRY_USERNAME and \
                        WALPOST_REGISTRY_PASSWORD"
                .to_owned());
        }
        let plain = |c: char| c.is_ascii_graphic() && !"?#\"<>\\^`{|}".contains(c);
        if !rest.chars().all(plain) {
            return Err("expected a URL without query, fragment and blanks".to_owned());
        }
        let (authority, path) = match rest.split_once('/') {
            Some((authority, path)) => (authority, format!("/{path}")),
            None => (rest, String::new()),
        };
        let (host, port) = match authority.rsplit_once(':') {
            // The colons of an IPv6 address are inside of brackets.
            Some((host, port)) if !port.ends_with(']') => {
                let port = port.parse().map_err(|_| "expected a port from 1 to 65535")?;
                (host, port)
            }
            Some(_) | None => (authority, if https { 443 } else { 80 }),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() || port == 0 {
            return Err("expected http://host:port or https://host:port".to_owned());
        }
        Ok(Self {
            text: text.to_owned(),
            https,
            host: host.to_owned(),
            port,
            authority: authority.to_owned(),
            path,
        })
    }

    /// The URL, without a slash at its end.
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

    pub(super) const fn https(&self) -> bool {
        self.https
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    /// `host:port` as it stands in the URL, for the header `Host`.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<(bool, &str, u16, &str, &str), &str>) {
        let found = BaseUrl::parse(text);
        match (found, expected) {
            (Ok(url), Ok((https, host, port, path, whole))) => {
                let parts = (url.https, url.host.as_str(), url.port, url.path.as_str());
                assert_eq!(parts, (https, host, port, path), "{text}");
                assert_eq!(url.as_str(), whole, "{text}");
            }
            (Err(error), Err(expected)) => assert!(error.contains(expected), "{text}: {error}"),
            (found, expected) => panic!("{text}: {found:?} and not {expected:?}"),
        }
    }

    #[test]
    fn a_url_has_a_scheme_a_host_and_perhaps_a_port_and_a_path() {
        check("http://reg", Ok((false, "reg", 80, "", "http://reg")));
        check("https://reg/", Ok((true, "reg", 443, "", "https://reg")));
        check("https://reg:8081", Ok((true, "reg", 8081, "", "https://reg:8081")));
        let apicurio = "http://reg:8080/apis/ccompat/v7";
        check(apicurio, Ok((false, "reg", 8080, "/apis/ccompat/v7", apicurio)));
        check("http://[::1]:8081", Ok((false, "::1", 8081, "", "http://[::1]:8081")));
        check("http://[::1]", Ok((false, "::1", 80, "", "http://[::1]")));
        check("reg:8081", Err("expected http://"));
        check("ftp://reg", Err("expected http://"));
        check("http://", Err("expected http://"));
        check("http://:8081", Err("expected http://"));
        check("http://reg:0", Err("expected http://"));
        check("http://reg:x", Err("port"));
        check("http://reg?a=b", Err("without query"));
        check("http://re g", Err("blanks"));
    }

    #[test]
    fn a_user_in_the_url_is_refused_and_not_repeated() {
        let error = BaseUrl::parse("https://walpost:hunter2@reg").expect_err("a user");
        assert!(error.contains("WALPOST_REGISTRY_USERNAME") && !error.contains("hunter2"));
    }

    #[test]
    fn only_plain_http_to_another_machine_is_in_the_clear() {
        #[track_caller]
        fn check(text: &str, expected: bool) {
            assert_eq!(BaseUrl::parse(text).expect(text).is_in_the_clear(), expected, "{text}");
        }
        check("http://reg:8081", true);
        check("https://reg:8081", false);
        check("http://localhost:8081", false);
        check("http://127.0.0.1:8081", false);
        check("http://[::1]:8081", false);
    }
}
