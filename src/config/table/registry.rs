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
        "Schema registry with the Confluent API.",
    )
    .later(),
    variable(
        Registry,
        "WALPOST_REGISTRY_MODE",
        "none",
        "validate",
        "none, validate, prefix or header.",
    )
    .later()
    .words(&["none", "validate", "prefix", "header"]),
    variable(
        Registry,
        "WALPOST_REGISTRY_SUBJECT",
        "{topic}-value",
        "{topic}-value",
        "Template of the subject.",
    )
    .later(),
    variable(Registry, "WALPOST_REGISTRY_USERNAME", "", "walpost", "User.").later(),
    variable(Registry, "WALPOST_REGISTRY_PASSWORD", "", "…", "Password.").secret().later(),
    variable(
        Registry,
        "WALPOST_REGISTRY_CA",
        "",
        "/etc/ssl/registry-ca.pem",
        "Authorities trusted for its certificate.",
    )
    .later(),
];
