//! `walpost dlq purge`: resolved letters are removed, up to the first that is not.
//!
//! Kafka removes from the beginning of a partition only. What is removed must take no marker with
//! it whose letter stays in another partition: that letter would be unresolved again.

use std::collections::BTreeMap;

use rdkafka::admin::AdminOptions;
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Value, json};

use super::letters::{Done, Topic};
use crate::cli::command::Stopped;
use crate::cli::printed::{count, printable};
use crate::cli::{Exit, output};
use crate::config::Config;
use crate::error::Failure;
use crate::kafka::client::{ANSWER_LIMIT, auxiliary};
use crate::kafka::dead_letter::{Entry, Letter, Place};
use crate::kafka::reading::Extents;

/// What may be removed, and whether it is.
#[derive(Clone, Copy, Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct Arguments {
    /// Resolved letters of other connectors too; else the first record of another one is where
    /// it stops.
    #[arg(long)]
    all_connectors: bool,
    /// Only say what would be removed; so it is without --yes too.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Remove them.
    #[arg(long)]
    yes: bool,
    /// Prints it as JSON.
    #[arg(long)]
    json: bool,
}

/// The first record of a partition that must stay.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Blocker {
    offset: i64,
    what: String,
}

#[derive(Debug, Default)]
struct Found {
    blockers: BTreeMap<i32, Blocker>,
    /// Markers and notes, and the letters that they are about.
    markers: Vec<(Place, Place)>,
    /// Unresolved letters, of whatever connector.
    unresolved: u64,
}

/// What is removed: before these offsets, so many letters.
#[derive(Debug, Default, PartialEq, Eq)]
struct Cut {
    before: BTreeMap<i32, i64>,
    letters: BTreeMap<i32, u64>,
}

/// Plans, and removes with `--yes`.
pub(super) async fn run(config: Config, arguments: Arguments) -> Result<Exit, Stopped> {
    let topic = Topic::new(&config);
    let done = topic.done().await?;
    let own = (!arguments.all_connectors).then(|| config.name.clone());
    let (found, extents) = topic
        .read(Found::default(), move |found, record| {
            let here = Place { partition: record.partition(), offset: record.offset() };
            found.add(&done, own.as_deref(), (here, Entry::of(record)));
        })
        .await?;
    let before = cuts(&extents, &found);
    let limits = before.clone();
    let (letters, _) = topic
        .letters(BTreeMap::<i32, u64>::new(), move |letters, letter, record| {
            let partition = letter.place.partition;
            if limits.get(&partition).is_some_and(|before| record.offset() < *before) {
                *letters.entry(partition).or_insert(0) += 1;
            }
        })
        .await?;
    let cut = Cut { before, letters };
    if !arguments.json {
        output::line(&text(&config, &extents, &found, &cut))?;
    }
    let removes = cut.before.iter().any(|(partition, before)| {
        extents.get(partition).is_some_and(|extent| extent.low < *before)
    });
    if arguments.yes && removes {
        remove(&config, &extents, &cut).await?;
    }
    let letters: u64 = cut.letters.values().sum();
    if arguments.json {
        let removed = arguments.yes.then_some(letters);
        output::line(&format!("{:#}", json(&config, &extents, (&found, &cut), removed)))?;
    } else {
        let letters = count(letters, "letter", "letters");
        output::line(&match arguments.yes {
            true => format!("done        {letters} removed"),
            false => "nothing was removed; --yes removes them".to_owned(),
        })?;
    }
    Ok(Exit::Done)
}

impl Found {
    /// Looks at a record; with `own` those of other connectors must stay.
    fn add(&mut self, done: &Done, own: Option<&str>, (here, entry): (Place, Entry)) {
        let letter = match entry {
            Entry::Resolved(about) | Entry::Attempted(about) => {
                self.markers.push((here, about));
                return;
            }
            Entry::Letter(letter) => letter,
        };
        let resolved = done.resolved.contains(&letter.place);
        if !resolved {
            self.unresolved += 1;
        }
        let other = own.is_some_and(|own| letter.connector() != Some(own));
        let what = match (resolved, other) {
            (true, false) => return,
            (false, _) => format!("an unresolved letter, {}", named(&letter)),
            (true, true) => format!("a letter of another connector, {}", named(&letter)),
        };
        self.blockers
            .entry(letter.place.partition)
            .or_insert(Blocker { offset: letter.place.offset, what });
    }
}

fn named(letter: &Letter) -> String {
    let of = letter.connector().unwrap_or("another program");
    printable(&format!("{} of {of}", letter.reason().unwrap_or("no reason")))
}

/// Before which offset each partition may be cut.
fn cuts(extents: &Extents, found: &Found) -> BTreeMap<i32, i64> {
    let first = |partition: &i32, high: i64| {
        found.blockers.get(partition).map_or(high, |blocker| blocker.offset)
    };
    let mut cuts: BTreeMap<_, _> = extents
        .iter()
        .map(|(partition, extent)| (*partition, first(partition, extent.high)))
        .collect();
    // A cut that moves back may keep a letter whose marker is before another cut.
    loop {
        let mut moved = false;
        for (marker, letter) in &found.markers {
            let stays = cuts.get(&letter.partition).is_some_and(|cut| letter.offset >= *cut);
            if let Some(cut) =
                cuts.get_mut(&marker.partition).filter(|cut| stays && marker.offset < **cut)
            {
                *cut = marker.offset;
                moved = true;
            }
        }
        if !moved {
            return cuts;
        }
    }
}

