//! What `--help` of each command ends with: exit codes, and examples to begin with.

use clap::CommandFactory;

use super::Cli;

/// The end of one command's help.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The command's words, without `walpost`.
    pub path: &'static str,
    /// Its exit codes, one a line; 2 is a wrong command line everywhere.
    pub exit: &'static str,
    /// What an example does, and the command line.
    pub examples: &'static [(&'static str, &'static str)],
}

/// What commands that ask the servers return.
const ASKS: &str = "0 done\n1 a server does not answer, or refuses\n78 wrong configuration";

/// What commands return that plan first.
const PLANS: &str = "0 done, or planned without --yes\n1 a server does not answer or refuses, or it is refused here, with the reason\n78 wrong configuration";

/// Every command that does something by itself, in the order of `--help`.
pub const ENTRIES: &[Entry] = &[
    Entry {
        path: "run",
        exit: "0 drained after SIGTERM or SIGINT: a restart repeats nothing\n1 a fatal error, or the drain took longer than WALPOST_SHUTDOWN_TIMEOUT: the log says how many events will repeat\n78 wrong configuration: all mistakes are printed\n130, 143 a second SIGINT or SIGTERM ended the drain",
        examples: &[
            ("Variables from the environment:", "walpost run"),
            ("Variables from a file:", "walpost run --env-file shop.env"),
        ],
    },
    Entry {
        path: "check",
        exit: "0 no problem was found, though there may be warnings\n1 problems were found: walpost would not start, would halt, or would lose something\n78 wrong configuration",
        examples: &[
            ("Before the first start, with the variables that walpost will have:", "walpost check"),
            (
                "Only the problems, for a script:",
                "walpost check --json | jq '.findings[] | select(.level == \"problem\")'",
            ),
            ("In CI, where no server is:", "walpost check --offline --env-file shop.env"),
        ],
    },
    Entry {
        path: "config",
        exit: "0 the configuration is right\n78 wrong configuration: all mistakes are printed",
        examples: &[
            ("What is in effect, and where each value comes from:", "walpost config"),
            ("A file to fill in:", "walpost config --env > shop.env"),
        ],
    },
    Entry {
        path: "peek",
        exit: ASKS,
        examples: &[
            ("The events of the newest 3 rows:", "walpost peek -n 3"),
            ("What is held back while walpost is stopped:", "walpost peek --slot -n 100"),
        ],
    },
    Entry {
        path: "setup",
        exit: "0 printed, or done; what somebody else must run is named\n1 a statement failed, or the server does not answer: each step has its state\n78 wrong configuration",
        examples: &[
            ("Read what would be done, as SQL:", "walpost setup --table --checks"),
            (
                "Do it, as a role that may:",
                "DATABASE_URL=postgres://admin@db/shop walpost setup --table --apply",
            ),
            ("Before walpost is uninstalled:", "walpost setup --drop"),
        ],
    },
    Entry {
        path: "prune",
        exit: "0 it has run, though rows may have stayed\n1 nothing is proven to be in Kafka, or no table can be pruned: the reason is printed\n78 wrong configuration",
        examples: &[
            ("What would be deleted, what not, and why:", "walpost prune --dry-run"),
            ("Keep two weeks:", "walpost prune --older-than 14d"),
        ],
    },
    Entry {
        path: "replay",
        exit: PLANS,
        examples: &[
            ("How many events that would be:", "walpost replay --since 2h --same-topic"),
            (
                "Send one order's events again, slowly:",
                "walpost replay --aggregate 42 --same-topic --rate 50 --yes",
            ),
            (
                "Fill a topic of its own for a new consumer:",
                "walpost replay --all --to-topic orders.rebuild --yes",
            ),
        ],
    },
    Entry {
        path: "dlq list",
        exit: ASKS,
        examples: &[
            ("What is unresolved:", "walpost dlq list"),
            (
                "The malformed letters of the last day:",
                "walpost dlq list --reason malformed --since 24h",
            ),
        ],
    },
    Entry {
        path: "dlq show",
        exit: ASKS,
        examples: &[(
            "Why it is a dead letter, and its row's payload:",
            "walpost dlq show 0:17 --payload",
        )],
    },
    Entry {
        path: "dlq redrive",
        exit: "0 done, or planned without --yes\n1 a letter was refused again, a server does not answer, or it is refused here\n78 wrong configuration",
        examples: &[
            ("What would be sent, and where to:", "walpost dlq redrive --reason too_large"),
            ("Send it:", "walpost dlq redrive --reason too_large --yes"),
            ("Done with by hand:", "walpost dlq redrive 0:17 --resolve-only --yes"),
        ],
    },
    Entry {
        path: "dlq purge",
        exit: PLANS,
        examples: &[
            ("How far it would come:", "walpost dlq purge"),
            ("Remove them:", "walpost dlq purge --yes"),
        ],
    },
    Entry {
        path: "groups show",
        exit: ASKS,
        examples: &[("How far behind the group is:", "walpost groups show billing")],
    },
    Entry {
        path: "groups reset",
        exit: PLANS,
        examples: &[
            (
                "What that would read again:",
                "walpost groups reset billing --topic outbox.event.order --to-time 2h",
            ),
            (
                "Set it, while the group's consumers are stopped:",
                "walpost groups reset billing --topic outbox.event.order --to-earliest --yes",
            ),
        ],
    },
    Entry {
        path: "checkpoint show",
        exit: "0 done\n1 what is stored cannot be read, or a server does not answer\n78 wrong configuration",
        examples: &[("Where the stream will go on:", "walpost checkpoint show")],
    },
    Entry {
        path: "checkpoint accept",
        exit: PLANS,
        examples: &[
            (
                "What may be missing in Kafka, and how it is sent again:",
                "walpost checkpoint accept",
            ),
            ("End the halt:", "walpost checkpoint accept --yes"),
        ],
    },
    Entry {
        path: "checkpoint set",
        exit: PLANS,
        examples: &[(
            "Skip one transaction that cannot be sent, by the name that the log gives it:",
            "walpost checkpoint set --commit-lsn 0/16B3748 --yes",
        )],
    },
    Entry {
        path: "reshard",
        exit: PLANS,
        examples: &[
            ("What going to four streams takes:", "walpost reshard 4"),
            ("Do it, with every walpost stopped:", "walpost reshard 4 --yes"),
            ("Back to one, with WALPOST_SHARDS=4:", "walpost reshard 1 --yes"),
        ],
    },
    Entry {
        path: "adopt debezium",
        exit: PLANS,
        examples: &[
            (
                "What going on in the place of the connector `outbox` would send again:",
                "walpost adopt debezium --connector outbox",
            ),
            ("Go on in its place:", "walpost adopt debezium --connector outbox --yes"),
        ],
    },
    Entry {
        path: "schema check",
        exit: "0 all may be registered\n1 one is refused, or the registry does not answer\n78 wrong configuration",
        examples: &[(
            "The gate of a build, before a change is deployed:",
            "walpost schema check schemas",
        )],
    },
    Entry {
        path: "schema register",
        exit: "0 done, or what would be done\n1 one is refused, or the registry does not answer\n78 wrong configuration",
        examples: &[
            ("What would be registered:", "walpost schema register schemas"),
            ("Register it, unless one is refused:", "walpost schema register schemas --yes"),
        ],
    },
    Entry {
        path: "healthcheck",
        exit: "0 the answer has status 200\n1 another status, or no answer",
        examples: &[
            ("As a container's health check:", "walpost healthcheck"),
            (
                "Whether the process lives, whatever its servers do:",
                "walpost healthcheck http://127.0.0.1:9464/livez",
            ),
        ],
    },
    Entry {
        path: "status",
        exit: "0 it streams, or stands by to take over\n1 it does not, or there is no answer",
        examples: &[
            ("On the same machine:", "walpost status"),
            ("Elsewhere:", "walpost status --url http://walpost:9464"),
        ],
    },
    Entry { path: "version", exit: "0 always", examples: &[("The version:", "walpost version")] },
];

