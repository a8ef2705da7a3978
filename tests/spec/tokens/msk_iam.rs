//! `AWS_MSK_IAM`: the credentials of each place sign a token, which reaches a broker.
//!
//! There is no MSK and no AWS here. That the signature is AWS's own is held by a unit test against tokens of
//! AWS's signer; here small servers answer as STS, EKS and a machine's metadata service do, in the forms of
//! AWS's documentation, and ask for what those ask for.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::LIFE;
use crate::servers::tokens::{TokenEndpoint, broker};
use crate::servers::{Postgres, Settings, until};

/// A server that answers each request as `answer` says, which is given its head and body, and what it was
/// asked.
struct Server {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(answer: fn(&str) -> (u16, String)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let told = Arc::clone(&asked);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let Some(request) = request(&mut stream) else { continue };
                let (status, body) = answer(&request);
                told.lock().unwrap().push(request);
                let length = body.len();
                let head = format!("HTTP/1.1 {status} Said\r\nContent-Length: {length}\r\n\r\n");
                drop(stream.write_all(format!("{head}{body}").as_bytes()));
            }
        });
        Self { port, asked }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The first request that says `text`.
    #[track_caller]
    fn was_asked(&self, text: &str) {
        let asked = self.asked.lock().unwrap();
        assert!(asked.iter().any(|request| request.contains(text)), "{text}: {asked:#?}");
    }
}

/// Reads one request with its body.
fn request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        bytes.push(byte[0]);
    }
    let head = String::from_utf8(bytes).ok()?;
    let length = head.lines().find_map(|line| {
        line.to_lowercase().strip_prefix("content-length:").map(|text| text.trim().to_owned())
    });
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).ok()?;
    Some(format!("{head}{}", String::from_utf8(body).ok()?))
}

/// The form of a container's endpoint and of a machine.
fn document(key: &str) -> String {
    format!(
        r#"{{"AccessKeyId":"{key}","SecretAccessKey":"canary-s","Token":"canary-t","Expiration":"2099-01-01T00:00:00Z"}}"#
    )
}

/// STS: gives a role for the token in the file, as long as that is the right one.
fn sts(request: &str) -> (u16, String) {
    if !request.contains("WebIdentityToken=right-token") {
        let error =
            "<ErrorResponse><Error><Code>InvalidIdentityToken</Code></Error></ErrorResponse>";
        return (400, error.to_owned());
    }
    let credentials = "<Credentials><AccessKeyId>AKID-STS</AccessKeyId><SecretAccessKey>canary-s\
                       </SecretAccessKey><SessionToken>canary-t</SessionToken><Expiration>\
                       2099-01-01T00:00:00Z</Expiration></Credentials>";
    (
        200,
        format!(
            "<AssumeRoleWithWebIdentityResponse>{credentials}</AssumeRoleWithWebIdentityResponse>"
        ),
    )
}

/// EKS Pod Identity: gives them to whoever has the token of the file.
fn pod(request: &str) -> (u16, String) {
    match request.to_lowercase().contains("authorization: right-token") {
        true => (200, document("AKID-POD")),
        false => (401, String::new()),
    }
}

/// A machine's metadata service, version 2: nothing without a session.
fn machine(request: &str) -> (u16, String) {
    let session = request.contains("x-aws-ec2-metadata-token: a-session");
    let path = request.split(' ').nth(1).unwrap_or_default();
    match (request.starts_with("PUT"), session, path) {
        (true, _, "/latest/api/token") => (200, "a-session".to_owned()),
        (false, true, "/latest/meta-data/iam/security-credentials/") => (200, "relay".to_owned()),
        (false, true, "/latest/meta-data/iam/security-credentials/relay") => {
            (200, document("AKID-MACHINE"))
        }
        _ => (401, String::new()),
    }
}

/// Runs the check and gives back its findings.
fn checked(settings: &Settings) -> Vec<Value> {
    let finished = settings.clone().arguments(&["check", "--json"]).run();
    assert!(!finished.stdout.contains("canary"), "a secret is shown: {finished:?}");
    let report: Value = serde_json::from_str(&finished.stdout).unwrap();
    report["findings"].as_array().unwrap().clone()
}

/// What is found under `check`, as its level and its text.
#[track_caller]
fn finding<'a>(findings: &'a [Value], check: &str) -> (&'a str, &'a str) {
    let found = findings.iter().find(|finding| finding["check"] == check);
    let found = found.unwrap_or_else(|| panic!("nothing under {check}: {findings:#?}"));
    (found["level"].as_str().unwrap(), found["found"].as_str().unwrap())
}

#[test]
fn credentials_of_each_place_sign_a_token_that_the_broker_is_shown() {
    let endpoint = TokenEndpoint::start(LIFE, "s");
    let (kafka, address, _) = broker(&endpoint);
    let database = Postgres::newest().database("msk");
    database.create_outbox();
    let settings = Settings::new(&database, &kafka)
        .env("KAFKA_BOOTSTRAP_SERVERS", address)
        .env("KAFKA_SECURITY_PROTOCOL", "sasl_plaintext")
        .env("KAFKA_SASL_MECHANISM", "AWS_MSK_IAM")
        .env("AWS_REGION", "eu-west-1");
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "right-token\n").unwrap();
    let token = token.path().to_str().unwrap();
    let (sts, pod, machine) = (Server::start(sts), Server::start(pod), Server::start(machine));
    let identity = settings
        .clone()
        .env("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/relay")
        .env("AWS_WEB_IDENTITY_TOKEN_FILE", token)
        .env("AWS_ENDPOINT_URL_STS", sts.url());
    let container = settings
        .clone()
        .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{}/v1/credentials", pod.url()))
        .env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token);
    let keys = settings
        .clone()
        .env("AWS_ACCESS_KEY_ID", "AKID-KEYS")
        .env("AWS_SECRET_ACCESS_KEY", "canary-s");
    let here = settings.clone().env("AWS_EC2_METADATA_SERVICE_ENDPOINT", machine.url());
    for (settings, key) in [
        (&keys, "AKID-KEYS"),
        (&identity, "AKID-STS"),
        (&container, "AKID-POD"),
        (&here, "AKID-MACHINE"),
    ] {
        let findings = checked(settings);
        let (level, found) = finding(&findings, "kafka_login");
        assert_eq!(level, "ok", "{found}");
        assert!(found.contains(&format!("for {key} in eu-west-1")), "{found}");
        assert!(found.ends_with("for 900 s"), "{found}");
        // The broker verifies JWTs, and this is none: it was shown, and refused.
        let (level, found) = finding(&findings, "kafka");
        assert_eq!(level, "problem", "{found}");
        assert!(found.contains("invalid_token"), "{found}");
    }
    sts.was_asked("Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam");
    sts.was_asked("&RoleSessionName=walpost&WebIdentityToken=right-token");

    // A token file that is replaced by one that is not taken.
    std::fs::write(token, "wrong-token").unwrap();
    let refused = checked(&identity);
    assert!(finding(&refused, "kafka_login").1.contains("InvalidIdentityToken"), "{refused:#?}");
    let refused = checked(&container);
    assert!(finding(&refused, "kafka_login").1.contains("gives no credentials (401)"));
    // The relay halts for it.
    let walpost = identity.start();
    until("the halt", || {
        let status = walpost.try_get("/status.json")?.json();
        (status["halt"]["code"] == "authentication").then_some(())
    });
    assert!(!walpost.log().contains("canary"), "{}", walpost.log());
}
