//! An OpenID provider that gives out tokens, and a broker that verifies them.

use std::cell::Cell;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::{Kafka, Settings, folder, free_ports, script};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/dev/token-endpoint");

/// The endpoint that walpost asks for tokens: oidc-provider, with the one client `walpost`.
#[derive(Debug)]
pub(crate) struct TokenEndpoint {
    port: u16,
    folder: TempDir,
    life: Duration,
    /// Certificate and key of the TLS port.
    tls: Option<(String, String)>,
    runs: Cell<bool>,
}

impl TokenEndpoint {
    /// Starts none yet: nobody listens at its port.
    pub(crate) fn absent(life: Duration) -> Self {
        let folder = folder("tokens");
        Self { port: free_ports(2), folder, life, tls: None, runs: Cell::new(false) }
    }

    /// Tokens of this life, for whoever knows the secret.
    #[track_caller]
    pub(crate) fn start(life: Duration, secret: &str) -> Self {
        let endpoint = Self::absent(life);
        endpoint.start_with(secret);
        endpoint
    }

    /// As [`TokenEndpoint::start`], also by TLS.
    #[track_caller]
    pub(crate) fn start_with_tls(
        life: Duration,
        secret: &str,
        certificate: &str,
        key: &str,
    ) -> Self {
        let mut endpoint = Self::absent(life);
        endpoint.tls = Some((certificate.to_owned(), key.to_owned()));
        endpoint.start_with(secret);
        endpoint
    }

    /// Starts it, or starts it again, with the same key and this secret.
    #[track_caller]
    pub(crate) fn start_with(&self, secret: &str) {
        self.start_in(secret, &[]);
    }

    /// As [`TokenEndpoint::start_with`], with variables of its environment.
    #[track_caller]
    pub(crate) fn start_in(&self, secret: &str, environment: &[(&str, &str)]) {
        self.kill();
        let (port, parent) = (self.port.to_string(), std::process::id().to_string());
        let life = self.life.as_secs().to_string();
        let mut arguments = vec!["start", "--port", &port, "--dir", self.dir(), "--secret", secret];
        arguments.extend(["--life", &life]);
        if let Some((certificate, key)) = &self.tls {
            arguments.extend(["--certificate", certificate, "--key", key]);
        }
        arguments.extend(["--with-parent", &parent, "--temporary"]);
        let output = Command::new(SCRIPT)
            .args(&arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "`deploy/dev/token-endpoint` failed: {said}");
        self.runs.set(true);
    }

    /// Ends it at once.
    #[track_caller]
    pub(crate) fn kill(&self) {
        if self.runs.replace(false) {
            script("token-endpoint", &["kill", "--dir", self.dir()]);
        }
    }

    /// Where tokens are asked for.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/token", self.port)
    }

    /// The same by TLS.
    pub(crate) fn https_url(&self) -> String {
        format!("https://localhost:{}/token", self.port + 1)
    }

    /// How many tokens it has given since it was started last.
    pub(crate) fn given(&self) -> usize {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        log.matches("a token was given").count()
    }

    fn dir(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }

    /// The settings of a client that gets its tokens here.
    pub(crate) fn client(&self, settings: Settings, broker: &str, secret: &str) -> Settings {
        settings
            .env("KAFKA_BOOTSTRAP_SERVERS", broker)
            .env("KAFKA_SECURITY_PROTOCOL", "sasl_plaintext")
            .env("KAFKA_SASL_MECHANISM", "OAUTHBEARER")
            .env("KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL", self.url())
            .env("KAFKA_SASL_OAUTHBEARER_CLIENT_ID", "walpost")
            .env("KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET", secret)
            .env("KAFKA_SASL_OAUTHBEARER_SCOPE", "kafka")
    }
}

impl Drop for TokenEndpoint {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A broker with two addresses at which clients need a token, verified by Kafka's own
/// `OAuthBearerValidatorCallbackHandler` with the keys of `endpoint`: the second one wants tokens for
/// another audience. Sessions end with the token that they began with.
#[track_caller]
pub(crate) fn broker(endpoint: &TokenEndpoint) -> (Kafka, String, String) {
    let ports = free_ports(2);
    let [right, other] = [ports, ports + 1].map(|port| format!("127.0.0.1:{port}"));
    let jwks = format!("http://127.0.0.1:{}/jwks", endpoint.port);
    let kafka = Kafka::start_with_listeners(|plaintext| {
        let mut properties = vec![
            format!("-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={jwks}"),
            format!(
                "listeners=PLAINTEXT://127.0.0.1:{plaintext},CONTROLLER://127.0.0.1:{},\
                 TOKENS://{right},OTHERS://{other}",
                plaintext + 1
            ),
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,\
             TOKENS:SASL_PLAINTEXT,OTHERS:SASL_PLAINTEXT"
                .to_owned(),
            "sasl.enabled.mechanisms=OAUTHBEARER".to_owned(),
        ];
        for (listener, audience) in [("tokens", "kafka"), ("others", "another")] {
            let prefix = format!("listener.name.{listener}.oauthbearer");
            let package = "org.apache.kafka.common.security.oauthbearer";
            properties.extend([
                format!("{prefix}.sasl.jaas.config={package}.OAuthBearerLoginModule required;"),
                format!(
                    "{prefix}.sasl.server.callback.handler.class=\
                     {package}.OAuthBearerValidatorCallbackHandler"
                ),
                format!("{prefix}.connections.max.reauth.ms=3600000"),
                format!("{prefix}.sasl.oauthbearer.jwks.endpoint.url={jwks}"),
                format!("{prefix}.sasl.oauthbearer.expected.issuer=https://idp.example"),
                format!("{prefix}.sasl.oauthbearer.expected.audience={audience}"),
            ]);
        }
        properties
    });
    (kafka, right, other)
}
