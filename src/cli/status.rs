//! `walpost status`: the verdict of a running walpost.

use serde_json::Value;

use super::healthcheck::base_url;
use super::{Exit, http_get, output};
use crate::config::env::{Environment, Source};

/// What to ask, and how to print it.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The whole status as JSON.
    #[arg(long)]
    json: bool,
    /// Where walpost is, such as `http://walpost:9464`; `WALPOST_HTTP_ADDR` when nothing is said.
    #[arg(long)]
    url: Option<String>,
}

/// Asks, and prints the verdict. Exit code 0 only when walpost works or can take over.
///
/// # Errors
/// Standard output cannot be written to.
pub fn run(arguments: &Arguments, environment: &Environment) -> std::io::Result<Exit> {
    let base = arguments.url.clone().unwrap_or_else(|| base_url(environment));
    let url = format!("{}/status.json", base.trim_end_matches('/'));
    let text = |name: &str| environment.get(name).and_then(|(value, _)| value.into_string().ok());
    let login = match (text("WALPOST_HTTP_USERNAME"), text("WALPOST_HTTP_PASSWORD")) {
        (Some(user), Some(password)) => Some(format!("{user}:{password}")),
        _ => None,
    };
    let answer = match http_get::get(&url, login.as_deref()) {
        Ok(answer) if answer.status == 200 => answer,
        Ok(answer) => {
            output::error(&format!("walpost: {url} answers with status {}", answer.status));
            return Ok(Exit::Failed);
        }
        Err(error) => {
            output::error(&format!("walpost: no answer from {url}: {error}"));
            return Ok(Exit::Failed);
        }
    };
    let status: Value = match serde_json::from_str(&answer.body) {
        Ok(status) => status,
        Err(error) => {
            output::error(&format!("walpost: {url} is not a status: {error}"));
            return Ok(Exit::Failed);
        }
    };
    if arguments.json {
        output::line(&format!("{status:#}"))?;
    } else {
        output::line(status.get("verdict").and_then(Value::as_str).unwrap_or("no verdict"))?;
    }
    let ready = status.pointer("/ready/ok").and_then(Value::as_bool).unwrap_or(false);
    Ok(if ready { Exit::Done } else { Exit::Failed })
}
