//! AWS's Signature Version 4 in the query of a URL.
//!
//! Source: AWS General Reference, "Create a signed AWS API request", and "Authenticating Requests: Using
//! Query Parameters".

use std::time::Duration;

use jiff::Timestamp;
use ring::{digest, hmac};

use super::credentials::Credentials;
use crate::kafka::login::oauth::encoded;

/// The service in the scope of the signature.
const SERVICE: &str = "kafka-cluster";

/// The URL of `kafka-cluster:Connect` with its signature, in the order that AWS's SDK for Python writes.
pub(super) fn presigned(
    region: &str,
    credentials: &Credentials,
    at: Timestamp,
    life: Duration,
) -> String {
    let host = format!("kafka.{region}.amazonaws.com");
    let time = at.strftime("%Y%m%dT%H%M%SZ").to_string();
    let date = at.strftime("%Y%m%d").to_string();
    let scope = format!("{date}/{region}/{SERVICE}/aws4_request");
    let credential = format!("{}/{scope}", credentials.access_key_id);
    let mut query = vec![
        ("Action", encoded("kafka-cluster:Connect")),
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA256".to_owned()),
        ("X-Amz-Credential", encoded(&credential)),
        ("X-Amz-Date", time.clone()),
        ("X-Amz-Expires", life.as_secs().to_string()),
        ("X-Amz-SignedHeaders", "host".to_owned()),
    ];
    if let Some(token) = &credentials.session_token {
        query.push(("X-Amz-Security-Token", encoded(token.expose())));
    }
    let written = joined(&query);
    query.sort_unstable();
    let signature = signature(
        &canonical(&host, &joined(&query)),
        (&time, &date, &scope),
        region,
        credentials.secret_access_key.expose(),
    );
    format!("https://{host}/?{written}&X-Amz-Signature={signature}")
}

fn joined(query: &[(&str, String)]) -> String {
    let parts: Vec<_> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
    parts.join("&")
}

/// The canonical request: nothing but the host is signed beside the query, and there is no body.
fn canonical(host: &str, query: &str) -> String {
    format!("GET\n/\n{query}\nhost:{host}\n\nhost\n{}", sha256(b""))
}

fn signature(
    canonical: &str,
    (time, date, scope): (&str, &str, &str),
    region: &str,
    secret: &str,
) -> String {
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", sha256(canonical.as_bytes()));
    let mut key = hmac_sha256(format!("AWS4{secret}").as_bytes(), date);
    for part in [region, SERVICE, "aws4_request"] {
        key = hmac_sha256(key.as_ref(), part);
    }
    hex(hmac_sha256(key.as_ref(), &to_sign).as_ref())
}

fn hmac_sha256(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
