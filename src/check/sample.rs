//! A sample of rows, through the real encoder.

use std::collections::BTreeMap;

use super::database::{Facts, TableFacts};
use super::table;
use crate::cloudevent::Encoder;
use crate::config::Config;
use crate::outbox::mapping::Mapping;
use crate::outbox::row::RowScratch;
use crate::pipeline::encode as encode_row;
use crate::postgres::catalog::Catalog;
use crate::postgres::error::Error;
use crate::postgres::timestamp::PgTimestamp;

/// How many topics are asked for at most; a sample of rows rarely goes to more.
const TOPICS_MAX: usize = 20;

/// What the newest rows of a table become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sample {
    /// The table cannot be read as an outbox.
    None,
    /// Our role may not read it.
    Forbidden,
    /// It took too long.
    Slow,
    /// The registry does not say what their schemas are.
    WithoutSchemas(String),
    /// Rows were read.
    Rows {
        /// How many.
        rows: usize,
        /// What is wrong with bad ones, and how many have it.
        bad: BTreeMap<String, usize>,
        /// Where the good ones go.
        topics: BTreeMap<String, Route>,
    },
}

/// What goes to one topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Route {
    /// Some event has no key.
    pub(super) null_key: bool,
}

/// Takes a sample of a table.
pub(super) async fn take(
    config: &Config,
    catalog: &Catalog,
    facts: &TableFacts,
) -> Result<Sample, Error> {
    let Ok(mapping) = table::mapping(config, facts) else { return Ok(Sample::None) };
    if facts.table.as_ref().is_none_or(|table| !matches!(table.relkind, 'r' | 'p')) {
        return Ok(Sample::None);
    }
    let columns: Vec<_> =
        table::columns(facts).into_iter().map(|column| column.name.as_str()).collect();
    let name = (facts.name.schema.as_str(), facts.name.table.as_str());
    let pages = facts.storage.map_or(0, |storage| storage.pages);
    match catalog.sampled_rows(name, &columns, pages).await {
        Ok(Some(rows)) => Ok(encode(config, &mapping, &rows).await),
        Ok(None) => Ok(Sample::Slow),
        Err(error) if error.sqlstate() == Some("42501") => Ok(Sample::Forbidden),
        Err(error) => Err(error),
    }
}

/// Makes events of rows.
async fn encode(config: &Config, mapping: &Mapping, rows: &[Vec<Option<Vec<u8>>>]) -> Sample {
    let Ok(encoder) = Encoder::new(&config.events) else { return Sample::None };
    let mut encoder = encoder.with_schemas(&config.events, config.schemas());
    let mut scratch = RowScratch::new();
    let mut bad: BTreeMap<String, usize> = BTreeMap::new();
    let mut topics: BTreeMap<String, Route> = BTreeMap::new();
    for values in rows {
        let row = scratch.copy_of(values.iter().map(Option::as_deref));
        let encoded = match encode_row(&mut encoder, mapping, &row, PgTimestamp::now()).await {
            Ok(encoded) => encoded,
            Err(failure) => return Sample::WithoutSchemas(failure.message().to_owned()),
        };
        match encoded {
            Ok(event) => {
                let route = topics.entry(event.topic.to_owned()).or_default();
                route.null_key |= event.key.is_none();
            }
            Err(error) => *bad.entry(error.to_string()).or_default() += 1,
        }
    }
    Sample::Rows { rows: rows.len(), bad, topics }
}

/// The topics of all samples.
pub(super) fn routes(facts: &Facts) -> BTreeMap<String, Route> {
    let mut routes: BTreeMap<String, Route> = BTreeMap::new();
    for table in &facts.tables {
        let Sample::Rows { topics, .. } = &table.sample else { continue };
        for (topic, route) in topics {
            if routes.len() < TOPICS_MAX || routes.contains_key(topic) {
                routes.entry(topic.clone()).or_default().null_key |= route.null_key;
            }
        }
    }
    routes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::publication::tests::config;
    use crate::check::table::tests::facts;

    fn row(values: [Option<&str>; 5]) -> Vec<Option<Vec<u8>>> {
        values.iter().map(|value| value.map(|text| text.as_bytes().to_vec())).collect()
    }

    #[tokio::test]
    async fn good_rows_give_their_topics_and_bad_ones_their_reasons_without_values() {
        let config = config(&[]);
        let mapping = table::mapping(&config, &facts()).expect("a mapping");
        let rows = [
            row([Some("1"), Some("order"), Some("k"), Some("Placed"), Some("{}")]),
            row([Some("2"), Some("order"), None, Some("Placed"), Some("{}")]),
            row([Some("secret"), Some("a b"), Some("k"), Some("Placed"), Some("{}")]),
            row([Some(""), Some("order"), Some("k"), Some("Placed"), Some("{}")]),
        ];
        let Sample::Rows { rows, bad, topics } = encode(&config, &mapping, &rows).await else {
            panic!("rows were given")
        };
        assert_eq!(rows, 4);
        let topics: Vec<_> = topics.into_iter().collect();
        assert_eq!(topics, [("outbox.event.order".to_owned(), Route { null_key: true })]);
        assert_eq!(bad.len(), 2, "{bad:?}");
        assert!(bad.keys().all(|message| !message.contains("secret")), "{bad:?}");
    }
}
