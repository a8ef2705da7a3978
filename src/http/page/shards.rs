//! The streams, one a line, each with a page of its own.

use crate::status::report::Report;
use crate::status::span::{spoken, spoken_bytes};

use super::markup::Markup;

/// Nothing where there is one stream. `shown` is the one that the page is of.
pub(super) fn shards(page: &mut Markup, shards: &[Report], shown: Option<usize>) {
    if shards.is_empty() {
        return;
    }
    page.section("Shards");
    page.columns(&["Shard", "State", "Lag", "Events", "In flight", "WAL kept", "More"]);
    for (shard, report) in shards.iter().enumerate() {
        let snapshot = &report.snapshot;
        page.row(format_args!("{}", snapshot.slot_name));
        page.cell("State", format_args!("{}", snapshot.state.as_str()));
        let lag = match snapshot.lag.caught_up {
            true => "none".to_owned(),
            false => spoken(snapshot.lag.seconds),
        };
        page.cell("Lag", format_args!("{lag}"));
        page.cell("Events", format_args!("{}", snapshot.counts.events));
        page.cell("In flight", format_args!("{}", spoken_bytes(snapshot.in_flight.bytes)));
        let kept = snapshot
            .slot
            .as_ref()
            .map_or_else(|| "–".to_owned(), |slot| spoken_bytes(slot.retained_bytes));
        page.cell("WAL kept", format_args!("{kept}"));
        page.raw("<td data-label=\"More\">");
        if shown == Some(shard) {
            page.raw("this page");
        } else {
            page.raw("<a href=\"/?shard=");
            page.text(format_args!("{shard}"));
            page.raw("\">its page</a>");
        }
        page.raw("</td>");
        page.end_row();
    }
    page.end_table();
    page.raw("</section>\n");
}
