//! Where Kafka is. Other properties of librdkafka are `KAFKA_PROP_<NAME>`.

use super::Group::Kafka;
use super::{Variable, variable};

/// In the order of the help.
pub(super) const VARIABLES: &[Variable] = &[
    variable(
        Kafka,
        "KAFKA_BOOTSTRAP_SERVERS",
        "",
        "kafka-1:9092,kafka-2:9092",
        "Brokers to ask first; required.",
    ),
    variable(
        Kafka,
        "KAFKA_SECURITY_PROTOCOL",
        "plaintext",
        "sasl_ssl",
        "plaintext, ssl, sasl_plaintext or sasl_ssl.",
    )
    .words(&["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]),
    variable(
        Kafka,
        "KAFKA_SASL_MECHANISM",
        "",
        "SCRAM-SHA-512",
        "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.",
    )
    .words(&["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "AWS_MSK_IAM", "OAUTHBEARER"])
    .later_words(&["AWS_MSK_IAM", "OAUTHBEARER"]),
    variable(Kafka, "KAFKA_SASL_USERNAME", "", "walpost", "SASL user."),
    variable(Kafka, "KAFKA_SASL_PASSWORD", "", "…", "SASL password.").secret(),
    variable(
        Kafka,
        "KAFKA_SSL_CA_LOCATION",
        "the system's",
        "/etc/ssl/kafka-ca.pem",
        "Authorities trusted for the brokers' certificates.",
    )
    .described(),
    variable(
        Kafka,
        "KAFKA_SSL_CERTIFICATE_LOCATION",
        "",
        "/etc/ssl/client.pem",
        "Client certificate, PEM.",
    ),
    variable(
        Kafka,
        "KAFKA_SSL_KEY_LOCATION",
        "",
        "/etc/ssl/client.key",
        "Key of the client certificate, PEM.",
    ),
    variable(Kafka, "KAFKA_SSL_KEY_PASSWORD", "", "…", "Password of that key.").secret(),
];
