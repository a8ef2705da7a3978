//! How far the consumer groups have got.

use std::cmp::Ordering;

use crate::status::consumers::{GroupTopic, GroupView};
use crate::status::span::spoken;

use super::markup::Markup;

/// How many topics of a group the page lists, those first that are furthest behind;
/// `/status.json` has all.
const SHOWN: usize = 20;

/// Nothing where none is watched.
pub(super) fn consumers(page: &mut Markup, groups: &[GroupView]) {
    if groups.is_empty() {
        return;
    }
    page.section("Consumer groups");
    page.columns(&["Group", "Consumers", "Topic", "Not read", "Oldest", "Rebalances"]);
    for group in groups {
        let mut topics: Vec<&GroupTopic> = group.topics.iter().collect();
        topics.sort_by(|a, b| {
            let older = b.lag_seconds.partial_cmp(&a.lag_seconds);
            older.unwrap_or(Ordering::Equal).then(b.lag.cmp(&a.lag))
        });
        if topics.is_empty() {
            row(page, group, None);
        }
        for topic in topics.into_iter().take(SHOWN) {
            row(page, group, Some(topic));
        }
    }
    page.end_table();
    page.raw(
        "<p class=\"note\">Looked at every 5 s. The oldest is how long ago the first record was \
         written that the group has not read. A rebalance that ends between two looks and \
         changes nothing is not seen.</p>\n</section>\n",
    );
}

fn row(page: &mut Markup, group: &GroupView, topic: Option<&GroupTopic>) {
    let none = || "–".to_owned();
    page.row(format_args!("{}", group.group));
    let members = match (group.members, group.state.as_deref()) {
        (Some(members), Some(state)) => format!("{members}, {state}"),
        (_, _) => none(),
    };
    page.cell("Consumers", format_args!("{members}"));
    let name = topic.map_or_else(none, |topic| topic.topic.clone());
    page.cell("Topic", format_args!("{name}"));
    let lag = topic.map_or_else(none, |topic| topic.lag.to_string());
    page.cell("Not read", format_args!("{lag}"));
    let oldest = match topic.and_then(|topic| topic.lag_seconds) {
        Some(0.0) => "all read".to_owned(),
        Some(seconds) => spoken(seconds),
        None => none(),
    };
    page.cell("Oldest", format_args!("{oldest}"));
    page.cell("Rebalances", format_args!("{}", group.rebalances));
    page.end_row();
}
