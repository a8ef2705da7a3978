//! The parts of Kafka's security settings go together. Found here, a mistake is a sentence; found
//! by librdkafka, it is a connection that fails for ever.

use super::super::reader::Reader;
use super::Properties;
use crate::kafka::client::AWS_MSK_IAM;

/// Notes what does not go together.
pub(super) fn check(reader: &mut Reader<'_>, properties: &Properties) {
    let protocol = properties.get("security.protocol").map_or_else(
        || "plaintext".to_owned(),
        |(_, protocol)| protocol.expose().to_ascii_lowercase(),
    );
    sasl(reader, properties, protocol.starts_with("sasl"));
    tls(reader, properties, protocol.ends_with("ssl"));
}

/// User and password are of use only with a mechanism, and a mechanism only with the protocol.
fn sasl(reader: &mut Reader<'_>, properties: &Properties, protocol: bool) {
    let mechanism = properties.contains_key("sasl.mechanism");
    if protocol && !mechanism {
        // librdkafka would fall back to GSSAPI, which it was built without.
        reader.problem("KAFKA_SASL_MECHANISM", None, "is required with a sasl protocol");
    }
    if !protocol {
        for property in ["sasl.mechanism", "sasl.username", "sasl.password"] {
            if let Some((variable, _)) = properties.get(property) {
                let reason = format!("must be sasl_ssl or sasl_plaintext when {variable} is set");
                reader.problem("KAFKA_SECURITY_PROTOCOL", None, reason);
                return;
            }
        }
    }
    let by_token = properties
        .get("sasl.mechanism")
        .is_some_and(|(_, mechanism)| ["OAUTHBEARER", AWS_MSK_IAM].contains(&mechanism.expose()));
    if by_token {
        for property in ["sasl.username", "sasl.password"] {
            if let Some((variable, _)) = properties.get(property) {
                reader.warn(format!("{variable} has no use with this KAFKA_SASL_MECHANISM"));
            }
        }
    }
    if protocol && mechanism && !by_token {
        for (variable, property) in
            [("KAFKA_SASL_USERNAME", "sasl.username"), ("KAFKA_SASL_PASSWORD", "sasl.password")]
        {
            if !properties.contains_key(property) {
                reader.problem(variable, None, "is required with this KAFKA_SASL_MECHANISM");
            }
        }
    }
}