/// The command line with the end of each help.
#[must_use]
pub fn command() -> clap::Command {
    let mut command = Cli::command();
    for entry in ENTRIES {
        let words: Vec<&str> = entry.path.split(' ').collect();
        command = with_end(command, &words, &end(entry));
    }
    command
}

fn with_end(command: clap::Command, path: &[&str], end: &str) -> clap::Command {
    let Some((first, rest)) = path.split_first() else {
        return command.after_long_help(end.to_owned());
    };
    command.mut_subcommand(first, |sub| with_end(sub, rest, end))
}

fn end(entry: &Entry) -> String {
    let mut text = String::from("Exit codes:\n");
    for line in entry.exit.lines() {
        text = format!("{text}  {line}\n");
    }
    text.push_str("\nExamples:\n");
    for (what, line) in entry.examples {
        text = format!("{text}  {what}\n    {line}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of every command that does something by itself.
    fn leaves(command: &clap::Command, path: &str, found: &mut Vec<String>) {
        let mut any = false;
        for sub in command.get_subcommands() {
            any = true;
            leaves(sub, format!("{path} {}", sub.get_name()).trim(), found);
        }
        if !any {
            found.push(path.to_owned());
        }
    }

    #[test]
    fn every_command_has_its_exit_codes_and_an_example() {
        let mut found = Vec::new();
        leaves(&Cli::command(), "", &mut found);
        let paths: Vec<_> = ENTRIES.iter().map(|entry| entry.path).collect();
        assert_eq!(found, paths);
        for entry in ENTRIES {
            assert!(!entry.examples.is_empty() && entry.exit.starts_with("0 "), "{}", entry.path);
        }
    }

    #[test]
    fn every_example_is_a_command_line_of_its_command() {
        for Entry { path, examples, .. } in ENTRIES {
            for (_, line) in *examples {
                let ours = line.split(" | ").next().and_then(|line| line.split(" > ").next());
                let words = ours.unwrap_or_default().split(' ');
                let words: Vec<_> = words.skip_while(|word| *word != "walpost").collect();
                let parsed = command().try_get_matches_from(&words);
                parsed.unwrap_or_else(|error| panic!("{line}: {error}"));
                assert!(words.join(" ").contains(&format!("walpost {path}")), "{line}");
            }
        }
    }
}
