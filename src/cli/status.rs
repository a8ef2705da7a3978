//! `walpost status`: the verdict of a running walpost.

use serde_json::Value;

use super::healthcheck::base_url;
use super::{Exit, http_get, output};
use crate::config;
use crate::config::env::Environment;

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
    let (url, login) = match question(arguments, environment) {
        Ok(question) => question,
        Err(reason) => {
            output::error(&format!("walpost: {reason}"));
            return Ok(Exit::Failed);
        }
    };
    let answer = http_get::get(&url, login.as_deref());
    let url = config::without_user(&url);
    let answer = match answer {
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

/// What to ask, and as whom.
fn question(
    arguments: &Arguments,
    environment: &Environment,
) -> Result<(String, Option<String>), String> {
    let base = match &arguments.url {
        Some(url) => url.clone(),
        None => base_url(environment)?,
    };
    let user = config::text(environment, "WALPOST_HTTP_USERNAME")?;
    let password = config::text(environment, "WALPOST_HTTP_PASSWORD")?;
    let login = user.zip(password).map(|(user, password)| format!("{user}:{password}"));
    Ok((format!("{}/status.json", base.trim_end_matches('/')), login))
}
