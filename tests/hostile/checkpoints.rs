//! Records of the checkpoint topic, which anybody who may write there can have written.

use walpost::kafka::checkpoint::Checkpoint;

use crate::trial::Target;

/// Members that are not known are kept, each as a value of its own.
const TARGET: Target =
    Target { name: "checkpoints", cases: 20_000, fixed: 16 * 1024, each: 64, says: "checkpoint" };

/// As walpost wrote them, one a line.
const RECORDS: &str = include_str!("../corpus/checkpoints.txt");

fn records() -> Vec<Vec<Vec<u8>>> {
    let lines = RECORDS.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| vec![line.as_bytes().to_vec()]).collect()
}

#[test]
fn a_record_that_was_written_is_read_and_written_again_as_it_was() {
    for record in records().concat() {
        let read = Checkpoint::decode(&record).expect("a checkpoint");
        assert_eq!(String::from_utf8_lossy(&read.encode()), String::from_utf8_lossy(&record));
    }
}

#[test]
fn a_changed_record_is_read_or_refused() {
    TARGET.run(&records(), |parts| {
        for part in parts {
            let read = Checkpoint::decode(part).map_err(|error| error.to_string())?;
            // What was read can be written and read again.
            assert_eq!(Checkpoint::decode(&read.encode()), Ok(read));
        }
        Ok(())
    });
}
