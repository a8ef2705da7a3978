//! `walpost checkpoint set`: moves the stored position.

use super::accept::said;
use crate::cli::command::Stopped;
use crate::cli::{Exit, output};
use crate::config::Config;
use crate::kafka::checkpoint::Checkpoint;
use crate::lsn::Lsn;
use crate::proof::place;
use crate::supervisor::decision::{self, To};

/// Prints what the new place would skip or repeat; with `yes` writes it.
pub(super) async fn run(config: Config, to: To, yes: bool) -> Result<Exit, Stopped> {
    let survey = decision::survey(&config, false).await?;
    said(&config, &survey)?;
    let plan = survey.found.set(&config, to)?;
    for objection in &plan.objections {
        output::line(&format!("settles     {}: {}", objection.code.as_str(), objection.message))?;
    }
    output::line(&format!("does        {}", effect(survey.found.stored.checkpoint.as_ref(), to)))?;
    super::finish(&config, survey, &plan, yes).await
}

fn effect(stored: Option<&Checkpoint>, to: To) -> String {
    let lsn = to.lsn();
    let what = match to {
        To::Commit(_) => format!("sets the place behind the transaction that commits at {lsn}"),
        To::Resume(_) => format!("sets the place to {lsn}"),
    };
    let Some(stored) = stored else {
        return format!("{what}; nothing was stored before");
    };
    let before = stored.commit_lsn.max(stored.resume_lsn);
    let from = place((before, stored.commit_time));
    let bytes = |later: Lsn, earlier: Lsn| later.bytes_since(earlier);
    match lsn.cmp(&before) {
        std::cmp::Ordering::Greater => format!(
            "{what}; rows committed between {from} and {lsn} ({} bytes of log) are skipped and will not be sent",
            bytes(lsn, before)
        ),
        std::cmp::Ordering::Less => format!(
            "{what}; rows committed between {lsn} and {from} ({} bytes of log) are sent again",
            bytes(before, lsn)
        ),
        std::cmp::Ordering::Equal => format!("{what}, where it is"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::checkpoint::tests::checkpoint;

    #[track_caller]
    fn check(to: To, expected: &str) {
        let effect = effect(Some(&checkpoint()), to);
        assert!(effect.contains(expected), "{to:?}: {effect}");
    }

    #[test]
    fn a_place_ahead_skips_and_a_place_behind_repeats() {
        check(To::Resume(Lsn::new(150)), "50 bytes of log) are skipped");
        check(To::Resume(Lsn::new(60)), "40 bytes of log) are sent again");
        check(To::Commit(Lsn::new(100)), "where it is");
    }
}
