//! Asking those who give out credentials.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};

use super::answers::{element, of_json, of_xml};
use super::{Credentials, Found};
use crate::kafka::login::oauth::{clock_ahead, encoded};
use crate::kafka::login::{Kept, Trouble};
use crate::request::{self, Answer, Trust, Url};

/// STS's codes for a role or a token that it does not take.
const DENIALS: [&str; 5] = [
    "AccessDenied",
    "ExpiredTokenException",
    "IDPRejectedClaim",
    "InvalidIdentityToken",
    "ValidationError",
];

/// Be this role by the token in a file.
pub(super) async fn web_identity(
    (role, session): (&str, &str),
    token: &Path,
    endpoint: Option<&Url>,
    region: &str,
) -> Result<Found, Trouble> {
    let text = Kept::File(token.to_owned()).read().map_err(Trouble::away)?;
    let url = match endpoint {
        Some(url) => url.clone(),
        None => regional(region)?,
    };
    let mut form = "Action=AssumeRoleWithWebIdentity&Version=2011-06-15".to_owned();
    for (name, value) in
        [("RoleArn", role), ("RoleSessionName", session), ("WebIdentityToken", text.expose())]
    {
        form.push_str(&format!("&{name}={}", encoded(value)));
    }
    let request = Request::post(url.target())
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Full::new(Bytes::from(form)));
    let by = format!("AWS STS at {}", url.as_str());
    let answer = send(&by, &url, request).await?;
    let body = String::from_utf8_lossy(&answer.body);
    if answer.status != 200 {
        let code = element(&body, "Code").unwrap_or("no code");
        let message = format!("{by} does not give role {role} ({} {code})", answer.status);
        return Err(Trouble { refused: DENIALS.contains(&code), message });
    }
    found(by, of_xml(&body), &answer)
}

/// The STS of a region; China has a domain of its own.
fn regional(region: &str) -> Result<Url, Trouble> {
    let end = if region.starts_with("cn-") { ".cn" } else { "" };
    Url::parse(&format!("https://sts.{region}.amazonaws.com{end}/"))
        .map_err(|_| Trouble::away(format!("{region:?} is no region")))
}

/// Asks the endpoint beside a container.
pub(super) async fn container(
    endpoint: &Url,
    authorization: Option<&Kept>,
) -> Result<Found, Trouble> {
    let mut request = Request::get(endpoint.target()).header(ACCEPT, "application/json");
    if let Some(kept) = authorization {
        let secret = kept.read().map_err(Trouble::away)?;
        request = request.header(AUTHORIZATION, secret.expose());
    }
    let by = format!("AWS_CONTAINER_CREDENTIALS {}", endpoint.as_str());
    let answer = send(&by, endpoint, request.body(Full::default())).await?;
    if answer.status != 200 {
        let message = format!("{by} gives no credentials ({})", answer.status);
        return Err(Trouble { refused: matches!(answer.status, 400 | 401 | 403 | 404), message });
    }
    let credentials = of_json(&answer.body);
    found(by, credentials, &answer)
}

/// Asks the machine, by the second version of its protocol.
pub(super) async fn machine(endpoint: &Url) -> Result<Found, Trouble> {
    const PATH: &str = "/latest/meta-data/iam/security-credentials/";
    let by = format!("the machine's metadata service {}", endpoint.as_str());
    let base = endpoint.path_and_query().trim_end_matches('/');
    let request = Request::put(format!("{base}/latest/api/token"))
        .header("x-aws-ec2-metadata-token-ttl-seconds", "60")
        .body(Full::default());
    let session = ok(&by, send(&by, endpoint, request).await?)?;
    let session = text(&session);
    let ask = async |path: String| {
        let request = Request::get(path)
            .header("x-aws-ec2-metadata-token", session.as_str())
            .body(Full::default());
        ok(&by, send(&by, endpoint, request).await?)
    };
    let role = text(&ask(format!("{base}{PATH}")).await?);
    let Some(role) = role.lines().next().filter(|role| !role.is_empty()) else {
        return Err(Trouble::refused(format!("{by} has no role for this machine")));
    };
    let answer = ask(format!("{base}{PATH}{role}")).await?;
    let credentials = of_json(&answer.body);
    found(by, credentials, &answer)
}

fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).trim().to_owned()
}

fn ok(by: &str, answer: Answer) -> Result<Answer, Trouble> {
    match answer.status {
        200 => Ok(answer),
        // It is there, and this machine has no role.
        404 => Err(Trouble::refused(format!("{by} has no role for this machine"))),
        status => Err(Trouble::away(format!("{by} answers with status {status}"))),
    }
}

async fn send(
    by: &str,
    url: &Url,
    request: Result<Request<Full<Bytes>>, hyper::http::Error>,
) -> Result<Answer, Trouble> {
    let request = request.map_err(|error| Trouble::away(format!("{by}: {error}")))?;
    let trust = url.https().then(|| Trust::read(None, "SSL_CERT_FILE")).transpose();
    let trust = trust.map_err(Trouble::away)?;
    let answered = request::ask(url, trust.as_ref(), request).await;
    answered.map_err(|failed| Trouble::away(format!("{by} is not reached: {failed}")))
}

fn found(by: String, credentials: Option<Credentials>, answer: &Answer) -> Result<Found, Trouble> {
    let Some(credentials) = credentials else {
        return Err(Trouble::away(format!("{by} answers with no credentials")));
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let clock_ahead = answer.date.as_deref().and_then(|date| clock_ahead(date, now));
    Ok(Found { credentials, clock_ahead, by })
}
