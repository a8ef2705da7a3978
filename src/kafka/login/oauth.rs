//! Tokens of an OAuth 2.0 token endpoint, by client credentials (RFC 6749, section 4.4).

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use serde::Deserialize;

use super::{Granted, Kept, Trouble};
use crate::kafka::librdkafka::Token;
use crate::request::{self, Answer, Trust, Url};
use crate::secret::Secret;

/// Where tokens are asked for, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The token endpoint.
    pub endpoint: Url,
    /// `client_id`.
    pub client_id: String,
    /// `client_secret`.
    pub client_secret: Kept,
    /// `scope`.
    pub scope: Option<String>,
    /// What the brokers are told beside the token (RFC 7628, section 3.1).
    pub extensions: Vec<(String, String)>,
    /// Authorities trusted for the endpoint's certificate; `None` are the system's.
    pub ca: Option<PathBuf>,
}

/// What a token endpoint answers (RFC 6749, section 5.1). Some send the number as a text.
#[derive(Deserialize)]
struct Grant {
    access_token: String,
    #[serde(default)]
    expires_in: Option<serde_json::Value>,
}

/// What it answers when it does not (section 5.2).
#[derive(Default, Deserialize)]
struct Denial {
    error: Option<String>,
    error_description: Option<String>,
}

/// What is read of a token that is a JWT (RFC 7519); it is the brokers' to verify.
#[derive(Default, Deserialize)]
struct Claims {
    sub: Option<String>,
    exp: Option<f64>,
}

/// Longest text of an endpoint's that is repeated, in characters.
const SAID_MAX: usize = 300;

/// What section 5.2 has for a client or a question that is not taken; nothing of it goes away by asking
/// again.
const DENIALS: [&str; 6] = [
    "access_denied",
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "invalid_scope",
    "unauthorized_client",
];

impl Options {
    pub(super) async fn ask(&self) -> Result<Granted, Trouble> {
        let endpoint = format!("token endpoint {}", self.endpoint.as_str());
        let secret = self.client_secret.read().map_err(Trouble::away)?;
        let request = self.request(&secret).map_err(Trouble::away)?;
        let read = || Trust::read(self.ca.as_deref(), "KAFKA_HTTPS_CA_LOCATION");
        let trust = self.endpoint.https().then(read).transpose().map_err(Trouble::away)?;
        let answer = request::ask(&self.endpoint, trust.as_ref(), request)
            .await
            .map_err(|failed| Trouble::away(format!("{endpoint} is not reached: {failed}")))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if answer.status != 200 {
            return Err(denied(&endpoint, &self.client_id, &secret, &answer));
        }
        let unusable = |what: &str| Trouble::away(format!("{endpoint} {what}"));
        let grant: Grant = serde_json::from_slice(&answer.body)
            .map_err(|_| unusable("answers with no token (RFC 6749, section 5.1)"))?;
        let is_token = |c: char| c.is_ascii_graphic();
        if grant.access_token.is_empty() || !grant.access_token.chars().all(is_token) {
            return Err(unusable("gives a token that is empty, or has blanks in it"));
        }
        let claims = claims(&grant.access_token);
        let life = life(&grant, &claims, now).ok_or_else(|| {
            unusable(
                "does not say how long its token lives: expires_in is missing, and it is no JWT",
            )
        })?;
        let Some(life) = life else {
            return Err(unusable(
                "gives a token that has expired by our clock; compare the clocks",
            ));
        };
        let expires = i64::try_from((now + life).as_millis()).unwrap_or(i64::MAX);
        let token = Token {
            value: Secret::new(grant.access_token),
            principal: claims.sub.unwrap_or_else(|| self.client_id.clone()),
            expires,
            extensions: self.extensions.clone(),
        };
        let clock_ahead = answer.date.as_deref().and_then(|date| clock_ahead(date, now));
        Ok(Granted { token, life, clock_ahead, by: endpoint })
    }

    fn request(&self, secret: &Secret) -> Result<Request<Full<Bytes>>, String> {
        let mut form = "grant_type=client_credentials".to_owned();
        if let Some(scope) = &self.scope {
            form.push_str("&scope=");
            form.push_str(&encoded(scope));
        }
        // RFC 6749, section 2.3.1: both are encoded as in a form before they are joined.
        let user = format!("{}:{}", encoded(&self.client_id), encoded(secret.expose()));
        Request::post(self.endpoint.target())
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(AUTHORIZATION, format!("Basic {}", STANDARD.encode(user)))
            .body(Full::new(Bytes::from(form)))
            .map_err(|error| error.to_string())
    }
}

/// A text in a form; letters, digits and `-._~` stay, which every reader of forms understands.
pub(super) fn encoded(text: &str) -> String {
    let mut form = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            form.push(char::from(byte));
        } else {
            form.push_str(&format!("%{byte:02X}"));
        }
    }
    form
}

/// What an answer without a token means.
fn denied(endpoint: &str, client: &str, secret: &Secret, answer: &Answer) -> Trouble {
    let denial: Denial = serde_json::from_slice(&answer.body).unwrap_or_default();
    let code = denial.error.unwrap_or_default();
    let said: String = [code.as_str(), denial.error_description.as_deref().unwrap_or_default()]
        .join(": ")
        .trim_matches([':', ' '])
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(SAID_MAX)
        .collect();
    let repeats = !secret.expose().is_empty() && said.contains(secret.expose());
    let said = if said.is_empty() || repeats { String::new() } else { format!(": {said}") };
    let status = answer.status;
    let decided = matches!(status, 401 | 403) || (status == 400 && DENIALS.contains(&&*code));
    if decided {
        Trouble::refused(format!("{endpoint} refuses client {client} ({status}){said}"))
    } else {
        Trouble::away(format!("{endpoint} answers with status {status}{said}"))
    }
}

fn claims(token: &str) -> Claims {
    let part = token.split('.').nth(1).unwrap_or_default();
    let bytes = URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// How long a token lives: `None` where nothing tells, `Some(None)` where it has expired.
///
/// `expires_in` comes first, because it does not depend on the clocks.
fn life(grant: &Grant, claims: &Claims, now: Duration) -> Option<Option<Duration>> {
    let told = match &grant.expires_in {
        Some(serde_json::Value::Number(seconds)) => seconds.as_f64(),
        Some(serde_json::Value::String(seconds)) => seconds.parse().ok(),
        Some(_) | None => None,
    };
    let seconds = told.or_else(|| claims.exp.map(|exp| exp - now.as_secs_f64()))?;
    // A year is as good as for ever, and spares an overflow.
    let life = Duration::try_from_secs_f64(seconds.min(365.0 * 86_400.0)).ok();
    Some(life.filter(|life| !life.is_zero()))
}

/// How many seconds `now` is ahead of a header `Date`.
pub(super) fn clock_ahead(date: &str, now: Duration) -> Option<i64> {
    let theirs = jiff::fmt::rfc2822::parse(date).ok()?.timestamp().as_second();
    Some(i64::try_from(now.as_secs()).ok()? - theirs)
}

#[cfg(test)]
mod tests;
