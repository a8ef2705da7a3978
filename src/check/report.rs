//! All findings, for people and for programs.

use std::fmt::Write as _;

use serde::Serialize;

use super::{Finding, Level, Remedy};

/// How it all came out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Nothing stands in the way of a start.
    pub ready: bool,
    /// How many problems there are.
    pub problems: usize,
    /// How many warnings.
    pub warnings: usize,
    /// One sentence.
    pub text: String,
}

/// The findings and the verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// In the order in which a start meets them.
    pub findings: Vec<Finding>,
    /// How it all came out.
    pub verdict: Verdict,
}

impl Report {
    /// Counts the findings. `offline` says that no server was asked.
    #[must_use]
    pub fn new(findings: Vec<Finding>, offline: bool) -> Self {
        let count = |level| findings.iter().filter(|finding| finding.level == level).count();
        let (problems, warnings) = (count(Level::Problem), count(Level::Warning));
        let ready = problems == 0;
        let mut text = match (ready, offline) {
            (true, false) => "ready: nothing stands in the way of a start".to_owned(),
            (true, true) => "the configuration is right; no server was asked".to_owned(),
            (false, _) => format!("not ready: {}", counted(problems, "problem")),
        };
        if warnings > 0 {
            text = format!("{text}, {}", counted(warnings, "warning"));
        }
        Self { findings, verdict: Verdict { ready, problems, warnings, text } }
    }

    /// For people: problems with their remedies, and the verdict as the last line.
    ///
    /// # Panics
    /// Never: a `String` takes everything.
    #[must_use]
    pub fn text(&self) -> String {
        let width = self.findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
        let mut text = String::new();
        for finding in &self.findings {
            write_finding(&mut text, finding, width).expect("a String takes everything");
        }
        writeln!(text, "\n{}", self.verdict.text).expect("a String takes everything");
        text
    }
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

fn write_finding(text: &mut String, finding: &Finding, width: usize) -> std::fmt::Result {
    let Finding { check, level, found, why, halt, remedy } = finding;
    writeln!(text, "{:7}  {check:width$}  {found}", level.as_str())?;
    if !why.is_empty() {
        writeln!(text, "         why: {why}")?;
    }
    if let Some(code) = halt {
        writeln!(text, "         walpost would halt: {}", code.as_str())?;
    }
    remedy.as_ref().map_or(Ok(()), |remedy| write_remedy(text, remedy))
}

fn write_remedy(text: &mut String, remedy: &Remedy) -> std::fmt::Result {
    for statement in &remedy.sql {
        writeln!(text, "         sql> {statement};")?;
    }
    for command in &remedy.commands {
        writeln!(text, "         $ {command}")?;
    }
    for variable in &remedy.variables {
        writeln!(text, "         set {variable}")?;
    }
    if let Some(note) = &remedy.note {
        writeln!(text, "         {note}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings() -> Vec<Finding> {
        vec![
            Finding::ok("primary", "the server is a primary"),
            Finding::problem(
                "wal_level",
                "wal_level is replica",
                "there is no logical replication without it",
                Remedy::sql(["ALTER SYSTEM SET wal_level = 'logical'"]).then("restart it"),
            )
            .halts(crate::status::HaltCode::NotReady),
        ]
    }

    #[test]
    fn the_text_has_a_remedy_below_its_problem_and_ends_in_the_verdict() {
        assert_eq!(
            Report::new(findings(), false).text(),
            "ok       primary    the server is a primary\n\
             problem  wal_level  wal_level is replica\n         \
             why: there is no logical replication without it\n         \
             walpost would halt: not_ready\n         \
             sql> ALTER SYSTEM SET wal_level = 'logical';\n         restart it\n\n\
             not ready: 1 problem\n"
        );
    }

    #[test]
    fn the_json_has_the_same_and_leaves_out_what_is_empty() {
        let report = serde_json::to_value(Report::new(findings(), false)).expect("json");
        assert_eq!(
            report,
            serde_json::json!({
                "findings": [
                    {"check": "primary", "level": "ok", "found": "the server is a primary"},
                    {
                        "check": "wal_level",
                        "level": "problem",
                        "found": "wal_level is replica",
                        "why": "there is no logical replication without it",
                        "halt": "not_ready",
                        "remedy": {
                            "sql": ["ALTER SYSTEM SET wal_level = 'logical'"],
                            "note": "restart it",
                        },
                    },
                ],
                "verdict": {
                    "ready": false, "problems": 1, "warnings": 0, "text": "not ready: 1 problem",
                },
            })
        );
    }

    #[test]
    fn the_verdict_counts() {
        #[track_caller]
        fn check(levels: &[Level], offline: bool, expected: &str) {
            let findings = levels
                .iter()
                .map(|level| Finding { level: *level, ..Finding::ok("kafka", "x") })
                .collect();
            assert_eq!(Report::new(findings, offline).verdict.text, expected);
        }
        use Level::{Ok, Problem, Warning};
        check(&[Ok], false, "ready: nothing stands in the way of a start");
        check(&[Ok, Warning], false, "ready: nothing stands in the way of a start, 1 warning");
        check(&[Ok], true, "the configuration is right; no server was asked");
        check(&[Problem, Warning, Warning, Problem], false, "not ready: 2 problems, 2 warnings");
    }
}
