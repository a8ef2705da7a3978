//! What it was told to do, as it may be shown.

use crate::config::effective::Entry;
use crate::config::env::Origin;

use super::markup::Markup;

pub(super) fn configuration(page: &mut Markup, entries: &[Entry]) {
    page.section("Configuration");
    page.raw("<dl class=\"facts\">\n");
    let (mut set, mut others) = (0_usize, 0_usize);
    for entry in entries {
        if entry.origin == Origin::Default {
            others += 1;
            continue;
        }
        set += 1;
        page.raw("<div><dt>");
        page.text(format_args!("{}", entry.name));
        page.raw("</dt><dd>");
        page.text(format_args!("{}", entry.value));
        page.raw(" <small>");
        page.text(format_args!("{}", entry.origin.as_str()));
        page.raw("</small></dd></div>\n");
    }
    page.raw("</dl>\n<p class=\"note\">");
    page.text(format_args!("{set} set, {others} more at their defaults; "));
    page.raw("<code>walpost config</code> prints all.</p>\n</section>\n");
}
