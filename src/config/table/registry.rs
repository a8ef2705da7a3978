//! The schema registry.

use super::Group::Registry;
use super::{Variable, variable};

/// In the order of the help.
pub(super) const VARIABLES: &[Variable] = &[
    variable(
        Registry,
        "WALPOST_REGISTRY_URL",
        "",
        "https://registry:8081",
        "Schema registry with Confluent's API (Apicurio's ends with /apis/ccompat/v7).",
    ),
    variable(
        Registry,
        "WALPOST_REGISTRY_MODE",
        "none",
        "validate",
        "validate: payloads are checked and not changed; prefix: the value begins with the schema's id; header: a header has its GUID.",
    )
    .words(&["none", "validate", "prefix", "header"]),
    variable(
        Registry,
        "WALPOST_REGISTRY_SUBJECT",
        "{topic}-value",
        "{topic}-{type}",
        "Template of the schema's subject; {topic} is the topic that the event goes to.",
    ),
    variable(
        Registry,
        "WALPOST_REGISTRY_MESSAGE",
        "",
        "{type}",
        "Template of the name of the message in a Protobuf schema; unset: the schema's first message.",
    ),
    variable(
        Registry,
        "WALPOST_REGISTRY_REFRESH",
        "5m",
        "30s",
        "How often the latest version of a subject is asked for again.",
    )
    .duration("1s", "1d"),
    variable(Registry, "WALPOST_REGISTRY_USERNAME", "", "walpost", "User."),
    variable(Registry, "WALPOST_REGISTRY_PASSWORD", "", "…", "Password.").secret(),
    variable(
        Registry,
        "WALPOST_REGISTRY_CA",
        "",
        "/etc/ssl/registry-ca.pem",
        "Authorities trusted for its certificate; unset: those of the system.",
    ),
];
