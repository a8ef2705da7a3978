//! Standbys: those that a commit would wait for, and those that walpost would wait for.

use super::remedy::set;
use super::{Finding, Remedy};
use crate::config::Config;
use crate::postgres::catalog::Server;

/// Findings of `synchronous_standby_names` and `synchronized_standby_slots`. `slots` are those that
/// the latter lists, and whether a standby reads each.
pub(super) fn findings(
    config: &Config,
    server: &Server,
    slots: &[(String, Option<bool>)],
) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(synchronous(&config.database.application_name, server));
    let absent: Vec<_> =
        slots.iter().filter(|(_, active)| *active != Some(true)).map(|(name, _)| name).collect();
    if !absent.is_empty() {
        let kept: Vec<_> = slots
            .iter()
            .filter(|(_, active)| *active == Some(true))
            .map(|(name, _)| name.as_str())
            .collect();
        let names = absent.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
        findings.push(Finding::problem(
            "synchronized_standby_slots",
            format!("synchronized_standby_slots lists {names}, which no standby reads"),
            "the server sends nothing through a slot with failover until those standbys have it, so walpost would stand still",
            set("synchronized_standby_slots", &kept.join(", "))
                .then("or bring the standby back; a slot that does not exist can be left out of the setting"),
        ));
    }
    findings
}

fn synchronous(application_name: &str, server: &Server) -> Option<Finding> {
    let list = &server.synchronous_standby_names;
    let listed = names(members(list));
    // `SyncRepGetStandbyPriority` in src/backend/replication/syncrep.c: names are compared without
    // regard to case, and walsenders of logical slots count too.
    let matches = |name: &String| name == "*" || name.eq_ignore_ascii_case(application_name);
    let matching = listed.iter().find(|name| matches(name))?;
    let remedy = if matching == "*" {
        Remedy::sql(["SELECT application_name, state, sync_state FROM pg_stat_replication"])
            .then("name the standbys in synchronous_standby_names instead of *")
    } else {
        let others: Vec<_> = listed.iter().filter(|name| !matches(name)).cloned().collect();
        set("synchronous_standby_names", &with_members(list, &others))
    };
    Some(Finding::warning(
        "synchronous_standby_names",
        format!(
            "synchronous_standby_names is {list:?}, which matches walpost ({application_name})"
        ),
        "a commit may wait until Kafka has confirmed the rows before it, and for ever while Kafka is away",
        remedy,
    ))
}

/// The members of `FIRST 2 (a, b)`, `ANY 1 (a)`, `2 (a)` or `a, b`.
///
/// Source: PostgreSQL manual, "synchronous_standby_names".
fn members(list: &str) -> &str {
    method(list).map_or(list.trim(), |(_, members)| members)
}

/// The method with its number, and what is between the brackets; `None` for a mere list, whose
/// quoted names may have brackets too.
fn method(list: &str) -> Option<(&str, &str)> {
    let (method, rest) = list.trim().split_once('(')?;
    let words = method.chars().all(|c| c.is_ascii_alphanumeric() || c.is_whitespace());
    words.then(|| (method.trim(), rest.trim_end().strip_suffix(')').unwrap_or(rest)))
}

/// The list with these members: as many of them confirm a commit as before, or all that are left.
fn with_members(list: &str, members: &[String]) -> String {
    if members.is_empty() {
        return String::new();
    }
    let quoted: Vec<_> = members.iter().map(|name| quoted(name)).collect();
    let quoted = quoted.join(", ");
    let Some((method, _)) = method(list) else { return quoted };
    let (how, count) = method.rsplit_once(char::is_whitespace).unwrap_or(("", method));
    let count = count.parse().map_or(1, |count: usize| count.min(members.len()));
    format!("{how} {count} ({quoted})").trim_start().to_owned()
}

/// A name in double quotes, where it needs them.
fn quoted(name: &str) -> String {
    let plain = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// Names with commas between, in double quotes where need be.
pub(super) fn names(list: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut name = String::new();
    let mut quoted = false;
    for character in list.chars() {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => names.push(std::mem::take(&mut name)),
            other => name.push(other),
        }
    }
    names.push(name);
    names.into_iter().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::server::tests::good;

    #[test]
    fn a_list_of_synchronous_standbys_that_has_walpost_in_it_is_told() {
        #[track_caller]
        fn check(list: &str, expected: bool) {
            let server = Server { synchronous_standby_names: list.to_owned(), ..good() };
            assert_eq!(synchronous("walpost/shop", &server).is_some(), expected, "{list}");
        }
        check("", false);
        check("*", true);
        check("s1, s2", false);
        check("FIRST 1 (s1, *)", true);
        check("ANY 2 (s1, \"WALPOST/shop\")", true);
        check("2 (s1, s2)", false);
        check("\"walpost/shop\"", true);
        check("\"walpost/other\"", false);
        check("\"a,*\"", false);
    }

    #[test]
    fn a_remedy_keeps_the_other_names_and_how_many_of_them_confirm() {
        #[track_caller]
        fn check(list: &str, expected: &str) {
            let server = Server { synchronous_standby_names: list.to_owned(), ..good() };
            let remedy = synchronous("walpost/shop", &server).and_then(|finding| finding.remedy);
            let sql = remedy.map(|remedy| remedy.sql).unwrap_or_default();
            let set = format!("ALTER SYSTEM SET synchronous_standby_names = '{expected}'");
            assert_eq!(sql, [set, "SELECT pg_reload_conf()".to_owned()], "{list}");
        }
        check("\"walpost/shop\"", "");
        check("ANY 1 (s1, \"walpost/shop\")", "ANY 1 (s1)");
        check("ANY 2 (s1, \"walpost/shop\")", "ANY 1 (s1)");
        check("first 2 (a, \"walpost/shop\", \"b-c\")", "first 2 (a, \"b-c\")");
        check("2(a, \"walpost/shop\", b)", "2 (a, b)");
        check("a, \"walpost/shop\", \"b (c\"", "a, \"b (c\"");
    }
}
