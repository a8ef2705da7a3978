//! AWS's own variables, in the order in which AWS's SDKs look for credentials.

use std::net::IpAddr;
use std::path::PathBuf;

use super::super::super::reader::Reader;
use super::url;
use crate::kafka::login::Kept;
use crate::kafka::login::msk_iam::Options;
use crate::kafka::login::msk_iam::credentials::{Credentials, Place};
use crate::request::Url;
use crate::secret::Secret;

/// Hosts beside the loopback that AWS's SDKs send a container's authorization to without TLS: those of
/// ECS and EKS.
const CONTAINER_HOSTS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];

/// Where the machine tells its credentials.
const MACHINE: &str = "http://169.254.169.254";

/// Reads them; `None` after a mistake, which is noted.
pub(super) fn read(reader: &mut Reader<'_>, servers: &str) -> Option<Options> {
    let named = reader.filled("AWS_REGION").or_else(|| reader.filled("AWS_DEFAULT_REGION"));
    let Some(region) = named.or_else(|| region_of(servers)) else {
        let reason = "is required with KAFKA_SASL_MECHANISM=AWS_MSK_IAM where the brokers' names do \
                      not tell the region";
        reader.problem("AWS_REGION", None, reason);
        return None;
    };
    if !region.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-') {
        reader.refuse("AWS_REGION", &region, "expected a region such as eu-west-1");
        return None;
    }
    reader.derived("AWS_REGION", &region);
    Some(Options { region, place: place(reader)? })
}

/// The region in the name of a broker of MSK, as
/// `b-1.shop.abc123.c2.kafka.eu-west-1.amazonaws.com:9098`, or `boot-….kafka-serverless.…`.
fn region_of(servers: &str) -> Option<String> {
    let first = servers.split(',').next()?;
    let labels: Vec<_> = first.split([':', '.']).collect();
    let after = labels.iter().position(|label| matches!(*label, "kafka" | "kafka-serverless"))?;
    let aws = labels.get(after + 2).is_some_and(|label| *label == "amazonaws");
    labels.get(after + 1).filter(|_| aws).map(|region| (*region).to_owned())
}

fn place(reader: &mut Reader<'_>) -> Option<Place> {
    let key = reader.filled("AWS_ACCESS_KEY_ID");
    let secret = reader.filled("AWS_SECRET_ACCESS_KEY").map(Secret::new);
    match (key, secret) {
        (Some(access_key_id), Some(secret_access_key)) => {
            let session_token = reader.filled("AWS_SESSION_TOKEN").map(Secret::new);
            let expires = None;
            let credentials =
                Credentials { access_key_id, secret_access_key, session_token, expires };
            return Some(Place::Variables(credentials));
        }
        (None, None) => {}
        (key, _) => {
            let names = ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"];
            let [missing, there] = if key.is_some() { names } else { [names[1], names[0]] };
            reader.problem(missing, None, format!("is required with {there}"));
            return None;
        }
    }
    let role = reader.filled("AWS_ROLE_ARN");
    let token = reader.filled("AWS_WEB_IDENTITY_TOKEN_FILE").map(PathBuf::from);
    match (role, token) {
        (Some(role), Some(token)) => {
            let session =
                reader.filled("AWS_ROLE_SESSION_NAME").unwrap_or_else(|| "walpost".to_owned());
            let endpoint = match reader.filled("AWS_ENDPOINT_URL_STS") {
                Some(text) => Some(reader.accept("AWS_ENDPOINT_URL_STS", &text, url(&text))?),
                None => None,
            };
            return Some(Place::WebIdentity { role, session, token, endpoint });
        }
        (None, Some(_)) => {
            reader.problem("AWS_ROLE_ARN", None, "is required with AWS_WEB_IDENTITY_TOKEN_FILE");
            return None;
        }
        // A role alone is for the files of a home folder, which are not read.
        (Some(_) | None, None) => {}
    }
    container(reader).or_else(|| machine(reader))?
}

