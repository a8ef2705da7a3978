//! Goal: what the house promises of its own order stays true.
//! Method: the sources are read as text.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::servers::Settings;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path, ends: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ends));
        } else if ends.iter().any(|end| path.to_str().unwrap().ends_with(end)) {
            found.push(path);
        }
    }
    found
}

fn sources() -> Vec<(String, String)> {
    files(&root().join("src"), &[".rs"])
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(root().join("src")).unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect()
}

/// What each room may use, beside itself. `lsn`, `secret`, `crash` and `mutant` of the ground are for all.
const ROOMS: &[(&str, &[&str])] = &[
    ("lsn", &[]),
    ("secret", &[]),
    ("postgres", &[]),
    ("pgoutput", &["postgres"]),
    ("outbox", &["postgres", "pgoutput", "cloudevent"]),
    ("route", &["outbox", "cloudevent"]),
    ("request", &[]),
    ("registry", &["request"]),
    ("cloudevent", &["outbox", "pgoutput", "postgres", "registry", "route"]),
    ("shard", &["cloudevent", "outbox", "postgres"]),
    ("kafka", &["ledger", "request"]),
    ("ledger", &[]),
    ("proof", &["kafka", "status", "error"]),
    ("error", &["kafka", "postgres", "registry", "status"]),
    (
        "config",
        &["cloudevent", "kafka", "outbox", "postgres", "registry", "request", "route", "shard"],
    ),
    ("status", &[]),
    ("metrics", &["status"]),
    ("http", &["status", "metrics", "config"]),
];

#[test]
fn a_room_uses_only_the_rooms_before_it() {
    for (file, text) in sources() {
        let room = file.split(['/', '.']).next().unwrap();
        // pipeline, supervisor, cli and the checks know all rooms; that is what they are for.
        let Some((_, may)) = ROOMS.iter().find(|(name, _)| *name == room) else { continue };
        let used: BTreeSet<_> = text
            .split("#[cfg(test)]")
            .next()
            .unwrap()
            .match_indices("crate::")
            .filter_map(|(at, found)| {
                let rest = text.get(at + found.len()..)?;
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
                Some(rest.get(..end)?.to_owned())
            })
            .collect();
        for used in used {
            let ground = ["lsn", "secret", "crash", "mutant"].contains(&used.as_str());
            let allowed = ground || used == room || may.contains(&used.as_str());
            assert!(allowed, "src/{file} uses `{used}`, which is not a room before it");
        }
    }
}

#[test]
fn only_the_boundary_to_librdkafka_is_unsafe() {
    for (file, text) in sources() {
        let unsafe_code = text.lines().any(|line| {
            let code = line.split("//").next().unwrap();
            code.contains("unsafe {") || code.contains("unsafe impl") || code.contains("unsafe fn")
        });
        assert!(!unsafe_code || file.starts_with("kafka/librdkafka"), "src/{file}");
    }
}

#[test]
fn nothing_aborts_a_transaction() {
    // While a request to commit may be on its way, an abort may end the next transaction. Whatever is in
    // doubt is left to the next generation.
    for (file, text) in sources() {
        assert!(!text.contains("abort_transaction"), "src/{file}");
    }
}

/// Built without the features of `tests/torture`, as every release is.
#[test]
#[cfg(not(any(feature = "crash-points", feature = "mutants")))]
fn the_program_has_no_trace_of_crash_points_and_mutants() {
    let has = |text: &str| {
        let mut grep = std::process::Command::new("grep");
        let grep = grep.args(["-q", "-a", "-F", text, env!("CARGO_BIN_EXE_walpost")]);
        grep.status().unwrap().success()
    };
    assert!(has("WALPOST_SLOT"), "the names of variables would be found");
    for trace in ["WALPOST_CRASH_AT", "WALPOST_MUTANT", "snapshot_row_enqueued", "crash point"] {
        assert!(!has(trace), "the program knows of `{trace}`");
    }
}

#[test]
fn no_release_is_built_with_crash_points_or_mutants() {
    let mut found = Vec::new();
    for folder in ["deploy", "helm", ".ci"] {
        for path in files(&root().join(folder), &[""]) {
            let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            let line = |line: &str| line.contains("features") && line.contains("cargo ");
            let is_test = path.ends_with("deploy/dev/torture");
            if !is_test && (text.lines().any(line) || text.contains("crash-points")) {
                found.push(path);
            }
        }
    }
    assert!(found.is_empty(), "{found:?} choose features of cargo; releases have none");
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let default = manifest.lines().find(|line| line.starts_with("default = "));
    assert_eq!(default, Some("default = [\"msk-iam\"]"), "what is default is in the release");
}

#[test]
fn the_catalogue_of_faults_names_tests_that_exist() {
    let mut code = String::new();
    for folder in ["tests", "src"] {
        for path in files(&root().join(folder), &[".rs"]) {
            code.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
    let mistakes = std::fs::read_to_string(root().join("src/mutant.rs")).unwrap();
    let readme = std::fs::read_to_string(root().join("tests/README.md")).unwrap();
    let (_, catalogue) = readme.split_once("## Faults").unwrap();
    let mut rows = 0;
    for row in catalogue.lines().filter(|line| line.starts_with("| ")) {
        let columns: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [fault, _, shown] = columns.as_slice() else { panic!("not three columns: {row}") };
        if ["fault", "---"].contains(fault) {
            continue;
        }
        rows += 1;
        let names: Vec<_> = shown.split('`').skip(1).step_by(2).collect();
        assert!(shown.starts_with('—') || !names.is_empty(), "{fault}: no test, and no reason");
        for name in names {
            let sentence = name.contains('_') && !shown.starts_with('—');
            let test = code.contains(&format!("fn {name}("));
            let mistake = mistakes.contains(&format!(" \"{name}\" \""));
            assert!(test || mistake || !sentence, "{fault}: no test or mistake is named `{name}`");
        }
    }
    assert!(rows > 50, "{rows} rows of the catalogue were found");
}

#[test]
fn the_repository_stands_alone() {
    let folders = ["src", "tests", "deploy", "helm"];
    let ends = [".rs", ".md", ".sh", ".py", ".yaml", ".yml", ".toml"];
    // Written so that this file does not name them itself.
    let outside =
        [["../", "shared"].concat(), ["CONTRACT", ".md"].concat(), ["DESIGN", ".md"].concat()];
    for folder in folders {
        for path in files(&root().join(folder), &ends) {
            let text = std::fs::read_to_string(&path).unwrap();
            for name in &outside {
                assert!(!text.contains(name.as_str()), "{} names {name}", path.display());
            }
        }
    }
}

#[test]
fn the_readme_lists_the_variables_of_the_code() {
    let table = Settings::none().arguments(&["config", "--markdown"]).run();
    assert_eq!(table.code, 0);
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    assert!(
        readme.contains(table.stdout.trim()),
        "README.md is stale: put the output of `walpost config --markdown` between its marks"
    );
}

#[test]
fn the_changelog_has_something_to_say_of_this_version() {
    let changelog = std::fs::read_to_string(root().join("CHANGELOG.md")).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert!(
        changelog.contains("## [Unreleased]") || changelog.contains(&format!("## [{version}]"))
    );
}
