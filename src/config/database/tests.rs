use super::super::env::Variables;
use super::super::reader::Reader;
use super::*;

/// The options, what is refused as `VARIABLE: reason`, and the warnings.
fn read_all(set: &[(&str, &str)]) -> (ConnectOptions, Vec<String>, Vec<String>) {
    let variables: Variables =
        set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let mut reader = Reader::new(&variables);
    let options = read(&mut reader);
    match reader.finish() {
        Ok((_, warnings)) => (options, Vec::new(), warnings),
        Err(invalid) => {
            let line = |problem: &super::super::Problem| {
                let value = problem.value.as_ref().map_or(String::new(), |v| format!("={v}"));
                format!("{}{value}: {}", problem.variable, problem.reason)
            };
            (options, invalid.problems.iter().map(line).collect(), invalid.warnings)
        }
    }
}

#[track_caller]
fn check(set: &[(&str, &str)], expected: &[(&str, u16)]) {
    let (options, problems, _) = read_all(set);
    assert_eq!(problems, [""; 0], "{set:?}");
    let hosts: Vec<_> = options
        .hosts
        .iter()
        .map(|host| match &host.address {
            HostAddress::Tcp(name) => (name.as_str(), host.port),
            HostAddress::UnixDirectory(path) => (path.to_str().expect("utf-8"), host.port),
        })
        .collect();
    assert_eq!(hosts, expected, "{set:?}");
}

const USER: (&str, &str) = ("PGUSER", "u");

#[test]
fn hosts_have_their_ports() {
    check(&[USER], &[("localhost", 5432)]);
    check(&[USER, ("PGHOST", "a, b"), ("PGPORT", "1")], &[("a", 1), ("b", 1)]);
    check(&[USER, ("PGHOST", "a,b"), ("PGPORT", "1,2")], &[("a", 1), ("b", 2)]);
    check(
        &[USER, ("PGHOST", "a,,/tmp"), ("PGPORT", ",2,")],
        &[("a", 5432), ("localhost", 2), ("/tmp", 5432)],
    );
    check(&[("DATABASE_URL", "postgres://u@a,b:7/"), ("PGPORT", "9")], &[("a", 5432), ("b", 7)]);
    check(&[("DATABASE_URL", "postgres://u@a,b/"), ("PGPORT", "9")], &[("a", 9), ("b", 9)]);
    check(&[("DATABASE_URL", "postgres://u@/d"), ("PGHOST", "h")], &[("h", 5432)]);
}

#[track_caller]
fn check_refused(set: &[(&str, &str)], expected: &str) {
    let (_, problems, _) = read_all(set);
    assert_eq!(problems, [expected], "{set:?}");
}

#[test]
fn a_wrong_part_is_named_by_its_variable_or_its_parameter() {
    check_refused(&[], "PGUSER: is required, or a user in DATABASE_URL");
    check_refused(
        &[USER, ("PGHOST", "a,b"), ("PGPORT", "1,2,3")],
        "PGPORT=1,2,3: has 3 ports for 2 hosts; give one, or one for each",
    );
    check_refused(&[USER, ("PGPORT", "0")], "PGPORT=0: expected a port, 1 to 65535");
    check_refused(
        &[USER, ("PGCONNECT_TIMEOUT", "10s")],
        "PGCONNECT_TIMEOUT=10s: expected whole seconds without a unit, as in libpq",
    );
    check_refused(
        &[("DATABASE_URL", "postgres://u@db?sslmode=verify_full")],
        "DATABASE_URL: sslmode: expected one of disable, allow, prefer, require, verify-ca, \
         verify-full; did you mean \"verify-full\"?",
    );
    check_refused(
        &[("DATABASE_URL", "postgres://u@a,b?port=1,2,3")],
        "DATABASE_URL: port: has 3 ports for 2 hosts; give one, or one for each",
    );
    check_refused(
        &[("DATABASE_URL", "postgres://u@db?connect_timeout=x")],
        "DATABASE_URL: connect_timeout: expected whole seconds without a unit, as in libpq",
    );
}

#[test]
fn encryption_that_protects_from_nothing_is_refused_as_libpq_does() {
    let weak =
        "PGSSLMODE: must be verify-full with the system's authorities, or PGSSLROOTCERT a file";
    for mode in ["allow", "prefer", "require", "verify-ca"] {
        check_refused(&[USER, ("PGSSLROOTCERT", "system"), ("PGSSLMODE", mode)], weak);
    }
    check_refused(&[USER, ("PGSSLMODE", "verify-ca")], weak);
    check_refused(
        &[USER, ("PGSSLMODE", "disable"), ("PGCHANNELBINDING", "require")],
        "PGCHANNELBINDING: cannot be require without encryption; PGSSLMODE is disable",
    );
    check_refused(
        &[USER, ("PGSSLKEY", "/k")],
        "PGSSLCERT: goes together with PGSSLKEY; set both or none",
    );
    for mode in ["require", "verify-ca", "verify-full"] {
        check(
            &[USER, ("PGSSLROOTCERT", "/ca"), ("PGSSLMODE", mode), ("PGCHANNELBINDING", "require")],
            &[("localhost", 5432)],
        );
    }
    let (options, ..) =
        read_all(&[USER, ("PGSSLROOTCERT", "system"), ("PGSSLMODE", "verify-full")]);
    assert_eq!(options.sslrootcert, Some(RootCertificates::System));
}

#[track_caller]
fn check_timeout(text: &str, seconds: u64) {
    let (options, problems, _) = read_all(&[USER, ("PGCONNECT_TIMEOUT", text)]);
    assert_eq!(problems, [""; 0]);
    assert_eq!(options.connect_timeout, Duration::from_secs(seconds), "{text}");
}

#[test]
fn the_time_to_connect_is_as_in_libpq() {
    check_timeout("10", 10);
    check_timeout("1", 2);
    check_timeout("0", 86_400);
    check_timeout("-1", 86_400);
    check_timeout("2147483647", 86_400);
    let (options, ..) = read_all(&[USER]);
    assert_eq!(options.connect_timeout, Duration::from_secs(10));
}

#[track_caller]
fn check_warned(set: &[(&str, &str)], expected: &[&str]) {
    let (_, _, warnings) = read_all(set);
    assert_eq!(warnings, expected, "{set:?}");
}

#[test]
fn what_has_no_effect_is_warned_of() {
    check_warned(&[USER, ("PGAPPNAME", "x")], &["PGAPPNAME is not used by walpost"]);
    // Without a user this is why nothing works, so it is said beside the mistake.
    check_warned(&[("PGSERVICE", "x")], &["PGSERVICE is not used by walpost"]);
    check_warned(
        &[("DATABASE_URL", "postgres://u@db/shop"), ("PGHOST", "other"), ("PGDATABASE", "shop")],
        &["PGHOST has no effect, because DATABASE_URL has this part too"],
    );
    check_warned(
        &[("DATABASE_URL", "postgres://u@db?options=x")],
        &["the parameter options of DATABASE_URL is not used"],
    );
}

#[test]
fn the_database_has_the_users_name_unless_it_is_named() {
    let (options, ..) = read_all(&[USER]);
    assert_eq!((options.user.as_str(), options.database.as_str()), ("u", "u"));
    assert_eq!(options.target_session_attrs, TargetSessionAttrs::ReadWrite);
    assert_eq!(options.sslmode, None);
    let (options, ..) = read_all(&[USER, ("PGDATABASE", "d")]);
    assert_eq!(options.database, "d");
}
