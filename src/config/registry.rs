//! The variables of the schema registry.

use std::path::PathBuf;

use super::reader::Reader;
use crate::cloudevent::options::{Mode, SchemaMode, SchemaOptions};
use crate::outbox::template::Template;
use crate::registry::options::{BaseUrl, RegistryOptions};
use crate::secret::Secret;

/// What they say.
#[derive(Debug, Default)]
pub(super) struct Registry {
    /// Where it is.
    pub(super) options: Option<RegistryOptions>,
    /// What it is for; `None`: only for commands.
    pub(super) schemas: Option<SchemaOptions>,
}

/// Reads them; `None` after a mistake, which is noted.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<Registry> {
    let url = reader.filled("WALPOST_REGISTRY_URL");
    let url = match url {
        Some(text) => Some(reader.accept("WALPOST_REGISTRY_URL", &text, BaseUrl::parse(&text))?),
        None => None,
    };
    let words = [
        ("none", None),
        ("validate", Some(SchemaMode::Validate)),
        ("prefix", Some(SchemaMode::Prefix)),
        ("header", Some(SchemaMode::Header)),
    ];
    let mode = reader.word("WALPOST_REGISTRY_MODE", &words);
    let subject = reader.parsed("WALPOST_REGISTRY_SUBJECT", |text| {
        Template::parse(text).map_err(|error| error.to_string())
    });
    let message = reader.optional("WALPOST_REGISTRY_MESSAGE", |text| {
        Template::parse(text).map_err(|error| error.to_string())
    });
    let refresh = reader.duration("WALPOST_REGISTRY_REFRESH");
    let user = user(reader);
    let ca = reader.filled("WALPOST_REGISTRY_CA").map(PathBuf::from);
    let (mode, subject, refresh, user) = (mode?, subject?, refresh?, user?);
    let schemas = mode.map(|mode| SchemaOptions { mode, subject, message });
    let Some(url) = url else {
        if schemas.is_some() {
            let reason = "is required with WALPOST_REGISTRY_MODE";
            reader.problem("WALPOST_REGISTRY_URL", None, reason);
            return None;
        }
        return Some(Registry::default());
    };
    if user.is_some() && url.is_in_the_clear() {
        reader.warn(
            "WALPOST_REGISTRY_URL is http: WALPOST_REGISTRY_PASSWORD can be read on the way; use \
             https",
        );
    }
    if ca.is_some() && url.as_str().starts_with("http://") {
        reader.warn("WALPOST_REGISTRY_CA has no use: WALPOST_REGISTRY_URL is http");
    }
    Some(Registry { options: Some(RegistryOptions { url, user, ca, refresh }), schemas })
}

/// Notes a mode of the registry that a content mode cannot have.
pub(super) fn fits(reader: &mut Reader<'_>, schemas: Option<&SchemaOptions>, mode: Mode) {
    let framed = schemas
        .is_some_and(|schemas| matches!(schemas.mode, SchemaMode::Prefix | SchemaMode::Header));
    if framed && mode == Mode::Structured {
        let reason = "prefix and header need WALPOST_CE_MODE=binary: an envelope is of no schema \
                      of the registry's; use validate";
        reader.problem("WALPOST_REGISTRY_MODE", None, reason);
    }
}

fn user(reader: &mut Reader<'_>) -> Option<Option<(String, Secret)>> {
    let username = reader.optional("WALPOST_REGISTRY_USERNAME", |text| match text.contains(':') {
        // RFC 7617: the first colon ends the user.
        true => Err("may have no colon in it".to_owned()),
        false => Ok(text.to_owned()),
    });
    let password = reader.filled("WALPOST_REGISTRY_PASSWORD").map(Secret::new);
    let missing = match (username, password) {
        (Some(username), Some(password)) => return Some(Some((username, password))),
        (None, None) => return Some(None),
        (Some(_), None) => ("WALPOST_REGISTRY_PASSWORD", "WALPOST_REGISTRY_USERNAME"),
        (None, Some(_)) => ("WALPOST_REGISTRY_USERNAME", "WALPOST_REGISTRY_PASSWORD"),
    };
    reader.problem(missing.0, None, format!("is required with {}", missing.1));
    None
}
