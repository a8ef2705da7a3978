//! What was or would be deleted, for people.

use super::holding::Holding;
use super::{Arguments, Done};
use crate::prune::{Counted, Dropping, Obstacle};

/// All of it.
pub(super) fn of(
    arguments: Arguments,
    (obstacles, holding): (&[Obstacle], &[Holding]),
    done: &[Done],
) -> String {
    let mut lines = Vec::new();
    for done in done {
        let table = &done.table;
        match &done.counted {
            Some(counted) => lines.extend(counts(table, counted)),
            None => lines.push(format!("{table}: {} rows deleted", done.deleted)),
        }
        if done.busy_pages > 0 {
            lines.push(format!(
                "  {} pages were left out, because somebody had locked rows on them; the next run takes them",
                done.busy_pages
            ));
        }
        lines.extend(done.partitions.iter().map(|dropping| partition(arguments, dropping)));
    }
    for Obstacle { table, why } in obstacles {
        lines.push(format!("{table}: nothing of it is deleted: {why}"));
    }
    lines.extend(holding.iter().map(Holding::text));
    if arguments.dry_run {
        lines.push("nothing was changed".to_owned());
    }
    lines.join("\n")
}

fn counts(table: &str, counted: &Counted) -> Vec<String> {
    let mut lines = vec![format!("{table}: {} rows would be deleted", counted.due)];
    for (rows, why) in [
        (counted.young, "are not old enough"),
        (counted.undated, "have no time, so their age is not known"),
        (
            counted.unproven,
            "were written by a transaction that had not ended when this began, or by one that is younger",
        ),
        (
            counted.before,
            "were written before the stream began, or cannot be told from such rows: walpost has not delivered them",
        ),
        (counted.kept, "are not in Kafka: skipped, or their dead letter is without the payload"),
        (
            counted.partition,
            "are in a partition whose rows are not known to have come through the stream",
        ),
    ] {
        if rows > 0 {
            lines.push(format!("  {rows} rows stay: they {why}"));
        }
    }
    lines
}

fn partition(arguments: Arguments, dropping: &Dropping) -> String {
    let Dropping { partition, refused, rows } = dropping;
    match refused {
        Some(why) => format!("  partition {partition} stays: {why}"),
        None if arguments.dry_run => {
            format!("  partition {partition} would be dropped, with {rows} rows")
        }
        None => format!("  partition {partition} was dropped, with {rows} rows"),
    }
}
