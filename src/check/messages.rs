//! Messages that are outbox rows (`WALPOST_MESSAGES`).

use super::{Finding, Remedy};
use crate::config::Config;
use crate::outbox::message::MessageReader;
use crate::postgres::catalog::Catalog;
use crate::postgres::error::Error;
use crate::status::HaltCode;

const CHECK: &str = "messages";

/// Asks for the database's encoding; nothing is said without messages.
pub(super) async fn ask(config: &Config, catalog: &Catalog) -> Result<Vec<Finding>, Error> {
    let Some(prefix) = &config.messages else { return Ok(Vec::new()) };
    let (rows, _) = catalog.statements("SELECT current_setting('server_encoding')").await?;
    let encoding = rows.into_iter().next().and_then(|row| row.into_iter().next().flatten());
    Ok(findings(config, prefix, &encoding.unwrap_or_default()))
}

fn findings(config: &Config, prefix: &str, encoding: &str) -> Vec<Finding> {
    if let Err(error) = MessageReader::new(prefix, &config.events) {
        return vec![
            Finding::problem(
                CHECK,
                format!("no message can be read as an outbox row: {error}"),
                "the relay would not start",
                Remedy::note("correct the variable that is named"),
            )
            .halts(HaltCode::NotReady),
        ];
    }
    let mut findings = vec![Finding::ok(
        CHECK,
        format!("messages with the prefix {prefix:?} are outbox rows, if they are transactional"),
    )];
    if encoding != "UTF8" {
        findings.push(Finding::warning(
            CHECK,
            format!("the database has the encoding {encoding}, in which messages are sent as they are"),
            "unlike columns, they are not translated; one with a character beyond ASCII is a bad row",
            Remedy::note(
                "give the bytes of a message in UTF-8: pg_logical_emit_message(true, prefix, convert_to(json, 'UTF8'))",
            ),
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;
    use crate::check::publication::tests::config;

    #[track_caller]
    fn check(more: &[(&str, &str)], encoding: &str, expected: &[Level]) {
        let variables: Vec<_> =
            more.iter().copied().chain([("WALPOST_MESSAGES", "shop")]).collect();
        let found = findings(&config(&variables), "shop", encoding);
        let levels: Vec<_> = found.iter().map(|finding| finding.level).collect();
        assert_eq!(levels, expected, "{found:#?}");
    }

    #[test]
    fn what_keeps_messages_from_becoming_events_is_named() {
        check(&[], "UTF8", &[Level::Ok]);
        check(&[], "LATIN1", &[Level::Ok, Level::Warning]);
        let two_columns =
            [("WALPOST_COLUMN_TENANT_ID", "tenant"), ("WALPOST_CE_EXTENSIONS", "tenantid=other")];
        check(&two_columns, "UTF8", &[Level::Problem]);
    }
}
