//! Case after case, until the budget is used up.

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use tokio::time::Instant;

use crate::allocator::watch;
use crate::mutator::{Random, case};
use crate::recorded::hex;

/// One reader of foreign bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    /// For people.
    pub(crate) name: &'static str,
    /// Cases where nobody says for how long.
    pub(crate) cases: u64,
    /// What may be held at once besides, in bytes: buffers and books that are there in any case.
    pub(crate) fixed: usize,
    /// And for each byte that arrived.
    pub(crate) each: usize,
    /// What each refusal says, besides what is wrong.
    pub(crate) says: &'static str,
}

/// A number from the environment. Panics on nonsense.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "a test's knob, not walpost's configuration")]
fn knob(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

impl Target {
    /// Whether it is among those that are wanted, or nobody has said which are.
    #[expect(clippy::disallowed_methods, reason = "a test's knob, not walpost's configuration")]
    fn is_chosen(self) -> bool {
        let chosen = std::env::var("WALPOST_FUZZ_TARGETS").unwrap_or_default();
        chosen.is_empty() || chosen.split(' ').any(|name| name == self.name)
    }

    /// Tries `attempt` with changed inputs: the attempt reads its parts and says why it refuses them.
    #[track_caller]
    pub(crate) fn run(
        self,
        from: &[Vec<Vec<u8>>],
        mut attempt: impl FnMut(&[Vec<u8>]) -> Result<(), String>,
    ) {
        if !self.is_chosen() {
            return;
        }
        assert!(!from.is_empty() && !from.iter().any(Vec::is_empty), "nothing to begin with");
        let seed = knob("WALPOST_FUZZ_SEED").unwrap_or_else(clock);
        let one = knob("WALPOST_FUZZ_CASE");
        let time = knob("WALPOST_FUZZ_SECONDS").map(Duration::from_secs);
        let began = Instant::now();
        let (mut refused, mut accepted, mut most) = (0_u64, 0_u64, (0, 0));
        for number in one.unwrap_or(0).. {
            let done = number - one.unwrap_or(0);
            let over = time.map_or(done >= self.cases, |time| began.elapsed() >= time);
            if over || (one.is_some() && done > 0) {
                break;
            }
            let parts = case(&mut Random::new(seed, number), from);
            let arrived: usize = parts.iter().map(Vec::len).sum();
            let (result, held) = watch(|| catch_unwind(AssertUnwindSafe(|| attempt(&parts))));
            let recipe = || {
                let shown: Vec<_> = parts.iter().map(|part| hex(part)).collect();
                format!(
                    "{}: to repeat it: make fuzz TARGET={} SEED={seed} CASE={number}\nit was: {shown:?}",
                    self.name, self.name
                )
            };
            match result {
                Ok(Ok(())) => accepted += 1,
                Ok(Err(said)) => {
                    refused += 1;
                    let named = said.len() > 10 && said.contains(self.says);
                    assert!(named, "a refusal that names nothing: {said:?}\n{}", recipe());
                }
                Err(panic) => {
                    say(&recipe());
                    resume_unwind(panic);
                }
            }
            let allowed = self.fixed + self.each * arrived;
            assert!(held <= allowed, "{held} bytes held for {arrived}\n{}", recipe());
            if held > most.0 {
                most = (held, arrived);
            }
        }
        let done = refused + accepted;
        say(&format!(
            "{:14} {done} cases, {refused} of them refused, at most {} bytes held at once (for {} that \
             arrived), {:.0} s, seed {seed}",
            self.name,
            most.0,
            most.1,
            began.elapsed().as_secs_f64(),
        ));
        assert!(
            one.is_some() || (refused > 0 && accepted > 0),
            "{refused} refused, {accepted} accepted"
        );
    }
}

/// Not through `println!`, which the test harness keeps to itself when all is well.
fn say(text: &str) {
    writeln!(std::io::stderr(), "{text}").unwrap();
}

fn clock() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::from(now.subsec_nanos())
}
