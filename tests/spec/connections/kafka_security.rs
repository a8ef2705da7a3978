//! Kafka over TLS, with passwords, and with client certificates.

use super::certificates::Certificates;
use super::{CANARY, Cell, Expected, check_all};
use crate::servers::{Kafka, Postgres, free_ports};

/// A listener: its name, its protocol, and the certificate it shows.
const LISTENERS: [(&str, &str, &str); 7] = [
    ("RIGHT", "SSL", "right"),
    ("AUTHORITY", "SSL", "wrong-authority"),
    ("HOST", "SSL", "wrong-host"),
    ("EXPIRED", "SSL", "expired"),
    ("MUTUAL", "SSL", "right"),
    ("PASSWORD", "SASL_SSL", "right"),
    ("OPEN", "SASL_PLAINTEXT", ""),
];

/// A broker with all listeners; the ports are in the order of [`LISTENERS`].
struct Broker {
    kafka: Kafka,
    first_port: u16,
}

impl Broker {
    #[track_caller]
    fn start(certificates: &Certificates) -> Self {
        let first_port = free_ports(u16::try_from(LISTENERS.len()).unwrap());
        let port = |index: usize| first_port + u16::try_from(index).unwrap();
        let kafka = Kafka::start_with_listeners(|plaintext| {
            let mut listeners = format!("PLAINTEXT://127.0.0.1:{plaintext}");
            listeners += &format!(",CONTROLLER://127.0.0.1:{}", plaintext + 1);
            let mut protocols = "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned();
            let mut properties = vec![
                "ssl.truststore.type=PEM".to_owned(),
                format!("ssl.truststore.location={}", certificates.path("ours.pem")),
                "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512".to_owned(),
                "listener.name.open.sasl.enabled.mechanisms=SCRAM-SHA-512".to_owned(),
            ];
            for (index, (name, protocol, certificate)) in LISTENERS.iter().enumerate() {
                listeners += &format!(",{name}://127.0.0.1:{}", port(index));
                protocols += &format!(",{name}:{protocol}");
                let prefix = format!("listener.name.{}", name.to_lowercase());
                if !certificate.is_empty() {
                    let file = certificates.path(&format!("{certificate}.both.pem"));
                    properties.push(format!("{prefix}.ssl.keystore.type=PEM"));
                    properties.push(format!("{prefix}.ssl.keystore.location={file}"));
                }
                if protocol.starts_with("SASL") {
                    let module = "org.apache.kafka.common.security";
                    properties.push(format!(
                        "{prefix}.plain.sasl.jaas.config={module}.plain.PlainLoginModule required \
                         user_plain=\"{CANARY}\";"
                    ));
                    for scram in ["scram-sha-256", "scram-sha-512"] {
                        properties.push(format!(
                            "{prefix}.{scram}.sasl.jaas.config={module}.scram.ScramLoginModule \
                             required;"
                        ));
                    }
                }
            }
            properties.push("listener.name.mutual.ssl.client.auth=required".to_owned());
            properties.push(format!("listeners={listeners}"));
            properties.push(format!("listener.security.protocol.map={protocols}"));
            properties
        });
        for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
            kafka.scram_user(mechanism, "scram", CANARY);
        }
        Self { kafka, first_port }
    }

    #[track_caller]
    fn listener(&self, name: &str) -> String {
        let index = LISTENERS.iter().position(|(listener, ..)| *listener == name).unwrap();
        format!("127.0.0.1:{}", self.first_port + u16::try_from(index).unwrap())
    }
}

const STREAMS: Expected<'_> = Expected::Streams;
const ISSUER: Expected<'_> = Expected::Refused("authority that is not trusted");
const CLIENT: Expected<'_> = Expected::Refused("the broker does not accept our client certificate");

const KEY: Expected<'_> = Expected::Refused("KAFKA_SSL_KEY_PASSWORD");

const fn halted(reason: &str) -> Expected<'_> {
    Expected::Halted("authentication", reason)
}

/// A cell: its name, the listener, the protocol, more variables (a file's name stands for its path),
/// and what comes of it.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
    Expected<'static>,
);