async fn remove(config: &Config, extents: &Extents, cut: &Cut) -> Result<(), Failure> {
    let topic = &config.dlq_topic;
    let failed = |why: String| Failure::Again {
        code: "kafka_error",
        message: format!("failed to remove records of topic {topic}: {why}"),
        hint: Some(format!(
            "removing needs the right Delete on topic {topic}, and cleanup.policy=delete"
        )),
    };
    let client = auxiliary(&config.kafka, &config.name)
        .admin()
        .map_err(|error| failed(error.to_string()))?;
    let mut list = TopicPartitionList::new();
    for (partition, before) in &cut.before {
        if extents.get(partition).is_some_and(|extent| extent.low < *before) {
            list.add_partition_offset(topic, *partition, Offset::Offset(*before))
                .map_err(|error| failed(error.to_string()))?;
        }
    }
    let options = AdminOptions::new()
        .request_timeout(Some(ANSWER_LIMIT))
        .operation_timeout(Some(ANSWER_LIMIT));
    let removed =
        client.delete_records(&list, &options).await.map_err(|error| failed(error.to_string()))?;
    for element in removed.elements() {
        element.error().map_err(|error| failed(error.to_string()))?;
    }
    Ok(())
}

fn text(config: &Config, extents: &Extents, found: &Found, cut: &Cut) -> String {
    let mut lines = vec![format!("topic       {}", config.dlq_topic)];
    for (partition, extent) in extents {
        let before = cut.before.get(partition).copied().unwrap_or(extent.low);
        let letters = cut.letters.get(partition).copied().unwrap_or(0);
        let stops = match found.blockers.get(partition) {
            Some(blocker) if blocker.offset == before => {
                format!("; stops at {partition}:{before}, {}", blocker.what)
            }
            _ if before < extent.high => format!(
                "; stops at {partition}:{before}, the marker of a letter that stays in another partition"
            ),
            _ => String::new(),
        };
        lines.push(format!(
            "partition   {partition}: removes {}{stops}",
            count(letters, "resolved letter", "resolved letters")
        ));
    }
    lines.push(format!(
        "remain      {}",
        count(found.unresolved, "unresolved letter", "unresolved letters")
    ));
    lines.join("\n")
}

fn json(
    config: &Config,
    extents: &Extents,
    (found, cut): (&Found, &Cut),
    removed: Option<u64>,
) -> Value {
    let partitions = extents.iter().map(|(partition, extent)| {
        let before = cut.before.get(partition).copied().unwrap_or(extent.low);
        let blocker = found.blockers.get(partition).filter(|blocker| blocker.offset == before);
        json!({
            "partition": partition,
            "letters": cut.letters.get(partition).copied().unwrap_or(0),
            "before": before,
            "end": extent.high,
            "stops_at": blocker.map(|blocker| blocker.what.as_str()),
        })
    });
    json!({
        "topic": config.dlq_topic,
        "partitions": partitions.collect::<Vec<_>>(),
        "letters": cut.letters.values().sum::<u64>(),
        "unresolved": found.unresolved,
        "removed": removed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::reading::Extent;

    fn place(partition: i32, offset: i64) -> Place {
        Place { partition, offset }
    }

    #[track_caller]
    fn check(blockers: &[(i32, i64)], markers: &[(Place, Place)], expected: &[(i32, i64)]) {
        let extents = (0..3).map(|partition| (partition, Extent { low: 0, high: 100 })).collect();
        let blocker = |(partition, offset): &(i32, i64)| {
            (*partition, Blocker { offset: *offset, what: String::new() })
        };
        let found = Found {
            blockers: blockers.iter().map(blocker).collect(),
            markers: markers.to_vec(),
            unresolved: 0,
        };
        assert_eq!(cuts(&extents, &found), expected.iter().copied().collect());
    }

    #[test]
    fn a_partition_is_cut_before_the_first_record_that_must_stay() {
        check(&[(0, 10)], &[], &[(0, 10), (1, 100), (2, 100)]);
    }

    #[test]
    fn a_marker_stays_as_long_as_its_letter() {
        // Of the letter 0:20, which stays behind 0:10, the marker is in partition 1.
        check(&[(0, 10)], &[(place(1, 30), place(0, 20))], &[(0, 10), (1, 30), (2, 100)]);
        // That cut keeps 1:40, whose marker is in partition 2.
        let chain = [(place(2, 5), place(1, 40)), (place(1, 30), place(0, 20))];
        check(&[(0, 10)], &chain, &[(0, 10), (1, 30), (2, 5)]);
        // The marker of a letter that goes may go.
        check(&[(0, 10)], &[(place(1, 30), place(0, 9))], &[(0, 10), (1, 100), (2, 100)]);
    }
}
