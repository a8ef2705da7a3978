//! What those who give out credentials answer.

use jiff::Timestamp;
use serde::Deserialize;

use super::Credentials;
use crate::secret::Secret;

/// The answer of a container's endpoint, and of the machine's.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
    expiration: Option<String>,
}

/// Reads the JSON of a container's endpoint, or of the machine's.
pub(super) fn of_json(body: &[u8]) -> Option<Credentials> {
    let document: Document = serde_json::from_slice(body).ok()?;
    Some(Credentials {
        access_key_id: document.access_key_id,
        secret_access_key: Secret::new(document.secret_access_key),
        session_token: document.token.map(Secret::new),
        expires: document.expiration.and_then(|time| time.parse::<Timestamp>().ok()),
    })
}

/// Reads the XML of STS. The values are of letters, digits and a few signs, of which none is escaped.
pub(super) fn of_xml(body: &str) -> Option<Credentials> {
    let (_, credentials) = body.split_once("<Credentials>")?;
    let part = |name: &str| element(credentials, name).map(str::to_owned);
    Some(Credentials {
        access_key_id: part("AccessKeyId")?,
        secret_access_key: Secret::new(part("SecretAccessKey")?),
        session_token: Some(Secret::new(part("SessionToken")?)),
        expires: part("Expiration").and_then(|time| time.parse::<Timestamp>().ok()),
    })
}

/// The text of the first element of this name.
pub(super) fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_read_from_either_form() {
        // The example of the AWS STS API Reference, AssumeRoleWithWebIdentity, shortened.
        let xml = "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult>
            <Credentials>
              <SessionToken>AQoDYXdzEE0a8ANX+/==</SessionToken>
              <SecretAccessKey>wJalrXUtnFEMI/K7MDENG/bPxRfiCYzEXAMPLEKEY</SecretAccessKey>
              <Expiration>2014-10-24T23:00:23Z</Expiration>
              <AccessKeyId>ASgeIAIOSFODNN7EXAMPLE</AccessKeyId>
            </Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>";
        let json = br#"{"AccessKeyId":"ASgeIAIOSFODNN7EXAMPLE",
            "SecretAccessKey":"wJalrXUtnFEMI/K7MDENG/bPxRfiCYzEXAMPLEKEY",
            "Token":"AQoDYXdzEE0a8ANX+/==","Expiration":"2014-10-24T23:00:23Z"}"#;
        let found = of_xml(xml).expect("credentials");
        assert_eq!(of_json(json).expect("credentials"), found);
        assert_eq!(found.access_key_id, "ASgeIAIOSFODNN7EXAMPLE");
        assert_eq!(found.expires.expect("an end").as_second(), 1_414_191_623);
        assert_eq!(found.session_token.expect("one").expose(), "AQoDYXdzEE0a8ANX+/==");
        assert_eq!(of_xml("<html>"), None);
        assert_eq!(of_json(b"{}"), None);
    }
}