const CA: (&str, &str) = ("KAFKA_SSL_CA_LOCATION", "ours.pem");
const PASSWORD: (&str, &str) = ("KAFKA_SASL_PASSWORD", CANARY);
const WRONG: (&str, &str) = ("KAFKA_SASL_PASSWORD", "canary-word-71c-wrong");
const PLAIN: [(&str, &str); 2] =
    [("KAFKA_SASL_MECHANISM", "PLAIN"), ("KAFKA_SASL_USERNAME", "plain")];
const SCRAM: [(&str, &str); 2] =
    [("KAFKA_SASL_MECHANISM", "SCRAM-SHA-512"), ("KAFKA_SASL_USERNAME", "scram")];

const SCRAM_256: (&str, &str) = ("KAFKA_SASL_MECHANISM", "SCRAM-SHA-256");

const ENCRYPTION: &[Row] = &[
    ("right authority", "RIGHT", "ssl", &[CA], STREAMS),
    ("wrong authority here", "RIGHT", "ssl", &[("KAFKA_SSL_CA_LOCATION", "other.pem")], ISSUER),
    ("wrong authority there", "AUTHORITY", "ssl", &[CA], ISSUER),
    ("no authority is named", "RIGHT", "ssl", &[], ISSUER),
    (
        "wrong authority there, on purpose",
        "AUTHORITY",
        "ssl",
        &[CA, ("KAFKA_PROP_ENABLE_SSL_CERTIFICATE_VERIFICATION", "false")],
        STREAMS,
    ),
    (
        "wrong host, on purpose",
        "HOST",
        "ssl",
        &[CA, ("KAFKA_PROP_SSL_ENDPOINT_IDENTIFICATION_ALGORITHM", "none")],
        STREAMS,
    ),
    ("wrong host", "HOST", "ssl", &[CA], Expected::Refused("it is for another host")),
    ("expired", "EXPIRED", "ssl", &[CA], Expected::Refused("it has expired")),
    (
        "TLS to a plaintext listener",
        "OPEN",
        "ssl",
        &[CA],
        Expected::Refused("the broker does not speak TLS on this port"),
    ),
    (
        "plaintext to a TLS listener",
        "RIGHT",
        "plaintext",
        &[],
        Expected::Refused("it may expect TLS"),
    ),
];

const PASSWORDS: &[Row] = &[
    ("PLAIN", "PASSWORD", "sasl_ssl", &[CA, PLAIN[0], PLAIN[1], PASSWORD], STREAMS),
    (
        "PLAIN, wrong password",
        "PASSWORD",
        "sasl_ssl",
        &[CA, PLAIN[0], PLAIN[1], WRONG],
        halted("Authentication failed: Invalid username or password"),
    ),
    ("SCRAM-SHA-512", "PASSWORD", "sasl_ssl", &[CA, SCRAM[0], SCRAM[1], PASSWORD], STREAMS),
    (
        "SCRAM-SHA-512, wrong password",
        "PASSWORD",
        "sasl_ssl",
        &[CA, SCRAM[0], SCRAM[1], WRONG],
        halted("Authentication failed during authentication due to invalid credentials"),
    ),
    ("SCRAM-SHA-256", "PASSWORD", "sasl_ssl", &[CA, SCRAM_256, SCRAM[1], PASSWORD], STREAMS),
    (
        "SCRAM-SHA-256, wrong password",
        "PASSWORD",
        "sasl_ssl",
        &[CA, SCRAM_256, SCRAM[1], WRONG],
        halted("Authentication failed during authentication due to invalid credentials"),
    ),
    (
        "SCRAM-SHA-512, a user that is not there",
        "PASSWORD",
        "sasl_ssl",
        &[CA, SCRAM[0], ("KAFKA_SASL_USERNAME", "nobody"), PASSWORD],
        halted("Authentication failed during authentication due to invalid credentials"),
    ),
    (
        "a mechanism that the broker has not",
        "OPEN",
        "sasl_plaintext",
        &[SCRAM_256, SCRAM[1], PASSWORD],
        halted("broker's supported mechanisms: SCRAM-SHA-512"),
    ),
    (
        "SCRAM-SHA-512 in the clear",
        "OPEN",
        "sasl_plaintext",
        &[SCRAM[0], SCRAM[1], PASSWORD],
        STREAMS,
    ),
    (
        "password, wrong authority here",
        "PASSWORD",
        "sasl_ssl",
        &[("KAFKA_SSL_CA_LOCATION", "other.pem"), SCRAM[0], SCRAM[1], PASSWORD],
        ISSUER,
    ),
];

