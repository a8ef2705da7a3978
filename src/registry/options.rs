//! Where the registry is, and who we are there.

use std::path::PathBuf;
use std::time::Duration;

use crate::request::{Url, UrlFault};
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
pub struct BaseUrl(Url);

impl BaseUrl {
    /// Takes a URL apart.
    ///
    /// # Errors
    ///
    /// What is accepted. No part of the text is repeated, because it may hold a password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text.trim_end_matches('/')).map_err(|fault| match fault {
            UrlFault::User => "has a user in it; give it as WALPOST_REGISTRY_USERNAME and \
                               WALPOST_REGISTRY_PASSWORD"
                .to_owned(),
            UrlFault::Form(expected) => expected.to_owned(),
        })?;
        if url.path_and_query().contains('?') {
            return Err("expected a URL without query, fragment and blanks".to_owned());
        }
        Ok(Self(url))
    }

    /// The URL, without a slash at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether a password that is sent there can be read on the way.
    #[must_use]
    pub fn is_in_the_clear(&self) -> bool {
        self.0.is_in_the_clear()
    }

    pub(super) const fn url(&self) -> &Url {
        &self.0
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
                let url = (url.url(), url.as_str());
                let parts = (url.0.https(), url.0.host(), url.0.port(), url.0.path_and_query());
                assert_eq!(parts, (https, host, port, path), "{text}");
                assert_eq!(url.1, whole, "{text}");
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
