//! What was tried, how often, and with what result.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::faults::Kind;
use super::stage::Outcome;
use crate::oracle::knob;
use crate::scene::Mode;
use crate::servers::figure;

/// Counts by kind.
#[derive(Debug, Default)]
pub(super) struct Tally(BTreeMap<Kind, Count>);

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    struck: u32,
    /// How often it met something: a request to lose may not come in time.
    met: u32,
    longest: Duration,
}

impl Tally {
    /// One more fault, over when rows came through again after `took`.
    pub(super) fn count(&mut self, kind: Kind, met: bool, took: Duration) {
        let count = self.0.entry(kind).or_default();
        count.struck += 1;
        count.met += u32::from(met);
        count.longest = count.longest.max(took);
    }

    /// Prints the table, and keeps it in tests/README.md if `make torture` asks for that.
    pub(super) fn say(&self, mode: Mode, seed: u64, time: Duration, outcome: &Outcome) {
        let struck: u32 = self.0.values().map(|count| count.struck).sum();
        let Outcome { rows, repeats, transactions } = *outcome;
        let mut text = format!(
            "`{}`, {} minutes, seed {seed}: {struck} faults, {rows} rows in {transactions} \
             transactions; none lost, none out of order, {repeats} repeated.\n\n\
             | fault | times | met something | until rows came again, at most |\n\
             | --- | --- | --- | --- |\n",
            mode.name(),
            time.as_secs().div_ceil(60),
        );
        for (kind, count) in &self.0 {
            let Count { struck, met, longest } = count;
            let seconds = longest.as_secs_f64();
            writeln!(text, "| {} | {struck} | {met} | {seconds:.1} s |", kind.words()).unwrap();
        }
        figure(&text);
        if knob("WALPOST_TORTURE_WRITE", 0) == 1 {
            write(mode, &text);
        }
    }
}

/// Puts the table between its marks in tests/README.md.
fn write(mode: Mode, table: &str) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/README.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (begin, end) =
        (format!("<!-- torture {} -->\n", mode.name()), format!("<!-- end {} -->", mode.name()));
    let (head, rest) = text.split_once(&begin).expect("tests/README.md has a mark");
    let (_, tail) = rest.split_once(&end).expect("tests/README.md has the end of it");
    std::fs::write(path, format!("{head}{begin}{table}{end}{tail}")).unwrap();
}