/// A certificate and its key go together, and both are of use only with TLS.
fn tls(reader: &mut Reader<'_>, properties: &Properties, protocol: bool) {
    let first = |names: &[&str]| {
        names.iter().find_map(|name| properties.get(*name)).map(|(variable, _)| variable.clone())
    };
    let certificate = first(&["ssl.certificate.location", "ssl.certificate.pem"]);
    let key = first(&["ssl.key.location", "ssl.key.pem"]);
    match (&certificate, &key) {
        (Some(certificate), None) => reader.problem(
            "KAFKA_SSL_KEY_LOCATION",
            None,
            format!("is required with {certificate}: the key of the certificate"),
        ),
        (None, Some(key)) => reader.problem(
            "KAFKA_SSL_CERTIFICATE_LOCATION",
            None,
            format!("is required with {key}: the certificate of the key"),
        ),
        (Some(_), Some(_)) | (None, None) => {}
    }
    let authorities = first(&["ssl.ca.location", "ssl.ca.pem"]);
    let keystore = first(&["ssl.keystore.location"]);
    if let Some(variable) = authorities.or(certificate).or(key).or(keystore)
        && !protocol
    {
        let reason = format!("must be ssl or sasl_ssl when {variable} is set");
        reader.problem("KAFKA_SECURITY_PROTOCOL", None, reason);
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Needs;
    use super::super::super::env::Variables;
    use super::super::super::reader::Reader;
    use super::super::read;

    /// What is refused, as `VARIABLE: reason`.
    #[track_caller]
    fn check(set: &[(&str, &str)], expected: &[&str]) {
        let variables: Variables = set
            .iter()
            .chain(&[("KAFKA_BOOTSTRAP_SERVERS", "k:9092")])
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let mut reader = Reader::new(&variables);
        read(&mut reader, Needs::Both);
        let found: Vec<_> = match reader.finish() {
            Ok(_) => Vec::new(),
            Err(invalid) => invalid
                .problems
                .iter()
                .map(|problem| format!("{}: {}", problem.variable, problem.reason))
                .collect(),
        };
        assert_eq!(found, expected, "{set:?}");
    }

    const PROTOCOL: (&str, &str) = ("KAFKA_SECURITY_PROTOCOL", "sasl_ssl");
    const MECHANISM: (&str, &str) = ("KAFKA_SASL_MECHANISM", "SCRAM-SHA-512");
    const USER: (&str, &str) = ("KAFKA_SASL_USERNAME", "walpost");
    const PASSWORD: (&str, &str) = ("KAFKA_SASL_PASSWORD", "p");

    #[test]
    fn sasl_is_given_whole() {
        check(&[], &[]);
        check(&[PROTOCOL, MECHANISM, USER, PASSWORD], &[]);
        check(&[("KAFKA_SECURITY_PROTOCOL", "SASL_SSL"), MECHANISM, USER, PASSWORD], &[]);
        check(
            &[PROTOCOL, USER, PASSWORD],
            &["KAFKA_SASL_MECHANISM: is required with a sasl protocol"],
        );
        check(
            &[PROTOCOL, MECHANISM],
            &[
                "KAFKA_SASL_USERNAME: is required with this KAFKA_SASL_MECHANISM",
                "KAFKA_SASL_PASSWORD: is required with this KAFKA_SASL_MECHANISM",
            ],
        );
        let by = |variable: &str| {
            format!(
                "KAFKA_SECURITY_PROTOCOL: must be sasl_ssl or sasl_plaintext when {variable} is set"
            )
        };
        check(&[MECHANISM, USER, PASSWORD], &[&by("KAFKA_SASL_MECHANISM")]);
        check(&[USER, PASSWORD], &[&by("KAFKA_SASL_USERNAME")]);
        check(&[("KAFKA_PROP_SASL_PASSWORD", "p")], &[&by("KAFKA_PROP_SASL_PASSWORD")]);
    }

    #[test]
    fn a_property_may_stand_for_the_variable_but_not_beside_it() {
        check(&[PROTOCOL, ("KAFKA_PROP_SASL_MECHANISMS", "PLAIN"), USER, PASSWORD], &[]);
        check(
            &[PROTOCOL, MECHANISM, ("KAFKA_PROP_SASL_MECHANISMS", "PLAIN"), USER, PASSWORD],
            &["KAFKA_PROP_SASL_MECHANISMS: sets sasl.mechanism, as KAFKA_SASL_MECHANISM does; \
               keep one of them"],
        );
        check(
            &[("KAFKA_PROP_LINGER_MS", "1"), ("KAFKA_PROP_QUEUE_BUFFERING_MAX_MS", "2")],
            &["KAFKA_PROP_QUEUE_BUFFERING_MAX_MS: sets linger.ms, as KAFKA_PROP_LINGER_MS does; \
               keep one of them"],
        );
    }

    #[test]
    fn a_certificate_has_its_key_and_a_protocol_that_uses_it() {
        let tls = ("KAFKA_SECURITY_PROTOCOL", "ssl");
        let certificate = ("KAFKA_SSL_CERTIFICATE_LOCATION", "/c");
        check(&[tls, certificate, ("KAFKA_SSL_KEY_LOCATION", "/k")], &[]);
        check(&[tls, certificate, ("KAFKA_PROP_SSL_KEY_PEM", "k")], &[]);
        check(
            &[tls, certificate],
            &["KAFKA_SSL_KEY_LOCATION: is required with KAFKA_SSL_CERTIFICATE_LOCATION: the key \
               of the certificate"],
        );
        check(
            &[tls, ("KAFKA_SSL_KEY_LOCATION", "/k")],
            &["KAFKA_SSL_CERTIFICATE_LOCATION: is required with KAFKA_SSL_KEY_LOCATION: the \
               certificate of the key"],
        );
        check(
            &[("KAFKA_SSL_CA_LOCATION", "/ca")],
            &["KAFKA_SECURITY_PROTOCOL: must be ssl or sasl_ssl when KAFKA_SSL_CA_LOCATION is set"],
        );
    }
}
