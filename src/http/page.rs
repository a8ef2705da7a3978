//! The status page: the verdict and the main numbers, in one document without any other file.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::status::Snapshot;
use crate::status::snapshot::{Ago, Until};
use crate::status::span::{spoken, spoken_bytes};
use crate::status::verdict::progress;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884;--good:#1a7f37;--bad:#cf222e}\
@media(prefers-color-scheme:dark){:root{--good:#3fb950;--bad:#ff7b72}}\
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.1rem;font-weight:600;margin:0}\
h2{font-size:1rem;margin:2rem 0 .5rem}\
.verdict{font-size:1.35rem;line-height:1.4;margin:1rem 0;padding-left:1rem;\
border-left:.3rem solid var(--bad);overflow-wrap:anywhere}\
.good{border-color:var(--good)}\
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}\
th,td{text-align:left;vertical-align:top;padding:.3rem .75rem .3rem 0;\
border-bottom:1px solid var(--line);overflow-wrap:anywhere}\
th{font-weight:500;width:16rem}\
thead th{width:auto}\
footer{margin-top:2rem;font-size:.85rem;opacity:.75}";

/// The policy under which the page may use its own style and nothing else.
pub(super) fn content_security_policy() -> String {
    let digest = STANDARD.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
}

/// The page. It asks to be loaded again every five seconds; there is no script in it.
pub(super) fn render(snapshot: &Snapshot) -> String {
    let mut page = String::with_capacity(8 * 1024);
    let class = if snapshot.ready.ok && snapshot.live.ok { "verdict good" } else { "verdict" };
    page.push_str(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <meta http-equiv=\"refresh\" content=\"5\">\n<title>",
    );
    push(&mut page, format_args!("{} – {}", snapshot.state.as_str(), snapshot.name));
    page.push_str("</title>\n<style>");
    page.push_str(STYLE);
    page.push_str("</style>\n</head>\n<body>\n<h1>walpost ");
    push(&mut page, format_args!("{}", snapshot.name));
    page.push_str("</h1>\n<p role=\"status\" class=\"");
    page.push_str(class);
    page.push_str("\">");
    push(&mut page, format_args!("{}", snapshot.verdict));
    page.push_str("</p>\n");
    table(&mut page, "Now", &numbers(snapshot));
    table(&mut page, "Positions", &positions(snapshot));
    topics(&mut page, snapshot);
    errors(&mut page, snapshot);
    page.push_str("<footer>walpost ");
    push(&mut page, format_args!("{}", snapshot.version));
    page.push_str(
        " · <a href=\"/status.json\">status.json</a> · <a href=\"/metrics\">metrics</a></footer>\n\
         </body>\n</html>\n",
    );
    page
}

