//! The page of broken set-ups is true: each row names a test that is there and looks for that
//! finding.

use std::collections::BTreeSet;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/docs/check.md");
const TESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/spec/check");
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/check");

/// Broken set-ups that the page has at least.
const LEAST: usize = 25;

/// The text of every file of a folder.
fn texts(folder: &str) -> Vec<String> {
    let files = std::fs::read_dir(folder).expect(folder);
    files.map(|file| std::fs::read_to_string(file.expect("a file").path()).expect("text")).collect()
}

/// The body of the test `name`.
fn body<'a>(texts: &'a [String], name: &str) -> Option<&'a str> {
    let begin = format!("#[test]\nfn {name}() {{");
    let (_, after) = texts.iter().find_map(|text| text.split_once(&begin))?;
    Some(after.split("\n}\n").next().unwrap_or(after))
}

#[test]
fn every_broken_set_up_of_the_page_has_its_test_and_there_are_25_and_more() {
    let (page, tests, sources) =
        (std::fs::read_to_string(PAGE).expect(PAGE), texts(TESTS), texts(SOURCES));
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| ") && line.contains("| `"))
        .map(|line| line.trim_matches(['|', ' ']).split(" | ").map(str::trim).collect())
        .collect();
    let mut set_ups = BTreeSet::new();
    for row in &rows {
        let [what, check, level, by, test] = row.as_slice() else { panic!("{row:?}") };
        let (check, test) = (check.trim_matches('`'), test.trim_matches('`'));
        assert!(set_ups.insert(*what), "{what} stands there twice");
        assert!(["problem", "warning"].contains(level), "{row:?}");
        let kinds = ["SQL", "command", "variable", "text"];
        assert!(by.split(", ").all(|by| kinds.contains(&by)), "{row:?}");
        let body = body(&tests, test).unwrap_or_else(|| panic!("there is no test {test}"));
        let word = format!("\"{check}\"");
        assert!(body.contains(&word), "{test} does not look for {check}");
        assert!(sources.iter().any(|text| text.contains(&word)), "nothing finds {check}");
        let executes = ["execute(", "remedy(", "set(", "case(", "mends("];
        if *by != "text" {
            let any = executes.iter().any(|call| body.contains(call));
            assert!(any, "{test} does not execute what mends it");
        }
    }
    assert!(set_ups.len() >= LEAST, "{} broken set-ups", set_ups.len());
    println!("broken set-ups: {}", set_ups.len());
}
