//! A registry behind TLS: whose certificate is believed, also while it is renewed.

use super::{Case, ORDER, ORDER_2};
use crate::connections::certificates::Certificates;
use crate::servers::registry_tls::TlsDoor;
use crate::servers::{Kafka, Settings, folder};

#[test]
fn a_registry_by_tls_is_the_one_that_its_authority_vouches_for() {
    let made = Certificates::make("unused");
    let folder = folder("schemas");
    std::fs::write(folder.path().join("tls-value.json"), ORDER).unwrap();
    let check = |server: &str, authority: Option<&str>, code: i32, words: &str| {
        let door = TlsDoor::open(
            &made.path(&format!("{server}.pem")),
            &made.path(&format!("{server}.key")),
        );
        let mut settings = Settings::none().env("WALPOST_REGISTRY_URL", door.url());
        if let Some(authority) = authority {
            settings = settings.env("WALPOST_REGISTRY_CA", made.path(authority));
        }
        let done = settings.arguments(&["schema", "check", folder.path().to_str().unwrap()]).run();
        let said = format!("{}{}", done.stdout, done.stderr);
        assert!(done.code == code && said.contains(words), "{server}, {authority:?}: {done:?}");
    };
    check("right", Some("ours.pem"), 0, "tls-value");
    check("right", Some("other.pem"), 1, "UnknownIssuer");
    check("right", None, 1, "UnknownIssuer");
    check("wrong-authority", Some("ours.pem"), 1, "UnknownIssuer");
    check("wrong-host", Some("ours.pem"), 1, "not valid for name");
    check("expired", Some("ours.pem"), 1, "expired");
    check("right", Some("ours.key"), 1, "has no certificate in it");
}

#[test]
fn an_authority_of_the_registry_that_is_rotated_in_its_file_is_taken() {
    let made = Certificates::make("unused");
    let door = TlsDoor::open(&made.path("right.pem"), &made.path("right.key"));
    let case = Case::new("authority", "validate", &door.url());
    case.register(ORDER);
    let authority = folder("authority");
    let file = authority.path().join("ca.pem");
    std::fs::copy(made.path("ours.pem"), &file).unwrap();
    let settings = case.settings.clone().env("WALPOST_REGISTRY_CA", file.to_str().unwrap());
    let mut walpost = settings.start();
    walpost.wait_until_ready();
    case.insert(1, "'{\"total\": 1}'");
    assert_eq!(Kafka::shared().wait_for_records(&case.topic(), 1).len(), 1);

    // The registry comes to an authority that walpost does not know yet: what is known goes on.
    door.renew(&made.path("wrong-authority.pem"), &made.path("wrong-authority.key"));
    let line = walpost.wait_for_line("no newer schema is known");
    assert!(line.contains("UnknownIssuer"), "{line}");
    case.insert(2, "'{\"total\": 2}'");
    assert_eq!(Kafka::shared().wait_for_records(&case.topic(), 2).len(), 2);
    std::fs::copy(made.path("other.pem"), &file).unwrap();
    let second = case.register(ORDER_2);
    walpost.wait_for_line(&format!("\"id\":{second},"));
    case.insert(3, "'{\"total\": 3, \"note\": \"n\"}'");
    assert_eq!(Kafka::shared().wait_for_records(&case.topic(), 3).len(), 3);
}
