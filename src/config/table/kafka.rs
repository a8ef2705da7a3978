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
        "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER or AWS_MSK_IAM.",
    )
    .words(&["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "AWS_MSK_IAM"])
    .later_words(if cfg!(feature = "msk-iam") { &[] } else { &["AWS_MSK_IAM"] }),
    variable(Kafka, "KAFKA_SASL_USERNAME", "", "walpost", "SASL user."),
    variable(Kafka, "KAFKA_SASL_PASSWORD", "", "…", "SASL password.").secret(),
    variable(
        Kafka,
        "KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL",
        "",
        "https://idp.example/oauth2/token",
        "OAUTHBEARER: where tokens are asked for, by client credentials.",
    ),
    variable(Kafka, "KAFKA_SASL_OAUTHBEARER_CLIENT_ID", "", "walpost", "OAUTHBEARER: client."),
    variable(
        Kafka,
        "KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET",
        "",
        "…",
        "OAUTHBEARER: its secret; a file is read again for each token.",
    )
    .secret(),
    variable(
        Kafka,
        "KAFKA_SASL_OAUTHBEARER_SCOPE",
        "",
        "kafka",
        "OAUTHBEARER: scopes to ask for, with blanks between.",
    ),
    variable(
        Kafka,
        "KAFKA_SASL_OAUTHBEARER_EXTENSIONS",
        "",
        "logicalCluster=lkc-1,identityPoolId=pool-1",
        "OAUTHBEARER: what the brokers are told beside the token, as name=value.",
    ),
    variable(
        Kafka,
        "KAFKA_HTTPS_CA_LOCATION",
        "the system's",
        "/etc/ssl/idp-ca.pem",
        "OAUTHBEARER: authorities trusted for the token endpoint's certificate.",
    )
    .described(),
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
