//! The schema registry.

use super::{Finding, Remedy};
use crate::config::Config;
use crate::registry::client::Client;
use crate::registry::error::RegistryError;

const CHECK: &str = "registry";

/// Asks the registry whether it answers and takes who we are; nothing is said without one.
pub(super) async fn ask(config: &Config) -> Vec<Finding> {
    let Some(options) = &config.registry else { return Vec::new() };
    let url = options.url.as_str();
    if config.events.schemas.is_none() {
        let found =
            format!("schema registry {url} is for commands only: WALPOST_REGISTRY_MODE is none");
        return vec![Finding::ok(CHECK, found)];
    }
    let answer = match Client::new(options) {
        Ok(client) => client.subjects().await,
        Err(error) => Err(error),
    };
    let finding = match answer {
        Ok(1) => Finding::ok(CHECK, format!("schema registry {url} has 1 subject")),
        Ok(count) => Finding::ok(CHECK, format!("schema registry {url} has {count} subjects")),
        Err(error) => Finding::problem(
            CHECK,
            error.to_string(),
            "rows wait until the registry says what their schemas are",
            remedy(&error),
        ),
    };
    vec![finding]
}

fn remedy(error: &RegistryError) -> Remedy {
    Remedy::note(match error {
        RegistryError::Unauthorized(_) => {
            "check WALPOST_REGISTRY_USERNAME and WALPOST_REGISTRY_PASSWORD"
        }
        RegistryError::Forbidden(_) => {
            "let walpost's user of the registry list and read the subjects of its topics"
        }
        RegistryError::Unreachable(_)
        | RegistryError::NotFound(_)
        | RegistryError::Refused(_)
        | RegistryError::Unusable(_) => {
            "check WALPOST_REGISTRY_URL and WALPOST_REGISTRY_CA, and that the registry runs"
        }
    })
}