const CLIENT_CERTIFICATES: &[Row] = &[
    (
        "client certificate",
        "MUTUAL",
        "ssl",
        &[
            CA,
            ("KAFKA_SSL_CERTIFICATE_LOCATION", "client.pem"),
            ("KAFKA_SSL_KEY_LOCATION", "client.key"),
        ],
        STREAMS,
    ),
    (
        "client certificate, encrypted key",
        "MUTUAL",
        "ssl",
        &[
            CA,
            ("KAFKA_SSL_CERTIFICATE_LOCATION", "client.pem"),
            ("KAFKA_SSL_KEY_LOCATION", "client.encrypted.key"),
            ("KAFKA_SSL_KEY_PASSWORD", CANARY),
        ],
        STREAMS,
    ),
    (
        "client certificate, encrypted key, wrong password",
        "MUTUAL",
        "ssl",
        &[
            CA,
            ("KAFKA_SSL_CERTIFICATE_LOCATION", "client.pem"),
            ("KAFKA_SSL_KEY_LOCATION", "client.encrypted.key"),
            ("KAFKA_SSL_KEY_PASSWORD", "canary-word-71c-wrong"),
        ],
        KEY,
    ),
    (
        "client certificate, encrypted key, no password",
        "MUTUAL",
        "ssl",
        &[
            CA,
            ("KAFKA_SSL_CERTIFICATE_LOCATION", "client.pem"),
            ("KAFKA_SSL_KEY_LOCATION", "client.encrypted.key"),
        ],
        KEY,
    ),
    (
        "another certificate's key",
        "MUTUAL",
        "ssl",
        &[
            CA,
            ("KAFKA_SSL_CERTIFICATE_LOCATION", "client.pem"),
            ("KAFKA_SSL_KEY_LOCATION", "right.key"),
        ],
        Expected::Refused("KAFKA_SSL_KEY_LOCATION is the key of another certificate"),
    ),
    (
        "an expired client certificate",
        "MUTUAL",
        "ssl",
        &[
            CA,
            ("KAFKA_SSL_CERTIFICATE_LOCATION", "client-expired.pem"),
            ("KAFKA_SSL_KEY_LOCATION", "client-expired.key"),
        ],
        CLIENT,
    ),
    (
        "a file that holds no authority",
        "RIGHT",
        "ssl",
        &[("KAFKA_SSL_CA_LOCATION", "client.key")],
        Expected::Refused("KAFKA_SSL_CA_LOCATION holds no certificate"),
    ),
    ("no client certificate", "MUTUAL", "ssl", &[CA], CLIENT),
    (
        "another authority's client certificate",
        "MUTUAL",
        "ssl",
        &[
            CA,
            ("KAFKA_SSL_CERTIFICATE_LOCATION", "client-wrong-authority.pem"),
            ("KAFKA_SSL_KEY_LOCATION", "client-wrong-authority.key"),
        ],
        CLIENT,
    ),
];

#[test]
fn kafka_is_reached_with_the_right_credentials_and_names_what_is_wrong_with_others() {
    let certificates = Certificates::make(CANARY);
    let broker = Broker::start(&certificates);
    let rows = ENCRYPTION.iter().chain(PASSWORDS).chain(CLIENT_CERTIFICATES);
    let cell = |(name, listener, protocol, more, expected): &Row| {
        let mut environment = vec![
            ("KAFKA_BOOTSTRAP_SERVERS", broker.listener(listener)),
            ("KAFKA_SECURITY_PROTOCOL", (*protocol).to_owned()),
            // What the system trusts: something, so that this does not depend on the machine.
            ("SSL_CERT_FILE", certificates.path("unrelated.pem")),
        ];
        environment.extend(more.iter().map(|(variable, value)| {
            let file = variable.ends_with("_LOCATION");
            (*variable, if file { certificates.path(value) } else { (*value).to_owned() })
        }));
        Cell { name: format!("kafka: {name}"), environment, expected: *expected }
    };
    let mut cells: Vec<_> = rows.map(cell).collect();
    check_all(&mut cells, || Postgres::newest().database("kafka_security"), &broker.kafka);
}
