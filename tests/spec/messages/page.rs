//! The page that a newcomer follows, followed: its commands are run as they stand, on other ports,
//! and what it says that they print must be printed.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use crate::servers::{folder, free_ports};

const PAGE: &str = include_str!("../../../deploy/docs/messages.md");

/// Ports that the page names; here each is another one that is free.
const PORTS: [&str; 3] = ["15442", "19442", "19466"];

/// What a command that fails leaves behind is ended.
const BEGIN: &str = r#"set -euo pipefail
end() {
    kill $(jobs -p) 2>/dev/null || true
    [ -d "${room:-}" ] || return 0
    for server in postgres kafka; do deploy/dev/$server kill --dir "$room/$server"; done
}
trap end EXIT
"#;

/// A block of the page: its language and its lines.
fn blocks() -> Vec<(&'static str, &'static str)> {
    let mut blocks = Vec::new();
    let mut rest = PAGE;
    while let Some((_, after)) = rest.split_once("\n```") {
        let (language, after) = after.split_once('\n').unwrap();
        let (text, after) = after.split_once("\n```\n").unwrap();
        blocks.push((language, text));
        rest = after;
        if let Some(after) = rest.strip_prefix("```") {
            panic!("two blocks without a line between: {after}");
        }
    }
    blocks
}

#[test]
fn the_commands_of_the_page_do_what_it_says() {
    let room = folder("page");
    let bin = room.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    // walpost refuses variables that it does not know, and this one is of the scripts.
    let program = env!("CARGO_BIN_EXE_walpost");
    let wrapper = format!("#!/bin/sh\nexec env -u WALPOST_DEV_CACHE {program} \"$@\"\n");
    std::fs::write(bin.join("walpost"), wrapper).unwrap();
    std::fs::set_permissions(bin.join("walpost"), PermissionsExt::from_mode(0o755)).unwrap();

    let all = blocks();
    let commands: Vec<_> = all.iter().filter(|(language, _)| *language == "sh").collect();
    assert!(commands[0].1.contains("cargo build"), "the first block makes the program");
    let mut script = format!("export PATH={}:$PATH\n{BEGIN}", bin.display());
    let (mut expected, mut number) = (Vec::new(), 0);
    let kinds = all.iter().filter(|(language, _)| ["sh", "text"].contains(language)).skip(1);
    for (language, text) in kinds {
        if *language == "sh" {
            number += 1;
            script += &format!("echo '== block {number}'\n{text}\n");
        } else {
            expected.extend(text.lines().map(|line| (number, line)));
        }
    }
    for port in PORTS {
        assert!(script.contains(port), "the page does not name port {port}");
        // The controller of Kafka listens on the port after Kafka's.
        script = script.replace(port, &free_ports(2).to_string());
    }
    let output = Command::new("timeout")
        .args(["300", "bash", "-c", &script])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("TMPDIR", room.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "a command of the page failed:\n{said}\n{errors}");
    let parts: Vec<_> = said.split("== block ").collect();
    for (block, line) in &expected {
        let part = parts.iter().find(|part| part.starts_with(&format!("{block}\n"))).unwrap();
        assert!(part.contains(line), "block {block} of the page never says `{line}`:\n{part}");
    }
    assert!(expected.len() >= 8, "{} lines of the page were compared", expected.len());
}
