//! The commands of `deploy/docs/managed-kafka.md`, as they stand there.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use crate::servers::{folder, free_ports};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/docs/managed-kafka.md");

/// The ports that the page names; a test has others, since tests run side by side.
const PORTS: [u16; 5] = [15470, 19470, 19471, 19472, 18470];

#[test]
fn the_page_of_managed_kafka_can_be_followed_command_by_command() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let (_, rest) = page.split_once("\n## Try it\n").expect("a section");
    let section = rest.split("\n## ").next().unwrap();
    let blocks: Vec<_> = section.split("```sh\n").skip(1).collect();
    assert!(blocks.len() >= 4, "{} blocks", blocks.len());
    let mut script = "set -euo pipefail\n".to_owned();
    // The first one installs and compiles, which has been done.
    for block in blocks.iter().skip(1) {
        script.push_str(block.split("```").next().unwrap());
    }
    let (ports, http) = (free_ports(5), free_ports(1));
    for (index, port) in PORTS.iter().enumerate() {
        let other = ports + u16::try_from(index).unwrap();
        script = script.replace(&port.to_string(), &other.to_string());
    }
    script = script.replace("18464", &http.to_string());
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_walpost")).parent().unwrap();
    #[expect(
        clippy::disallowed_methods,
        reason = "where programs are, not walpost's configuration"
    )]
    let path = std::env::var("PATH").unwrap();
    let room = folder("page");
    // The scripts are told by a variable of that prefix where the servers are; a reader has none.
    let wrapper = room.path().join("walpost");
    let text =
        format!("#!/bin/sh\nunset WALPOST_DEV_CACHE\nexec {}/walpost \"$@\"\n", program.display());
    std::fs::write(&wrapper, text).unwrap();
    std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).unwrap();
    let output = Command::new("bash")
        .args(["-c", &script])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("PATH", format!("{}:{path}", room.path().display()))
        .env("TMPDIR", room.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    // Whatever became of it, nothing goes on running.
    let left = "for dir in \"$1\"/*/*; do for tool in kafka postgres token-endpoint; do \
                case $dir in */$tool*) deploy/dev/$tool kill --dir \"$dir\" ;; esac; done; done";
    let cleared = Command::new("bash")
        .args(["-c", left, "clear", room.path().to_str().unwrap()])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(cleared.unwrap().success());
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{said}");
    for expected in [
        "gives a token for walpost",
        "authenticated by OAUTHBEARER",
        "refuses client walpost (401): invalid_client",
        "order-1",
    ] {
        assert!(said.contains(expected), "{expected} is missing: {said}");
    }
}
