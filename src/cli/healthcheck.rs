//! `walpost healthcheck`: exit code 0 when the answer is 200, else 1.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Exit, http_get, output};
use crate::config;
use crate::config::env::{Environment, Source};

/// Asks, and prints the answer.
///
/// # Errors
/// Standard output cannot be written to.
pub fn run(url: Option<&str>, environment: &Environment) -> std::io::Result<Exit> {
    let url = match url {
        Some(url) => url.to_owned(),
        None => match base_url(environment) {
            Ok(base) => format!("{base}/readyz"),
            Err(reason) => {
                output::error(&format!("walpost: {reason}"));
                return Ok(Exit::Failed);
            }
        },
    };
    match http_get::get(&url, None) {
        Ok(answer) => {
            output::line(answer.body.trim_end())?;
            Ok(if answer.status == 200 { Exit::Done } else { Exit::Failed })
        }
        Err(error) => {
            let url = config::without_user(&url);
            output::error(&format!("walpost: no answer from {url}: {error}"));
            Ok(Exit::Failed)
        }
    }
}

/// Where a walpost with this environment listens, as seen from its own host.
///
/// # Errors
/// It does not listen, or the address cannot be read.
pub(super) fn base_url(source: &dyn Source) -> Result<String, String> {
    const NAME: &str = "WALPOST_HTTP_ADDR";
    let default = config::table::find(NAME).map_or("", |variable| variable.default);
    let text = config::text(source, NAME)?.unwrap_or_else(|| default.to_owned());
    if text == "off" {
        return Err(format!("{NAME} is off, so there is nothing to ask; set it to an address"));
    }
    let address: SocketAddr =
        text.parse().map_err(|_| format!("{NAME}={text:?}: expected address:port, or off"))?;
    let host = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    Ok(format!("http://{}", SocketAddr::new(host, address.port())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::env::Variables;

    #[track_caller]
    fn check(address: &str, expected: Result<&str, &str>) {
        let found = base_url(&Variables::from([("WALPOST_HTTP_ADDR", address)]));
        match expected {
            Ok(expected) => assert_eq!(found.as_deref(), Ok(expected), "{address}"),
            Err(expected) => {
                let refused = found.expect_err(address);
                assert!(refused.contains(expected), "{address}: {refused}");
            }
        }
    }

    #[test]
    fn a_walpost_is_asked_where_it_listens() {
        check("", Ok("http://127.0.0.1:9464"));
        check("0.0.0.0:8080", Ok("http://127.0.0.1:8080"));
        check("[::]:8080", Ok("http://[::1]:8080"));
        check("10.1.2.3:80", Ok("http://10.1.2.3:80"));
        check("off", Err("is off"));
        check("9464", Err("expected address:port"));
    }
}
