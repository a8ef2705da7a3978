//! What went to which topic, how fast, and how evenly.

use crate::status::snapshot::TopicTotal;
use crate::status::span::spoken_bytes;

use super::markup::Markup;

/// How many topics the page lists; `/status.json` has all.
const SHOWN: usize = 50;

pub(super) fn topics(page: &mut Markup, topics: &[TopicTotal]) {
    page.section("Topics");
    if topics.is_empty() {
        page.raw("<p>No event was confirmed yet.</p>\n</section>\n");
        return;
    }
    page.columns(&["Topic", "Rate", "Events", "Size", "Hottest key", "Busiest partition"]);
    for total in topics.iter().take(SHOWN) {
        page.row(format_args!("{}", total.topic));
        let rate =
            total.events_per_second.map_or_else(|| "–".to_owned(), |rate| format!("{rate:.1} /s"));
        page.cell("Rate", format_args!("{rate}"));
        page.cell("Events", format_args!("{}", total.events));
        page.cell("Size", format_args!("{}", spoken_bytes(total.bytes)));
        let share = total
            .hot_key_share
            .map_or_else(|| "–".to_owned(), |share| format!("{:.0} %", share * 100.0));
        page.cell("Hottest key", format_args!("{share}"));
        page.cell("Busiest partition", format_args!("{}", busiest(total)));
        page.end_row();
    }
    page.end_table();
    let more = topics.len().saturating_sub(SHOWN);
    if more > 0 {
        page.raw("<p>");
        page.text(format_args!("And {more} more, in status.json."));
        page.raw("</p>\n");
    }
    page.raw(
        "<p class=\"note\">Rates are of the last minute. The hottest key is the share that one \
         aggregate has of the topic’s events; the busiest partition is compared to the mean of \
         all. Neither is said of fewer than 100 events.</p>\n</section>\n",
    );
}

fn busiest(total: &TopicTotal) -> String {
    match total.skew {
        Some(_) if total.partitions.len() == 1 => "the only one".to_owned(),
        Some(skew) => format!("{}: {:.1} × mean", skew.partition, skew.ratio),
        None => "–".to_owned(),
    }
}
