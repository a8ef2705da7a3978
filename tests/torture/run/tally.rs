//! What was tried, how often, and with what result.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::faults::{KINDS, Kind};
use super::goal::Family;
use super::stage::Outcome;
use crate::scene::Mode;

/// Counts by kind, of one segment or of several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    kinds: BTreeMap<Kind, Count>,
    seeds: Vec<u64>,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    struck: u32,
    /// How often it met something: a request to lose may not come in time.
    met: u32,
    longest: Duration,
}

impl Tally {
    /// One more fault, over when rows came through again after `took`.
    pub(super) fn count(&mut self, kind: Kind, met: bool, took: Duration) {
        let one = Count { struck: 1, met: u32::from(met), longest: took };
        self.kinds.entry(kind).or_default().add(one);
    }

    /// All of it was verified.
    pub(super) fn conclude(&mut self, seed: u64, outcome: Outcome) {
        self.seeds.push(seed);
        self.outcome = outcome;
    }

    /// The sum of both.
    pub(super) fn add(&mut self, other: &Self) {
        for (kind, count) in &other.kinds {
            self.kinds.entry(*kind).or_default().add(*count);
        }
        self.seeds.extend(&other.seeds);
        self.outcome.rows += other.outcome.rows;
        self.outcome.repeats += other.outcome.repeats;
        self.outcome.transactions += other.outcome.transactions;
    }

    /// How often a family was met.
    pub(super) fn met(&self, family: Family) -> u32 {
        let kinds = self.kinds.iter().filter(|(kind, _)| Family::of(**kind) == family);
        kinds.map(|(_, count)| count.met).sum()
    }

    /// In one line of words.
    pub(super) fn line(&self) -> String {
        let Outcome { rows, repeats, .. } = self.outcome;
        format!("{}; {rows} rows, {repeats} repeated", Family::counts(self))
    }

    /// In one line for a file.
    pub(super) fn print(&self) -> String {
        let Outcome { rows, repeats, transactions } = self.outcome;
        let seeds: Vec<_> = self.seeds.iter().map(u64::to_string).collect();
        let mut text = format!("{} {rows} {repeats} {transactions}", seeds.join(","));
        for (kind, Count { struck, met, longest }) in &self.kinds {
            write!(text, "; {}; {struck} {met} {}", kind.words(), longest.as_millis()).unwrap();
        }
        text
    }

    /// What [`Tally::print`] wrote.
    #[track_caller]
    pub(super) fn parse(line: &str) -> Self {
        let mut parts = line.split("; ");
        let (seeds, outcome) = parts.next().unwrap().split_once(' ').unwrap();
        let [rows, repeats, transactions] = numbers(outcome);
        let mut tally = Self {
            seeds: seeds.split(',').map(|seed| seed.parse().unwrap()).collect(),
            outcome: Outcome { rows, repeats, transactions },
            ..Self::default()
        };
        while let (Some(words), Some(count)) = (parts.next(), parts.next()) {
            let kind = KINDS.iter().find(|kind| kind.words() == words);
            let [struck, met, longest] = numbers(count);
            let [struck, met] = [struck, met].map(|count| u32::try_from(count).unwrap());
            let count = Count { struck, met, longest: Duration::from_millis(longest) };
            tally.kinds.insert(*kind.expect("a kind of these"), count);
        }
        tally
    }

    /// For a page.
    pub(super) fn table(&self, mode: Mode) -> String {
        let struck: u32 = self.kinds.values().map(|count| count.struck).sum();
        let Outcome { rows, repeats, transactions } = self.outcome;
        let seeds: Vec<_> = self.seeds.iter().map(u64::to_string).collect();
        let mut text = format!(
            "`{}`: {struck} faults, which met {}. {rows} rows in {transactions} transactions; none \
             lost, none that was never committed, none out of order, {repeats} repeated. {} segments, \
             each verified whole, by the seeds {}.\n\n\
             | fault | times | met something | until rows came again, at most |\n\
             | --- | --- | --- | --- |\n",
            mode.name(),
            Family::counts(self),
            seeds.len(),
            seeds.join(", "),
        );
        for (kind, count) in &self.kinds {
            let Count { struck, met, longest } = count;
            let seconds = longest.as_secs_f64();
            writeln!(text, "| {} | {struck} | {met} | {seconds:.1} s |", kind.words()).unwrap();
        }
        text
    }
}

impl Count {
    fn add(&mut self, other: Self) {
        self.struck += other.struck;
        self.met += other.met;
        self.longest = self.longest.max(other.longest);
    }
}

#[track_caller]
fn numbers<const N: usize>(text: &str) -> [u64; N] {
    let numbers: Vec<u64> = text.split(' ').map(|number| number.parse().unwrap()).collect();
    numbers.try_into().expect("as many numbers as were written")
}

#[test]
fn a_line_of_the_file_has_all_of_a_tally() {
    let mut tally = Tally::default();
    for (number, kind) in (1..).zip(KINDS) {
        tally.count(*kind, number % 3 > 0, Duration::from_millis(number * 100));
    }
    tally.conclude(7, Outcome { rows: 1, repeats: 2, transactions: 3 });
    let mut sum = Tally::parse(&tally.print());
    assert_eq!(sum, tally);
    sum.add(&tally);
    assert_eq!(Tally::parse(&sum.print()), sum);
    assert!(sum.table(Mode::ExactlyOnce).contains("2 rows in 6 transactions"));
}
