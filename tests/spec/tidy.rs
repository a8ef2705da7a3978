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

/// What each room may use, beside itself. `lsn`, `secret` and `error` of the ground are for all.
const ROOMS: &[(&str, &[&str])] = &[
    ("lsn", &[]),
    ("secret", &[]),
    ("postgres", &[]),
    ("pgoutput", &["postgres"]),
    ("outbox", &["postgres", "pgoutput", "cloudevent"]),
    ("route", &["outbox", "cloudevent"]),
    ("registry", &[]),
    ("cloudevent", &["outbox", "pgoutput", "postgres", "registry", "route"]),
    ("kafka", &["ledger"]),
    ("ledger", &[]),
    ("proof", &["kafka", "status", "error"]),
    ("error", &["kafka", "postgres", "registry", "status"]),
    ("config", &["cloudevent", "kafka", "outbox", "postgres", "registry", "route"]),
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
            let ground = ["lsn", "secret"].contains(&used.as_str());
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
