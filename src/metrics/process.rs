//! The process itself, read from `/proc/self` when it is asked for (proc(5)).
//!
//! What cannot be read is left out: outside Linux there is no `/proc`.

use std::fs;

/// What `/proc/self` says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Process {
    pub(super) cpu_seconds: Option<f64>,
    pub(super) resident_bytes: Option<u64>,
    pub(super) virtual_bytes: Option<u64>,
    pub(super) open_fds: Option<u64>,
    pub(super) max_fds: Option<u64>,
    pub(super) threads: Option<u64>,
}

/// Clock ticks a second in `/proc`: `USER_HZ`, which is 100 on every architecture we are built
/// for, whatever the kernel's own tick is (time(7)).
const TICKS_PER_SECOND: f64 = 100.0;

impl Process {
    pub(super) fn read() -> Self {
        let read = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).ok();
        let status = read("status").unwrap_or_default();
        Self {
            cpu_seconds: read("stat").and_then(|stat| cpu_seconds(&stat)),
            // From `status` and not `statm`: kilobytes, whatever the size of a page is.
            resident_bytes: kilobytes(&status, "VmRSS:"),
            virtual_bytes: kilobytes(&status, "VmSize:"),
            open_fds: open_fds(),
            max_fds: read("limits").and_then(|limits| max_fds(&limits)),
            threads: field(&status, "Threads:").and_then(|text| text.parse().ok()),
        }
    }
}

/// The entries of `/proc/self/fd` less the one that lists them.
fn open_fds() -> Option<u64> {
    let entries = fs::read_dir("/proc/self/fd").ok()?.count();
    u64::try_from(entries).ok()?.checked_sub(1)
}

/// `utime` and `stime`, fields 14 and 15 of `/proc/self/stat`. The second field is the program's
/// name in parentheses and may hold spaces and parentheses, so counting begins after the last one.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user.checked_add(system)? as f64 / TICKS_PER_SECOND)
}

/// The first word after a name at the start of a line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()
}

fn kilobytes(status: &str, name: &str) -> Option<u64> {
    field(status, name)?.parse::<u64>().ok()?.checked_mul(1024)
}

fn max_fds(limits: &str) -> Option<u64> {
    // "unlimited" is no number and leaves the metric out.
    field(limits, "Max open files")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_any_program_name() {
        #[track_caller]
        fn check(stat: &str, expected: Option<f64>) {
            assert_eq!(cpu_seconds(stat), expected);
        }
        check("1 (walpost) S 0 1 1 0 -1 4194560 100 0 0 0 150 50 0 0 20 0", Some(2.0));
        check("1 (a) b) (c) S 0 1 1 0 -1 4194560 100 0 0 0 7 0 0 0 20 0", Some(0.07));
        check("1 (walpost) S 0 1", None);
        check("", None);
    }

    #[test]
    fn sizes_and_limits_are_read_as_the_kernel_writes_them() {
        let status = "Name:\twalpost\nVmSize:\t  20000 kB\nVmRSS:\t   1234 kB\nThreads:\t9\n";
        assert_eq!(kilobytes(status, "VmRSS:"), Some(1_263_616));
        assert_eq!(kilobytes(status, "VmPeak:"), None);
        assert_eq!(field(status, "Threads:"), Some("9"));
        let limits = "Limit   Soft Limit  Hard Limit  Units\n\
                      Max open files            1024         524288       files\n";
        assert_eq!(max_fds(limits), Some(1024));
    }

    #[test]
    fn this_process_can_be_read() {
        let process = Process::read();
        assert!(process.resident_bytes.unwrap() > 100_000, "{process:?}");
        assert!(process.virtual_bytes >= process.resident_bytes, "{process:?}");
        assert!(process.open_fds.unwrap() >= 3, "{process:?}");
        assert!(process.threads.unwrap() >= 1, "{process:?}");
        assert!(process.cpu_seconds.is_some(), "{process:?}");
    }
}
