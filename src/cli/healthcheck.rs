//! `walpost healthcheck`: exit code 0 when the answer is 200.

use super::{Exit, http_get, output};
use crate::config::env::{Environment, Source};

/// Asks, and prints the answer.
///
/// # Errors
/// Standard output cannot be written to.
pub fn run(url: Option<&str>, environment: &Environment) -> std::io::Result<Exit> {
    let url = url.map_or_else(|| format!("{}/readyz", base_url(environment)), str::to_owned);
    match http_get::get(&url, None) {
        Ok(answer) => {
            output::line(answer.body.trim_end())?;
            Ok(if answer.status == 200 { Exit::Done } else { Exit::Failed })
        }
        Err(error) => {
            output::error(&format!("walpost: no answer from {url}: {error}"));
            Ok(Exit::Failed)
        }
    }
}

/// Where a walpost with this environment listens, as seen from its own host.
pub(super) fn base_url(environment: &Environment) -> String {
    let address = environment
        .get("WALPOST_HTTP_ADDR")
        .and_then(|(value, _)| value.into_string().ok())
        .and_then(|value| value.parse::<std::net::SocketAddr>().ok());
    match address {
        Some(address) if address.ip().is_unspecified() => {
            format!("http://127.0.0.1:{}", address.port())
        }
        Some(address) => format!("http://{address}"),
        None => "http://127.0.0.1:9464".to_owned(),
    }
}
