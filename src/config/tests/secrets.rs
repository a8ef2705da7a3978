//! No secret is shown, wherever it stood and however wrong it was written.

use proptest::prelude::*;

use super::*;

const CANARY: &str = "canary-7f3a";

/// All that is printed of a configuration, right or wrong.
fn printed(set: &[(&str, &str)]) -> String {
    match Config::load(&with(set)) {
        Ok(loaded) => format!("{loaded:?} {:?} {:?}", loaded.config, loaded.warnings),
        Err(invalid) => format!("{invalid} {invalid:?}"),
    }
}

#[track_caller]
fn check(set: &[(&str, &str)]) {
    let printed = printed(set);
    assert!(!printed.contains("canary"), "{set:?}: {printed}");
}

#[test]
fn no_variable_that_holds_a_secret_is_shown() {
    for name in [
        "PGPASSWORD",
        "KAFKA_SASL_PASSWORD",
        "KAFKA_SASL_PASWORD",
        "KAFKA_SSL_KEY_PASSWORD",
        "KAFKA_PROP_SASL_PASSWORD",
        "KAFKA_PROP_SASL_PASWORD",
        "KAFKA_PROP_sasl_password",
        "KAFKA_PROP_SSL_KEY_PEM",
        "KAFKA_PROP_SSL_KEY_PASSWORD",
        "KAFKA_PROP_SSL_KEYSTORE_PASSWORD",
        "KAFKA_PROP_SASL_OAUTHBEARER_CONFIG",
        "KAFKA_PROP_SASL_OAUTHBEARER_CLIENT_SECRET",
        "KAFKA_PROP_SASL_OAUTHBEARER_ASSERTION_PRIVATE_KEY_PASSPHRASE",
        "KAFKA_PROP_SASL_OAUTHBEARER_ASSERTION_PRIVATE_KEY_PEM",
        "KAFKA_PROP_SASL_KERBEROS_KINIT_CMD",
        "WALPOST_HTTP_PASSWORD",
        "WALPOST_HTTP_PASWORD",
        "WALPOST_REGISTRY_PASSWORD",
        "DATABASE_URL",
        "DATABASE_URI",
        "PGPASWORD",
        "WALPOST_PASSWORD",
    ] {
        check(&[(name, CANARY)]);
        // A secret that was given in place of the path to it.
        check(&[(&format!("{name}_FILE"), CANARY)]);
    }
}

#[test]
fn no_secret_in_a_file_is_shown() {
    let file = tempfile::NamedTempFile::new().expect("file");
    let path = file.path().to_str().expect("utf-8");
    for content in [CANARY.to_owned(), format!("{CANARY}\0"), format!("postgres://u:{CANARY}@db")] {
        std::fs::write(file.path(), content).expect("written");
        for name in ["PGPASSWORD", "KAFKA_SASL_PASSWORD", "KAFKA_PROP_SSL_KEY_PEM", "DATABASE_URL"]
        {
            check(&[(&format!("{name}_FILE"), path)]);
        }
    }
}

#[test]
fn no_part_of_a_url_is_shown_that_may_be_a_password() {
    for url in [
        "postgres://walpost:{}@db/shop",
        "postgres://walpost@db/shop?password={}",
        "postgres://walpost@db/shop?pasword={}",
        "postgres://walpost@db/shop?sslmode={}",
        "postgres://walpost@db/shop?connect_timeout={}",
        "postgres://walpost@db/shop?port={}",
        "postgres://walpost@db/shop?{}",
        "mysql://walpost:{}@db/shop",
        "postgres:/walpost:{}@db/shop",
        "\"postgres://walpost:{}@db/shop\"",
        "postgres://walpost:%zz{}@db/shop",
        "postgres://walpost:{}",
        "postgres://walpost:{}/x@db/shop",
        "postgres://walpost:x/{}@db/shop",
        "postgres://walpost:5/{}@db/shop",
        "postgres://walpost:x?{}@db/shop",
        "postgres://walpost:x#{}@db/shop",
        "postgres://walpost:x@{}@db/shop",
        "postgres://walpost:{}@x@db/shop",
        "postgres://walpost:[{}@db/shop",
        "postgres://walpost:{}@db:x/shop",
        "postgres://walpost:{} @db/shop",
        "host=db user=walpost password={}",
    ] {
        check(&[("DATABASE_URL", &url.replace("{}", CANARY))]);
    }
}

#[test]
fn no_url_with_a_password_in_it_is_shown_whose_variable_is_not_secret() {
    for (name, value) in [
        ("KAFKA_BOOTSTRAP_SERVERS", "walpost:{}@kafka:9092"),
        ("KAFKA_BOOTSTRAP_SERVERS", "sasl_ssl://walpost:{}@kafka:9092"),
        ("WALPOST_REGISTRY_URL", "https://walpost:{}@registry"),
        ("WALPOST_CE_SOURCE", "https://walpost:{}@example.com"),
        ("WALPOST_HTTP_ADDR", "http://walpost:{}@0.0.0.0:80"),
    ] {
        let printed = match Config::load(&with(&[(name, &value.replace("{}", CANARY))])) {
            // The source of an event is public; only what is shown of it is looked at.
            Ok(loaded) => format!("{:?}", loaded.effective),
            Err(invalid) => format!("{invalid} {invalid:?}"),
        };
        assert!(!printed.contains("canary"), "{name}: {printed}");
    }
}

proptest! {
    #[test]
    fn no_password_is_shown_however_it_is_written(
        before in "[a-z0-9/?@:%#&=,\\[\\] ]{0,8}",
        after in "[a-z0-9/?@:%#&=,\\[\\] ]{0,8}",
    ) {
        let url = format!("postgres://walpost:{before}canary{after}@db:5432/shop");
        let printed = printed(&[("DATABASE_URL", &url), ("WALPOST_NAME", "n")]);
        prop_assert!(!printed.contains("canary"), "{url}: {printed}");
    }
}
