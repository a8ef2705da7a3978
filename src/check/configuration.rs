//! What the configuration says by itself.

use super::{Finding, Remedy};
use crate::cloudevent::Encoder;
use crate::config::{Config, Invalid};
use crate::kafka::client::auxiliary;

const CHECK: &str = "configuration";

/// Findings of a configuration that cannot be used.
#[must_use]
pub fn invalid(invalid: &Invalid) -> Vec<Finding> {
    let finding = |problem: &crate::config::Problem| {
        let example = match &problem.example {
            Some(example) => Remedy::variable(&problem.variable, example)
                .then("that is an example; `walpost --help` lists every variable"),
            None => Remedy::note("`walpost --help` lists every variable"),
        };
        let value = problem.value.as_ref().map_or_else(String::new, |value| format!("={value:?}"));
        Finding::problem(
            CHECK,
            format!("{}{value}: {}", problem.variable, problem.reason),
            "walpost does not start with a wrong configuration (exit code 78)",
            example,
        )
    };
    invalid.problems.iter().map(finding).collect()
}

/// Findings of a configuration that was read, and its warnings.
#[must_use]
pub fn loaded(config: &Config, warnings: &[String]) -> Vec<Finding> {
    let mut findings = vec![Finding::ok(
        CHECK,
        format!(
            "connector {}: database {} through slot {} and publication {}, to Kafka at {}",
            config.name,
            config.database.database,
            config.slot,
            config.publication,
            config.kafka.bootstrap_servers
        ),
    )];
    for warning in warnings {
        findings.push(Finding::warning(
            CHECK,
            warning.clone(),
            "it may not be what was meant",
            Remedy::note("`walpost config` shows each value and where it comes from"),
        ));
    }
    if let Err(error) = Encoder::new(&config.events) {
        findings.push(Finding::problem(
            CHECK,
            error.to_string(),
            "no event can be made with it",
            Remedy::note(format!("correct {}", error.variable)),
        ));
    }
    // The text repeats the value, which may be a password, so only the property is named.
    if let Some(property) = auxiliary(&config.kafka, &config.name).refused_property() {
        findings.push(Finding::problem(
            CHECK,
            format!("the Kafka client refuses the property {property}"),
            "no connection to Kafka can be made with it",
            Remedy::note(format!(
                "correct the KAFKA_ variable that sets {property}; its values are in librdkafka's CONFIGURATION.md"
            )),
        ));
    }
    findings
}