/// The endpoint of a container; the outer `None` is that there is none.
fn container(reader: &mut Reader<'_>) -> Option<Option<Place>> {
    const FULL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
    let relative = reader.filled("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    let relative = relative.map(|path| format!("http://{}{path}", CONTAINER_HOSTS[0]));
    let text = relative.or_else(|| reader.filled(FULL))?;
    let Some(endpoint) = reader.accept(FULL, &text, url(&text)) else { return Some(None) };
    if !may_be_asked(&endpoint) {
        let reason = "expected https, or the address of ECS, EKS or this machine";
        reader.refuse(FULL, &text, reason);
        return Some(None);
    }
    const TOKEN: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN";
    let file = reader.file_of(TOKEN).map(Kept::File);
    let here = reader.filled(TOKEN).map(|token| Kept::Here(Secret::new(token)));
    Some(Some(Place::Container { endpoint, authorization: file.or(here) }))
}

fn may_be_asked(endpoint: &Url) -> bool {
    let host = endpoint.host();
    let loopback =
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    endpoint.https() || loopback || CONTAINER_HOSTS.contains(&host)
}

fn machine(reader: &mut Reader<'_>) -> Option<Option<Place>> {
    if reader.filled("AWS_EC2_METADATA_DISABLED").is_some_and(|text| text == "true") {
        let reason = "is required with KAFKA_SASL_MECHANISM=AWS_MSK_IAM: neither a key, nor \
                      AWS_WEB_IDENTITY_TOKEN_FILE, nor AWS_CONTAINER_CREDENTIALS_FULL_URI is set, \
                      and AWS_EC2_METADATA_DISABLED is true";
        reader.problem("AWS_ACCESS_KEY_ID", None, reason);
        return Some(None);
    }
    let text = reader.filled("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    let text = text.unwrap_or_else(|| MACHINE.to_owned());
    let endpoint = reader.accept("AWS_EC2_METADATA_SERVICE_ENDPOINT", &text, url(&text));
    Some(endpoint.map(|endpoint| Place::Machine { endpoint }))
}

#[cfg(test)]
mod tests {
    use super::super::super::super::env::Variables;
    use super::*;

    fn found(set: &[(&str, &str)]) -> Result<Options, String> {
        let variables: Variables =
            set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut reader = Reader::new(&variables);
        let options = read(&mut reader, "b-1.shop.a1.c2.kafka.eu-west-1.amazonaws.com:9098,b-2");
        reader.finish().map_err(|invalid| invalid.to_string())?;
        options.ok_or_else(|| "nothing".to_owned())
    }

    #[test]
    fn a_region_is_named_or_read_from_the_brokers() {
        #[track_caller]
        fn check(servers: &str, expected: Option<&str>) {
            assert_eq!(region_of(servers).as_deref(), expected, "{servers}");
        }
        check("b-1.shop.a1.c2.kafka.eu-west-1.amazonaws.com:9098", Some("eu-west-1"));
        check("boot-a1.c2.kafka-serverless.us-east-2.amazonaws.com:9098,x", Some("us-east-2"));
        check("b-1.shop.a1.c2.kafka.cn-north-1.amazonaws.com.cn:9098", Some("cn-north-1"));
        check("kafka:9092", None);
        check("kafka.eu.example.com:9092", None);
        assert_eq!(found(&[("AWS_REGION", "eu-north-1")]).expect("right").region, "eu-north-1");
        assert_eq!(found(&[]).expect("right").region, "eu-west-1");
        assert!(found(&[("AWS_REGION", "eu/x")]).is_err());
    }

    #[test]
    fn credentials_are_looked_for_in_the_order_of_the_sdks() {
        let machine = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1")];
        let container = [
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1/credentials"),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/dev/null"),
        ];
        let identity =
            [("AWS_ROLE_ARN", "arn:aws:iam::1:role/r"), ("AWS_WEB_IDENTITY_TOKEN_FILE", "/token")];
        let keys = [("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "s")];
        let place = |set: &[&[(&str, &str)]]| found(&set.concat()).expect("right").place;
        assert!(matches!(place(&[]), Place::Machine { .. }));
        assert!(matches!(place(&[&machine]), Place::Machine { .. }));
        let Place::Container { endpoint, authorization } = place(&[&machine, &container]) else {
            panic!("the container comes before the machine");
        };
        assert_eq!(endpoint.target(), "/v1/credentials");
        assert_eq!(authorization, Some(Kept::File("/dev/null".into())));
        let Place::WebIdentity { session, .. } = place(&[&machine, &container, &identity]) else {
            panic!("the identity comes before the container");
        };
        assert_eq!(session, "walpost");
        assert!(matches!(place(&[&machine, &container, &identity, &keys]), Place::Variables(_)));
    }

    #[test]
    fn what_is_missing_is_named() {
        #[track_caller]
        fn check(set: &[(&str, &str)], expected: &str) {
            let said = found(set).expect_err("refused");
            assert!(said.contains(expected), "{said}");
        }
        check(&[("AWS_ACCESS_KEY_ID", "AKID")], "AWS_SECRET_ACCESS_KEY: is required with");
        check(&[("AWS_SECRET_ACCESS_KEY", "s")], "AWS_ACCESS_KEY_ID: is required with");
        check(&[("AWS_WEB_IDENTITY_TOKEN_FILE", "/t")], "AWS_ROLE_ARN: is required with");
        check(&[("AWS_EC2_METADATA_DISABLED", "true")], "AWS_ACCESS_KEY_ID: is required");
        // An address that would be sent a secret.
        check(
            &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://evil.example/")],
            "expected https, or the address",
        );
    }
}
