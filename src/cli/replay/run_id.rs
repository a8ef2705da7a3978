//! The name of a run: when it began, what it was asked for, and a number of its own.
//!
//! The three parts are what a resumed run needs: from when on to look for what was sent, and that
//! it is asked for the same.

use std::hash::{BuildHasher, Hasher};

use sha2::{Digest, Sha256};

/// `20261121T104500Z-1a2b3c4d-9f8e7d6c`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RunId {
    text: String,
    /// When it began, seconds since 1970.
    pub(super) began: i64,
    asked: String,
}

impl RunId {
    /// Every run's name is so long, in bytes.
    pub(super) const LENGTH: usize = 34;

    /// A run that begins now.
    pub(super) fn new(began: jiff::Timestamp, asked_for: &str) -> Self {
        let mut hasher = std::collections::hash_map::RandomState::new().build_hasher();
        hasher.write_u32(std::process::id());
        let asked = digest(asked_for);
        let own = hasher.finish() & 0xFFFF_FFFF;
        let text = format!("{}-{asked}-{own:08x}", began.strftime("%Y%m%dT%H%M%SZ"));
        Self { text, began: began.as_second(), asked }
    }

    /// Reads one; for clap.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let refused = || "expected the run's name as it was printed".to_owned();
        let mut parts = text.split('-');
        let (Some(began), Some(asked), Some(own), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(refused());
        };
        let hexadecimal =
            |part: &str| part.len() == 8 && part.bytes().all(|b| b.is_ascii_hexdigit());
        let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", began);
        let time = time.ok().and_then(|time| time.to_zoned(jiff::tz::TimeZone::UTC).ok());
        match time {
            Some(time) if hexadecimal(asked) && hexadecimal(own) => Ok(Self {
                text: text.to_owned(),
                began: time.timestamp().as_second(),
                asked: asked.to_owned(),
            }),
            Some(_) | None => Err(refused()),
        }
    }

    /// Whether it was asked for the same.
    pub(super) fn is_for(&self, asked_for: &str) -> bool {
        self.asked == digest(asked_for)
    }

    /// As it is written to each event.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// The number of the lock that keeps two processes from the same run.
    pub(super) fn lock(&self) -> i64 {
        let digest = Sha256::digest(format!("walpost replay {}", self.text));
        let first = digest.first_chunk::<8>().copied().unwrap_or_default();
        i64::from_be_bytes(first)
    }
}

fn digest(text: &str) -> String {
    Sha256::digest(text).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_read_back_with_its_beginning() {
        let began = "2026-11-21T10:45:00Z".parse().expect("a time");
        let run = RunId::new(began, "--all --same-topic");
        assert!(run.as_str().starts_with("20261121T104500Z-"), "{run:?}");
        assert_eq!(RunId::parse(run.as_str()).as_ref(), Ok(&run));
        assert_eq!((run.began, run.as_str().len()), (began.as_second(), RunId::LENGTH));
        assert!(run.is_for("--all --same-topic") && !run.is_for("--all --to-topic x"));
        assert_ne!(run.lock(), RunId::new(began, "--all --same-topic").lock());
        for bad in ["", "x", "20261121T104500Z-1a2b3c4d", "20261341T104500Z-1a2b3c4d-1a2b3c4d"] {
            assert!(RunId::parse(bad).is_err(), "{bad}");
        }
    }
}
