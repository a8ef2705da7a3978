//! Writing HTML in which only our own words are markup.

use std::fmt::{Arguments, Write};

/// A document that is being written. Markup is only taken from the program's text.
#[derive(Debug)]
pub(super) struct Markup(String);

impl Markup {
    pub(super) fn new() -> Self {
        Self(String::with_capacity(32 * 1024))
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }

    /// Markup of ours.
    pub(super) fn raw(&mut self, markup: &'static str) {
        self.0.push_str(markup);
    }

    /// Text that is not ours to trust: what HTML would take for its own is written as entities.
    pub(super) fn text(&mut self, text: Arguments<'_>) {
        Escaped(&mut self.0).write_fmt(text).expect("writing to a string cannot fail");
    }

    /// As [`Self::text`], with what stands between backticks as code.
    pub(super) fn prose(&mut self, text: &str) {
        let mut parts = text.split('`').peekable();
        let mut code = false;
        while let Some(part) = parts.next() {
            // A backtick without its other one is only a backtick.
            let closed = code && parts.peek().is_some();
            if closed {
                self.raw("<code>");
            } else if code {
                self.raw("`");
            }
            self.text(format_args!("{part}"));
            if closed {
                self.raw("</code>");
            }
            code = !code;
        }
    }

    /// A heading of a section, which is opened.
    pub(super) fn section(&mut self, title: &'static str) {
        self.raw("<section>\n<h2>");
        self.raw(title);
        self.raw("</h2>\n");
    }

    /// The head of a table that a narrow screen shows as a list: each cell of its body is to be
    /// written by [`Self::cell`], under the same names.
    pub(super) fn columns(&mut self, names: &[&'static str]) {
        self.raw("<table class=\"list\">");
        self.head(names);
    }

    /// The head of a table of which a narrow screen leaves out the last column.
    pub(super) fn few_columns(&mut self, names: &[&'static str]) {
        self.raw("<table class=\"few\">");
        self.head(names);
    }

    fn head(&mut self, names: &[&'static str]) {
        self.raw("\n<thead><tr>");
        for name in names {
            self.raw("<th scope=\"col\">");
            self.raw(name);
            self.raw("</th>");
        }
        self.raw("</tr></thead>\n<tbody>\n");
    }

    /// The first cell of a row, which names it.
    pub(super) fn row(&mut self, name: Arguments<'_>) {
        self.raw("<tr><th scope=\"row\">");
        self.text(name);
        self.raw("</th>");
    }

    /// A further cell of a row.
    pub(super) fn cell(&mut self, column: &'static str, value: Arguments<'_>) {
        self.raw("<td data-label=\"");
        self.raw(column);
        self.raw("\">");
        self.text(value);
        self.raw("</td>");
    }

    pub(super) fn end_row(&mut self) {
        self.raw("</tr>\n");
    }

    pub(super) fn end_table(&mut self) {
        self.raw("</tbody>\n</table>\n");
    }
}

/// Escapes on the way.
struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_between_backticks_is_code() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            let mut markup = Markup::new();
            markup.prose(text);
            assert_eq!(markup.into_string(), expected);
        }
        check("", "");
        check("run `a <b>` now", "run <code>a &lt;b&gt;</code> now");
        check("`a` or `b`", "<code>a</code> or <code>b</code>");
        check("one ` only", "one ` only");
        check("`a` and ` only", "<code>a</code> and ` only");
    }
}
