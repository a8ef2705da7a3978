//! What was looked at: what is not well stands apart, above, with what to do.

use crate::status::checks::{Check, Grade};
use crate::status::report::Report;

use super::markup::Markup;

/// Those that want somebody's attention, the worst first.
pub(super) fn troubled(page: &mut Markup, report: &Report) {
    let mut found: Vec<_> =
        report.checks.iter().filter(|check| check.grade >= Grade::Warn).collect();
    if found.is_empty() {
        return;
    }
    found.sort_by_key(|check| std::cmp::Reverse(check.grade));
    page.section("What is not well");
    list(page, &found, report.outlook.next.as_deref().unwrap_or_default());
    page.raw("</section>\n");
}

/// The others.
pub(super) fn well(page: &mut Markup, checks: &[Check]) {
    let found: Vec<_> = checks.iter().filter(|check| check.grade < Grade::Warn).collect();
    page.section("Checks");
    list(page, &found, "");
    page.raw(
        "<p class=\"note\">This is what the relay sees by itself. <code>walpost check</code> \
         looks at everything else: rights, server settings, tables, topics.</p>\n</section>\n",
    );
}

/// The remedies are left out that stand in `said` already, but for the first letter's size.
fn list(page: &mut Markup, checks: &[&Check], said: &str) {
    page.raw("<ul class=\"checks\">\n");
    for check in checks {
        page.raw("<li class=\"");
        page.raw(check.grade.as_str());
        page.raw("\"><span class=\"grade\">");
        page.raw(word(check.grade));
        page.raw("</span><div><b>");
        page.raw(check.name);
        page.raw("</b> <span>");
        page.prose(&check.says);
        page.raw("</span>");
        let unsaid = |remedy: &&String| !remedy.get(1..).is_some_and(|rest| said.contains(rest));
        if let Some(remedy) = check.remedy.as_ref().filter(unsaid) {
            page.raw("<p>");
            page.prose(remedy);
            page.raw("</p>");
        }
        page.raw("</div></li>\n");
    }
    page.raw("</ul>\n");
}

const fn word(grade: Grade) -> &'static str {
    match grade {
        Grade::Good => "ok",
        Grade::Unknown => "–",
        Grade::Warn => "look",
        Grade::Bad => "bad",
    }
}
