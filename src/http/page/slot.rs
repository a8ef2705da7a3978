//! The slot: what the server keeps for it, and how long that can go on.

use crate::status::report::Report;
use crate::status::span::spoken_bytes;

use super::markup::Markup;

pub(super) fn slot(page: &mut Markup, report: &Report) {
    let snapshot = &report.snapshot;
    page.section("Replication slot");
    let Some(slot) = &snapshot.slot else {
        page.raw("<p>");
        page.text(format_args!("{} was not looked at yet.", snapshot.slot_name));
        page.raw("</p>\n</section>\n");
        return;
    };
    let headroom = &report.headroom;
    let limit = slot.keep_limit_bytes.map_or_else(|| "no limit".to_owned(), spoken_bytes);
    let safe = slot.safe_bytes.map_or_else(|| "no limit".to_owned(), spoken_bytes);
    let growth =
        headroom.spoken_growth().unwrap_or_else(|| match headroom.growth_bytes_per_second {
            Some(_) => "not growing".to_owned(),
            None => "known after a minute".to_owned(),
        });
    let rows = [
        ("Slot", snapshot.slot_name.clone()),
        ("WAL status", slot.wal_status.map_or("unknown", |status| status.as_str()).to_owned()),
        ("WAL kept for it", spoken_bytes(slot.retained_bytes)),
        ("Growth, last 10 min", growth),
        ("Limit (max_slot_wal_keep_size)", limit),
        ("Until it can be lost", safe),
        ("Time left at this growth", headroom.spoken()),
    ];
    page.raw("<dl class=\"facts\">\n");
    for (name, value) in rows {
        page.raw("<div><dt>");
        page.raw(name);
        page.raw("</dt><dd>");
        page.text(format_args!("{value}"));
        page.raw("</dd></div>\n");
    }
    page.raw("</dl>\n</section>\n");
}
