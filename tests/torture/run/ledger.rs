//! The segments that were verified, of this build of walpost: a line of a file each. Several processes
//! may add to it at once, and a run that was stopped goes on where it was.

use std::collections::hash_map::DefaultHasher;
use std::fs::{File, OpenOptions};
use std::hash::Hasher;
use std::io::Write;
use std::path::PathBuf;

use super::tally::Tally;
use crate::oracle::knob;
use crate::page::write_between;
use crate::scene::Mode;
use crate::servers::walpost::PROGRAM;

/// The segments of one way of delivery.
#[derive(Debug)]
pub(super) struct Ledger {
    mode: Mode,
    /// What the lines of this build begin with: another build has its own.
    build: String,
    path: PathBuf,
}

impl Ledger {
    #[track_caller]
    pub(super) fn of(mode: Mode) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(&std::fs::read(PROGRAM).unwrap());
        let path =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("torture-{}", mode.name()));
        Self { mode, build: format!("{:016x}", hasher.finish()), path }
    }

    /// What all segments of this build have come to.
    #[track_caller]
    pub(super) fn sum(&self) -> Tally {
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        let mut sum = Tally::default();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix(&self.build) {
                sum.add(&Tally::parse(rest.trim_start()));
            }
        }
        sum
    }

    /// Adds a segment, and keeps the table in tests/README.md if `make torture` asks for that.
    #[track_caller]
    pub(super) fn add(&self, segment: &Tally) {
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path).unwrap();
        writeln!(file, "{} {}", self.build, segment.print()).unwrap();
        if knob("WALPOST_TORTURE_WRITE", 0) == 1 {
            // One process at a time: both ways of delivery stand on the same page.
            let lock = File::create(self.path.with_file_name("torture-page")).unwrap();
            lock.lock().unwrap();
            write_between(self.mode.name(), &self.sum().table(self.mode));
        }
    }
}
