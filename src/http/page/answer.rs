//! What a person asks first: is it all right, since when, what do I do.

use std::time::SystemTime;

use crate::status::report::Report;
use crate::status::rfc3339;
use crate::status::snapshot::Snapshot;
use crate::status::span::{spoken, spoken_bytes};
use crate::status::verdict::progress;

use super::markup::Markup;

/// Whose page this is.
pub(super) fn header(page: &mut Markup, snapshot: &Snapshot) {
    page.raw("<header><span class=\"brand\">walpost</span> <span class=\"name\">");
    page.text(format_args!("{}", snapshot.name));
    page.raw("</span> <span class=\"state\">");
    page.text(format_args!("{}", snapshot.state.as_str()));
    page.raw("</span></header>\n");
}

/// The answer.
pub(super) fn answer(page: &mut Markup, report: &Report) {
    let (snapshot, outlook) = (&report.snapshot, &report.outlook);
    page.raw("<section id=\"answer\" class=\"answer ");
    page.raw(outlook.grade.as_str());
    page.raw("\" role=\"status\">\n<h1>");
    page.raw(outlook.headline);
    page.raw("</h1>\n<p class=\"sentence\">");
    page.prose(&outlook.sentence);
    page.raw("</p>\n<p class=\"since\">");
    page.text(format_args!(
        "{} for {}, since {}",
        snapshot.state.as_str(),
        spoken(snapshot.state_since.seconds_ago),
        moment(snapshot.state_since.at),
    ));
    page.text(format_args!("; this process for {}", spoken(snapshot.started.seconds_ago)));
    page.raw("</p>\n");
    if let Some(next) = &outlook.next {
        page.raw("<div class=\"next\"><h2>What to do</h2>\n<p>");
        page.prose(next);
        page.raw("</p></div>\n");
    }
    page.raw("</section>\n");
}

/// The few numbers that say most.
pub(super) fn figures(page: &mut Markup, report: &Report) {
    let snapshot = &report.snapshot;
    let lag = if snapshot.lag.caught_up { "none".to_owned() } else { spoken(snapshot.lag.seconds) };
    page.raw("<dl class=\"figures\">\n");
    figure(page, "Lag", &lag, "from commit to Kafka");
    if let Some(so_far) = &snapshot.snapshot {
        figure(page, "Snapshot", &format!("{} rows", so_far.rows_done), &progress(so_far));
    }
    if snapshot.leader {
        work(page, snapshot);
    }
    let kept = snapshot.slot.as_ref().map_or_else(
        || "the slot was not looked at yet".to_owned(),
        |slot| format!("the slot keeps {}", spoken_bytes(slot.retained_bytes)),
    );
    figure(page, "Slot headroom", &report.headroom.spoken(), &kept);
    page.raw("</dl>\n");
}

/// Of an instance that works.
fn work(page: &mut Markup, snapshot: &Snapshot) {
    let rates = snapshot.topics.iter().filter_map(|topic| topic.events_per_second);
    let rate = rates.reduce(|sum, rate| sum + rate);
    let rate = rate.map_or_else(|| "not known yet".to_owned(), |rate| format!("{rate:.1} /s"));
    let flight = &snapshot.in_flight;
    figure(
        page,
        "Events",
        &rate,
        &format!("{} confirmed, {}", snapshot.counts.events, spoken_bytes(snapshot.counts.bytes)),
    );
    figure(
        page,
        "In flight",
        &spoken_bytes(flight.bytes),
        &format!("{} events, at most {}", flight.events, spoken_bytes(flight.limit_bytes)),
    );
}

fn figure(page: &mut Markup, name: &'static str, value: &str, more: &str) {
    page.raw("<div><dt>");
    page.raw(name);
    page.raw("</dt><dd>");
    page.text(format_args!("{value}"));
    page.raw("</dd><dd class=\"more\">");
    page.text(format_args!("{more}"));
    page.raw("</dd></div>\n");
}

/// `2026-11-21 07:30:01 UTC`
pub(super) fn moment(at: SystemTime) -> String {
    let text = rfc3339::text(at);
    let (day, time) = text.split_once('T').unwrap_or((&text, ""));
    let time = time.split_once('.').map_or(time, |(time, _)| time);
    format!("{day} {time} UTC")
}
