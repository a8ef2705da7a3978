//! How far each step of the way is behind the end of the server's log.

use crate::status::report::{Report, Stage};
use crate::status::span::{spoken, spoken_bytes};

use super::markup::Markup;

pub(super) fn stages(page: &mut Markup, report: &Report) {
    let snapshot = &report.snapshot;
    page.section("The way of a row");
    if report.stages.iter().all(|stage| stage.position.is_none()) {
        page.raw("<p>");
        page.raw(if snapshot.holder.is_some() {
            "The instance that holds the slot knows it; its page shows it."
        } else {
            "Nothing was read yet."
        });
        page.raw("</p>\n</section>\n");
        return;
    }
    page.few_columns(&["Step", "Behind", "Log behind", "Position"]);
    page.row(format_args!("Committed in Postgres"));
    page.cell("Behind", format_args!(""));
    page.cell("Log behind", format_args!(""));
    let end = snapshot.positions.wal_end.map_or_else(String::new, |end| end.to_string());
    page.cell("Position", format_args!("{end}"));
    page.end_row();
    for stage in &report.stages {
        page.row(format_args!("{}", title(stage.stage)));
        page.cell("Behind", format_args!("{}", behind(stage)));
        let bytes = stage.behind_bytes.map_or_else(String::new, spoken_bytes);
        page.cell("Log behind", format_args!("{bytes}"));
        let position = stage.position.map_or_else(String::new, |at| at.to_string());
        page.cell("Position", format_args!("{position}"));
        page.end_row();
    }
    page.end_table();
    page.raw(
        "<p class=\"note\">Behind the end of the server’s log, which moves without events too. \
         A quiet connector stores a checkpoint every 10 s.</p>\n</section>\n",
    );
}

fn title(stage: &str) -> &'static str {
    match stage {
        "received" => "Received",
        "sent" => "Sent",
        "confirmed" => "Confirmed by Kafka",
        "checkpointed" => "Stored in the checkpoint",
        _ => "Released in Postgres",
    }
}

fn behind(stage: &Stage) -> String {
    match (stage.behind_seconds, stage.behind_bytes) {
        (Some(seconds), _) => spoken(seconds),
        (None, Some(1..)) => "since before the start".to_owned(),
        _ => String::new(),
    }
}
