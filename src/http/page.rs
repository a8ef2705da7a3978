//! The status page: one document without a script and without any other file.
//!
//! In the order in which a person asks: is it all right, since when, what do I do; then where it
//! is stuck, how long that may last, and last what it was told to do. It asks to be loaded again
//! every five seconds, so a process that is gone shows as gone.

mod answer;
mod checks;
mod configuration;
mod consumers;
mod errors;
mod markup;
mod plot;
mod shards;
mod slot;
mod stages;
mod topics;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::config::effective::Entry;
use crate::status::together::Together;

use self::markup::Markup;

const STYLE: &str = include_str!("page/style.css");

/// The policy under which the page may use its own style and nothing else.
pub(super) fn content_security_policy() -> String {
    let digest = STANDARD.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
}

/// The page: of all streams, or of the one that is `shown`.
pub(super) fn render(together: &Together, shown: Option<usize>, configuration: &[Entry]) -> String {
    let report = &together.report;
    let snapshot = &report.snapshot;
    let mut page = Markup::new();
    page.raw(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"refresh\" content=\"5\">\n\
         <title>",
    );
    page.text(format_args!("{} – {}", snapshot.state.as_str(), snapshot.name));
    page.raw("</title>\n<style>");
    page.raw(STYLE);
    page.raw("</style>\n</head>\n<body>\n");
    answer::header(&mut page, snapshot);
    page.raw("<main>\n");
    answer::answer(&mut page, report);
    answer::figures(&mut page, report);
    shards::shards(&mut page, &together.shards, shown);
    plot::lag(&mut page, report);
    checks::troubled(&mut page, report);
    stages::stages(&mut page, report);
    topics::topics(&mut page, &snapshot.topics);
    consumers::consumers(&mut page, &snapshot.consumer_groups);
    slot::slot(&mut page, report);
    checks::well(&mut page, &report.checks);
    errors::errors(&mut page, &snapshot.errors);
    configuration::configuration(&mut page, configuration);
    page.raw("</main>\n<footer>walpost ");
    page.text(format_args!("{}", snapshot.version));
    page.raw(
        " · <a href=\"/status.json\">status.json</a> · <a href=\"/metrics\">metrics</a> · \
         loads itself again every 5 s</footer>\n</body>\n</html>\n",
    );
    page.into_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::env::Origin;
    use crate::status::{Halt, HaltCode, Status};

    fn page(status: &Status, configuration: &[Entry]) -> String {
        let together = Together::of(vec![status.report()]).unwrap();
        render(&together, None, configuration)
    }

    #[test]
    fn several_streams_have_a_page_each_and_one_for_all() {
        let streams = ["walpost_0", "walpost_1"].map(|slot| Status::new("shop", slot).report());
        let together = Together::of(streams.to_vec()).unwrap();
        let all = render(&together, None, &[]);
        assert!(all.contains("<a href=\"/?shard=1\">its page</a>"), "{all}");
        let one = render(&together, Some(1), &[]);
        assert!(one.contains("this page") && one.contains("/?shard=0"), "{one}");
        assert!(!page(&Status::new("shop", "walpost"), &[]).contains("Shards"));
    }

    #[test]
    fn text_of_others_cannot_become_markup() {
        let status = Status::new("shop", "walpost");
        status.counts().topic("<em>").delivered(1, 1, 0);
        status.halt(Halt {
            code: HaltCode::NotReady,
            message: "<script>alert('1')</script>".into(),
            hint: "\"& run `<i>`".into(),
        });
        let value = "<u>".to_owned();
        let entry = Entry { name: "WALPOST_NAME".to_owned(), value, origin: Origin::Environment };
        let page = page(&status, &[entry]);
        let told = "Halted (not_ready): &lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;";
        assert!(page.contains(told), "{page}");
        assert!(page.contains("&quot;&amp; run <code>&lt;i&gt;</code>"), "{page}");
        assert!(page.contains("&lt;em&gt;") && page.contains("&lt;u&gt;"), "{page}");
        for markup in ["<script", "<em>", "<i>", "<u>"] {
            assert!(!page.contains(markup), "{markup}");
        }
    }

    #[test]
    fn the_page_refers_to_nothing_outside_itself() {
        let page = page(&Status::new("shop", "walpost"), &[]);
        for forbidden in ["http://", "https://", "src=", "url(", "@import", "style=\"", "onclick"] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
    }
}
