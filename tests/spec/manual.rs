//! Goal: the page of commands is what the program itself says.
//! Method: ask every command for its `--help`, and compare.

use std::fmt::Write as _;

use walpost::cli::manual;

use crate::servers::Settings;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/docs/commands.md");

/// Set to anything, the page is written anew.
const WRITE: &str = "WALPOST_WRITE_PAGES";

const HEAD: &str = "\
<!-- Made of `--help` of each command. Do not edit: change the text in src/cli, then
`WALPOST_WRITE_PAGES=1 cargo test --test spec page` -->

# Commands

What `walpost <command> --help` says of each. All of them read the same environment as the relay, or a file of variables
with `--env-file`; `walpost --help` lists the [variables](../../README.md#configuration). `setup` and `peek` need those
of the database only, `healthcheck` and `status` those of `WALPOST_HTTP`. A wrong command line ends with code 2.

What would send, delete or move something says first what it would do, and does it with `--yes`; `setup` does it with
`--apply`, and `prune`, which deletes only what is proven to be in Kafka, without either.

";

/// Where the variables begin, which the README lists.
const VARIABLES: &str = "\nEnvironment variables";

fn help(path: &str) -> String {
    let words: Vec<_> = path.split_whitespace().chain(["--help"]).collect();
    let finished = Settings::none().arguments(&words).run();
    assert_eq!((finished.code, finished.stderr.as_str()), (0, ""), "{path}");
    let said = finished.stdout.split(VARIABLES).next().unwrap_or_default();
    let lines: Vec<_> = said.lines().map(str::trim_end).collect();
    lines.join("\n").trim_end().to_owned()
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    for entry in manual::ENTRIES {
        let anchor = entry.path.replace(' ', "-");
        writeln!(page, "- [`walpost {}`](#walpost-{anchor})", entry.path).unwrap();
    }
    writeln!(page, "\n## `walpost`\n\n```text\n{}\n```", help("")).unwrap();
    for entry in manual::ENTRIES {
        let path = entry.path;
        writeln!(page, "\n## `walpost {path}`\n\n```text\n{}\n```", help(path)).unwrap();
    }
    page
}

#[test]
fn the_page_of_commands_is_what_each_of_them_says() {
    let made = page();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(PATH, &made).unwrap();
    }
    let there = std::fs::read_to_string(PATH).unwrap_or_default();
    let differs = there.lines().zip(made.lines()).position(|(there, made)| there != made);
    assert!(there == made, "{PATH} is old, from line {differs:?} on: {WRITE}=1 writes it anew");
}
