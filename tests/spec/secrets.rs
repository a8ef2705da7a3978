//! Goal: no secret and no payload is anywhere but where it belongs.
//! Method: canary words in every secret, servers that ask for them, everything that can be logged is;
//! then all that the process said is searched.

use crate::servers::walpost::Walpost;
use crate::servers::{Kafka, Postgres, Session, Settings, free_ports, http, until};

const DATABASE: &str = "canary-database-4711";
const SASL: &str = "canary-sasl-4712";
const HTTP: &str = "canary-http-4713";
const PAYLOAD: &str = "canary-payload-4714";

/// Everything that the process says, and what `walpost config` says of the same settings.
fn everything(walpost: &Walpost, settings: &Settings, address: &str) -> String {
    let mut said = walpost.log();
    let login = format!("Authorization: Basic {}\r\n", base64(&format!("ops:{HTTP}")));
    for path in ["/", "/status.json", "/metrics", "/livez", "/readyz", "/startupz"] {
        let answer = http::get_with(address.parse().unwrap(), path, &login).unwrap();
        assert!(matches!(answer.status, 200 | 503), "{path}: {answer:?}");
        said.push_str(&answer.body);
    }
    for arguments in [&["config"][..], &["config", "--json"]] {
        let finished = settings.clone().arguments(arguments).run();
        assert_eq!(finished.code, 0, "{finished:?}");
        assert!(finished.stdout.contains("***"), "a secret that is set shows that it is set");
        said.push_str(&finished.stdout);
        said.push_str(&finished.stderr);
    }
    said
}

#[track_caller]
fn check_no_secret(said: &str) {
    for secret in [DATABASE, SASL, HTTP, PAYLOAD] {
        for form in [secret.to_owned(), base64(secret), secret.replace('-', "%2D")] {
            let found = said.lines().find(|line| line.contains(&form));
            assert_eq!(found, None, "{form}");
        }
    }
}

#[test]
fn no_secret_and_no_payload_shows_while_servers_refuse_and_while_they_serve() {
    let server = Postgres::start(18);
    let database = server.database("secrets");
    database.create_outbox();
    database.execute(&format!(
        "create role relay login superuser replication password 'right-{DATABASE}'"
    ));
    let hba = server.path().join("data/pg_hba.conf");
    let rules = std::fs::read_to_string(&hba).unwrap();
    std::fs::write(&hba, format!("host all relay 127.0.0.1/32 scram-sha-256\n{rules}")).unwrap();
    Session::open(&server.url("postgres")).execute("select pg_reload_conf()");
    let (kafka, sasl) = Kafka::start_with_sasl("walpost", &format!("right-{SASL}"));
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(password.path(), format!("wrong-{SASL}\n")).unwrap();

    let address = format!("127.0.0.1:{}", free_ports(1));
    let url = database.url().replace("postgres@", &format!("relay:wrong-{DATABASE}@"));
    let settings = Settings::new(&database, &kafka)
        .env("DATABASE_URL", &url)
        .env("KAFKA_BOOTSTRAP_SERVERS", sasl)
        .env("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT")
        .env("KAFKA_SASL_MECHANISM", "PLAIN")
        .env("KAFKA_SASL_USERNAME", "walpost")
        .env("KAFKA_SASL_PASSWORD_FILE", password.path().to_str().unwrap())
        .env("KAFKA_PROP_DEBUG", "security,broker,protocol")
        .env("WALPOST_HTTP_USERNAME", "ops")
        .env("WALPOST_HTTP_PASSWORD", HTTP)
        .env("WALPOST_HTTP_ADDR", &address)
        .env("WALPOST_LOG", "trace");

    // Refused by Postgres.
    let walpost = settings.start();
    wait_for_authentication_halt(&walpost, "postgres");
    check_no_secret(&everything(&walpost, &settings, &address));
    drop(walpost);

    // Refused by Kafka; the file is put right while it runs, and it recovers by itself.
    let settings = settings.env("DATABASE_URL", url.replace("wrong-", "right-"));
    let mut walpost = settings.start();
    wait_for_authentication_halt(&walpost, "kafka");
    check_no_secret(&everything(&walpost, &settings, &address));
    std::fs::write(password.path(), format!("right-{SASL}\n")).unwrap();
    walpost.wait_until_ready();

    // Served: rows pass, bad ones too.
    database.execute(&format!(
        "insert into outbox (aggregatetype, aggregateid, type, payload)
         values ('order', 'k', 'Placed', '\"{PAYLOAD}\"'), ('no topic!', 'k', 'Placed', '\"{PAYLOAD}\"')"
    ));
    kafka.wait_for_records(&format!("{}.order", database.name()), 1);
    kafka.wait_for_records(&format!("{}.dlq", database.name()), 1);
    let said = everything(&walpost, &settings, &address);
    check_no_secret(&said);
    assert!(said.contains("illegal_name"), "the bad row was told: {said}");
    walpost.terminate();
    assert_eq!(walpost.wait(), 0);
    check_no_secret(&walpost.log());
}

