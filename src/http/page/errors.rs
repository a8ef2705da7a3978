//! The last errors, the newest first.

use crate::status::errors::ErrorEntry;
use crate::status::span::spoken;

use super::answer::moment;
use super::markup::Markup;

pub(super) fn errors(page: &mut Markup, errors: &[ErrorEntry]) {
    page.section("Last errors");
    if errors.is_empty() {
        page.raw("<p>None since the start.</p>\n</section>\n");
        return;
    }
    page.raw("<ul class=\"errors\">\n");
    for error in errors {
        page.raw("<li><p class=\"when\"><code>");
        page.text(format_args!("{}", error.code));
        page.raw("</code> ");
        page.text(format_args!(
            "{} ago, {}",
            spoken(error.when.seconds_ago),
            moment(error.when.at)
        ));
        if error.times > 1 {
            page.text(format_args!(", {} times", error.times));
        }
        page.raw("</p>\n<p>");
        page.prose(&error.message);
        page.raw("</p>");
        if !error.hint.is_empty() {
            page.raw("<p class=\"hint\">");
            page.prose(&error.hint);
            page.raw("</p>");
        }
        page.raw("</li>\n");
    }
    page.raw("</ul>\n</section>\n");
}
