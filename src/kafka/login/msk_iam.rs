//! Tokens for Amazon MSK, signed here with AWS credentials.
//!
//! To the brokers the mechanism is OAUTHBEARER. The token is a URL of the action
//! `kafka-cluster:Connect`, presigned as AWS's Signature Version 4 has it, as base64url; nobody ever
//! fetches that URL. Source: AWS's own signers, as `aws_msk_iam_sasl_signer/MSKAuthTokenProvider.py` of
//! aws-msk-iam-sasl-signer-python, with which `deploy/test-tools/msk-iam` compares these.

pub mod credentials;
mod signature;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;

use super::{Granted, Trouble};
use crate::kafka::librdkafka::Token;
use crate::secret::Secret;
use credentials::{Credentials, Place};

/// How long the signature holds; what AWS's own signers ask for.
const LIFE: Duration = Duration::from_secs(900);

/// Whom walpost is to AWS, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The region of the cluster, as `eu-west-1`.
    pub region: String,
    /// Where the credentials are.
    pub place: Place,
}

impl Options {
    pub(super) async fn ask(&self) -> Result<Granted, Trouble> {
        let found = self.place.find(&self.region).await?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let left = found.credentials.expires.map(|expires| {
            u64::try_from(expires.as_second().saturating_sub(now_seconds)).unwrap_or(0)
        });
        let life = left.map_or(LIFE, |seconds| LIFE.min(Duration::from_secs(seconds)));
        if life.is_zero() {
            let expired = "gives credentials that have expired by our clock; compare the clocks";
            return Err(Trouble::away(format!("{} {expired}", found.by)));
        }
        let signed_at = Timestamp::from_second(now_seconds)
            .map_err(|_| Trouble::away("the clock is beyond the year 9999"))?;
        let value = token(&self.region, &found.credentials, signed_at);
        let expires = i64::try_from((now + life).as_millis()).unwrap_or(i64::MAX);
        let token = Token {
            value: Secret::new(value),
            principal: found.credentials.access_key_id.clone(),
            expires,
            extensions: Vec::new(),
        };
        Ok(Granted { token, life, clock_ahead: found.clock_ahead, by: found.by })
    }
}

/// The token of these credentials.
fn token(region: &str, credentials: &Credentials, signed_at: Timestamp) -> String {
    let url = signature::presigned(region, credentials, signed_at, LIFE);
    // Behind the signature, as AWS's signers have it: it is for their statistics.
    let url = format!("{url}&User-Agent=walpost%2F{}", env!("CARGO_PKG_VERSION"));
    URL_SAFE_NO_PAD.encode(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `walpost`'s token in clear, less its last part, for fixed credentials and a fixed time.
    #[track_caller]
    fn check(session_token: Option<&str>, expected: &str) {
        let credentials = Credentials {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            session_token: session_token.map(Secret::new),
            expires: None,
        };
        let signed_at = Timestamp::from_second(1_700_000_000).expect("a time");
        let token = token("eu-west-1", &credentials, signed_at);
        let url = URL_SAFE_NO_PAD.decode(token).expect("base64url");
        let url = String::from_utf8(url).expect("text");
        let (signed, agent) = url.split_once("&User-Agent=").expect("an agent");
        assert_eq!(signed, expected);
        assert!(agent.starts_with("walpost%2F"), "{agent}");
    }

    #[test]
    fn a_token_is_that_of_the_official_signer() {
        check(None, include_str!("msk_iam/official.txt").lines().next().expect("a line"));
        check(
            Some("FwoGZXIvYXdzEB4aDA+b/c=="),
            include_str!("msk_iam/official.txt").lines().nth(1).expect("a line"),
        );
    }
}