type Row = (&'static str, String);

fn numbers(snapshot: &Snapshot) -> Vec<Row> {
    let since = spoken(snapshot.state_since.seconds_ago);
    let lag = if snapshot.lag.caught_up {
        "caught up".to_owned()
    } else {
        format!("{} behind", spoken(snapshot.lag.seconds))
    };
    let in_flight = format!(
        "{} events, {} of {}",
        snapshot.in_flight.events,
        spoken_bytes(snapshot.in_flight.bytes),
        spoken_bytes(snapshot.in_flight.limit_bytes)
    );
    let postgres = server(
        snapshot.postgres.connected,
        snapshot.postgres.version.as_deref(),
        (snapshot.postgres.last_contact, snapshot.postgres.certificate_expires),
    );
    let contact = (snapshot.kafka.last_contact, snapshot.kafka.certificate_expires);
    let kafka = server(snapshot.kafka.connected, None, contact);
    let counts = &snapshot.counts;
    let confirmed = format!(
        "{} events in {} transactions, {}",
        counts.events,
        counts.transactions,
        spoken_bytes(counts.bytes)
    );
    let mut rows = vec![
        ("State", format!("{} for {since}", snapshot.state.as_str())),
        ("Ready", snapshot.ready.reason.clone()),
        ("Lag", lag),
        ("In flight", in_flight),
        ("Confirmed by Kafka", confirmed),
        ("Last confirmation", ago(snapshot.kafka.last_confirmation)),
        ("Last checkpoint", ago(snapshot.last_checkpoint)),
        ("Bad rows", format!("{}, {} dead letters", counts.bad_rows, counts.dead_letters)),
        ("Postgres", postgres),
        ("Kafka", kafka),
        ("Slot", slot(snapshot)),
        ("Running for", spoken(snapshot.started.seconds_ago)),
    ];
    if let Some(so_far) = &snapshot.snapshot {
        rows.insert(2, ("Snapshot", progress(so_far)));
    }
    rows
}

fn server(
    connected: bool,
    version: Option<&str>,
    (contact, certificate): (Option<Ago>, Option<Until>),
) -> String {
    let word = if connected { "connected" } else { "not connected" };
    let version = version.map(|version| format!(", version {version}")).unwrap_or_default();
    let certificate = certificate.map(|until| match until.seconds_left {
        left if left > 0.0 => format!(", certificate valid for {}", spoken(left)),
        past => format!(", certificate expired {} ago", spoken(-past)),
    });
    format!("{word}{version}, last answer {}{}", ago(contact), certificate.unwrap_or_default())
}

fn slot(snapshot: &Snapshot) -> String {
    let Some(slot) = &snapshot.slot else {
        return format!("{}, not looked at yet", snapshot.slot_name);
    };
    let safe = match slot.safe_bytes {
        Some(bytes) => format!("{} until it can be lost", spoken_bytes(bytes)),
        None => "no limit".to_owned(),
    };
    format!(
        "{}, {}, keeps {} of WAL, {safe}",
        snapshot.slot_name,
        slot.wal_status.map_or("unknown", |status| status.as_str()),
        spoken_bytes(slot.retained_bytes)
    )
}

fn positions(snapshot: &Snapshot) -> Vec<Row> {
    let at = &snapshot.positions;
    let text = |lsn: Option<crate::lsn::Lsn>| {
        lsn.map_or_else(|| "not known yet".to_owned(), |lsn| lsn.to_string())
    };
    vec![
        ("End of the server's WAL", text(at.wal_end)),
        ("Received", text(at.received)),
        ("Confirmed by Kafka", text(at.confirmed)),
        ("In the checkpoint", text(at.checkpointed)),
        ("Reported to the server", text(at.flushed)),
    ]
}

fn ago(moment: Option<Ago>) -> String {
    moment.map_or("none yet".to_owned(), |at| format!("{} ago", spoken(at.seconds_ago)))
}

fn table(page: &mut String, title: &str, rows: &[Row]) {
    heading(page, title);
    page.push_str("<table>\n<tbody>\n");
    for (name, value) in rows {
        page.push_str("<tr><th scope=\"row\">");
        push(page, format_args!("{name}"));
        page.push_str("</th><td>");
        push(page, format_args!("{value}"));
        page.push_str("</td></tr>\n");
    }
    page.push_str("</tbody>\n</table>\n");
}

/// How many topics the page lists; `/status.json` has all.
const TOPICS_SHOWN: usize = 50;

fn topics(page: &mut String, snapshot: &Snapshot) {
    heading(page, "Topics");
    if snapshot.topics.is_empty() {
        page.push_str("<p>No event was confirmed yet.</p>\n");
        return;
    }
    let head = ["Topic", "Events", "Size"];
    let rows = snapshot.topics.iter().take(TOPICS_SHOWN);
    grid(
        page,
        head,
        rows.map(|total| {
            [total.topic.clone(), total.events.to_string(), spoken_bytes(total.bytes)]
        }),
    );
    let more = snapshot.topics.len().saturating_sub(TOPICS_SHOWN);
    if more > 0 {
        push(page, format_args!("and {more} more, in status.json"));
    }
}

fn errors(page: &mut String, snapshot: &Snapshot) {
    heading(page, "Last errors");
    if snapshot.errors.is_empty() {
        page.push_str("<p>None.</p>\n");
        return;
    }
    let rows = snapshot.errors.iter().map(|error| {
        let times =
            if error.times > 1 { format!(", {} times", error.times) } else { String::new() };
        let hint =
            if error.hint.is_empty() { String::new() } else { format!(" – {}", error.hint) };
        [
            format!("{}{times}", ago(Some(error.when))),
            error.code.to_owned(),
            format!("{}{hint}", error.message),
        ]
    });
    grid(page, ["When", "Code", "What, and what to do"], rows);
}

fn heading(page: &mut String, title: &str) {
    page.push_str("<h2>");
    push(page, format_args!("{title}"));
    page.push_str("</h2>\n");
}

fn grid(page: &mut String, head: [&str; 3], rows: impl Iterator<Item = [String; 3]>) {
    page.push_str("<table>\n<thead><tr>");
    for name in head {
        page.push_str("<th scope=\"col\">");
        push(page, format_args!("{name}"));
        page.push_str("</th>");
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        page.push_str("<tr>");
        for cell in row {
            page.push_str("<td>");
            push(page, format_args!("{cell}"));
            page.push_str("</td>");
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table>\n");
}

/// Adds text that is not ours to trust: what HTML would take for its own is written as entities.
fn push(page: &mut String, text: std::fmt::Arguments<'_>) {
    /// Escapes on the way.
    struct Escaped<'a>(&'a mut String);

    impl std::fmt::Write for Escaped<'_> {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            for character in text.chars() {
                match character {
                    '&' => self.0.push_str("&amp;"),
                    '<' => self.0.push_str("&lt;"),
                    '>' => self.0.push_str("&gt;"),
                    '"' => self.0.push_str("&quot;"),
                    '\'' => self.0.push_str("&#39;"),
                    other => self.0.push(other),
                }
            }
            Ok(())
        }
    }

    Escaped(page).write_fmt(text).expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{Halt, HaltCode, Status};

    #[test]
    fn text_of_others_cannot_become_markup() {
        let status = Status::new("shop", "walpost");
        status.counts().topic("<b>").delivered(1, 1);
        status.halt(Halt {
            code: HaltCode::NotReady,
            message: "<script>alert('1')</script>".into(),
            hint: "\"&".into(),
        });
        let page = render(&status.snapshot());
        assert!(
            page.contains("halted (not_ready): &lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;")
        );
        assert!(page.contains("&quot;&amp;"));
        assert!(page.contains("<td>&lt;b&gt;</td>"));
        assert!(!page.contains("<script"));
    }

    #[test]
    fn the_page_refers_to_nothing_outside_itself() {
        let page = render(&Status::new("shop", "walpost").snapshot());
        for forbidden in ["http://", "https://", "src=", "url(", "@import", "style=\"", "onclick"] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
    }
}
