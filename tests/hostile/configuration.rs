//! Files of variables, and what is made of them.

use walpost::config::Config;
use walpost::config::env::Variables;
use walpost::config::table::VARIABLES;

use crate::trial::Target;

/// Each value is kept several times: as it was read, as it may be shown, and in what is said of it.
const TARGET: Target =
    Target { name: "configuration", cases: 1_500, fixed: 128 * 1024, each: 64, says: " " };

/// What has to be said, and no file of it.
const BASE: [&str; 3] = [
    "DATABASE_URL=postgres://walpost:secret@db.example.com:5432/shop?sslmode=disable",
    "KAFKA_BOOTSTRAP_SERVERS=kafka-1.example.com:9092,kafka-2.example.com:9092",
    "WALPOST_NAME=shop",
];

/// What is needed with a variable of each kind: the names of files are read, so they stay away.
fn files() -> Vec<Vec<Vec<u8>>> {
    let lines = |lines: &[String]| -> Vec<Vec<u8>> {
        lines.iter().map(|line| line.clone().into_bytes()).collect()
    };
    let base = || BASE.map(str::to_owned).to_vec();
    let mut files = vec![lines(&base())];
    let mut all = base();
    let plain = VARIABLES.iter().filter(|variable| {
        let opens = ["ROOTCERT", "SSLCERT", "SSLKEY", "LOCATION", "_CA", "_FILE"];
        !BASE.iter().any(|line| line.starts_with(variable.name))
            && !opens.iter().any(|part| variable.name.contains(part))
    });
    for variable in plain {
        let line = format!("{}={}", variable.name, variable.example);
        files.push(lines(&[base(), vec![line.clone()]].concat()));
        all.push(line);
    }
    files.push(lines(&all));
    files
}

#[test]
fn a_changed_configuration_is_read_or_every_mistake_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    TARGET.run(&files(), |parts| {
        std::fs::write(file.path(), parts.join(&b'\n')).unwrap();
        let variables = Variables::read(file.path()).map_err(|error| error.to_string())?;
        match Config::load(&variables) {
            Ok(loaded) => {
                assert!(!loaded.config.database.hosts.is_empty(), "no host");
                Ok(())
            }
            Err(invalid) => {
                assert!(!invalid.problems.is_empty(), "refused, and nothing is said");
                assert!(invalid.problems.iter().all(|problem| !problem.variable.is_empty()));
                Err(invalid.to_string())
            }
        }
    });
}