#[track_caller]
fn wait_for_authentication_halt(walpost: &Walpost, who: &str) {
    until(&format!("halt authentication of {who}"), || {
        let metrics = walpost.try_get("/metrics")?;
        let metrics = crate::servers::Metrics::parse(&metrics.body);
        (metrics.get("walpost_halted", &[("code", "authentication")]) == Some(1.0)).then_some(())
    });
    assert_eq!(walpost.get("/readyz").status, 503);
    assert_eq!(walpost.get("/livez").status, 200);
}

#[test]
fn the_page_asks_for_its_password_and_the_probes_do_not() {
    let address = format!("127.0.0.1:{}", free_ports(1));
    let walpost = Settings::none()
        .env("DATABASE_URL", "postgres://u@127.0.0.1:9/shop")
        .env("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9")
        .env("WALPOST_HTTP_USERNAME", "ops")
        .env("WALPOST_HTTP_PASSWORD", HTTP)
        .env("WALPOST_HTTP_ADDR", &address)
        .start();
    until("the start", || (walpost.try_get("/startupz")?.status == 200).then_some(()));
    for path in ["/", "/status.json"] {
        let get = |login: &str| {
            let header = format!("Authorization: Basic {}\r\n", base64(login));
            http::get_with(address.parse().unwrap(), path, &header).unwrap().status
        };
        assert_eq!(walpost.get(path).status, 401, "{path}");
        assert_eq!(get("ops:wrong"), 401, "{path}");
        assert_eq!(get(&format!("ops:{HTTP}")), 200, "{path}");
    }
    for path in ["/livez", "/startupz", "/metrics"] {
        assert_eq!(walpost.get(path).status, 200, "{path}");
    }
}

#[test]
fn a_secret_in_a_wrong_setting_is_not_in_the_message() {
    for (name, value) in [
        ("DATABASE_URL", format!("postgres://relay:{DATABASE}@127.0.0.1:port/shop")),
        ("DATABASE_URL", format!("postgres://relay:{DATABASE}/not-escaped@127.0.0.1/shop")),
        ("DATABASE_URL", format!("host=db password={DATABASE}")),
        ("KAFKA_PROP_SASL_PASWORD", SASL.to_owned()),
        ("KAFKA_PROP_SSL_KEY_PASSWORT", SASL.to_owned()),
        ("WALPOST_HTTP_PASWORD", HTTP.to_owned()),
        ("KAFKA_PROP_SASL_OAUTHBEARER_CONFIG", SASL.to_owned()),
    ] {
        let finished = Settings::none()
            .env("DATABASE_URL", "postgres://u@127.0.0.1:9/shop")
            .env("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9")
            .env("PGSSLMODE", "wrong, so that there is a message")
            .env(name, value)
            .run();
        assert_eq!(finished.code, 78, "{finished:?}");
        assert!(finished.stderr.contains("PGSSLMODE"), "{finished:?}");
        check_no_secret(&format!("{}{}", finished.stdout, finished.stderr));
    }
}

fn base64(text: &str) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let bytes = [0, 1, 2].map(|index| u32::from(*chunk.get(index).unwrap_or(&0)));
        let bits = bytes[0] << 16 | bytes[1] << 8 | bytes[2];
        for index in 0..=chunk.len() {
            let digit = usize::try_from(bits >> (18 - 6 * index) & 63).unwrap();
            encoded.push(char::from(DIGITS[digit]));
        }
        (chunk.len()..3).for_each(|_| encoded.push('='));
    }
    encoded
}
