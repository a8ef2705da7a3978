//! What librdkafka says of itself every few seconds.
//!
//! Source: `STATISTICS.md` of librdkafka 2.12.1. Only what is shown is read; everything else of a
//! text that may be megabytes long is passed over.

use std::collections::HashMap;

use serde::Deserialize;

/// How often librdkafka says it, in milliseconds.
pub const INTERVAL_MS: &str = "5000";

/// A broker that the client has dealt with.
#[derive(Clone, Debug, PartialEq)]
pub struct Broker {
    /// Its address, `host:port`, as the cluster tells it.
    pub name: String,
    /// The connection is up.
    pub up: bool,
    /// Mean round trip over the last interval, seconds; `None` when nothing was asked.
    pub round_trip: Option<f64>,
}

/// One text of statistics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statistics {
    /// Brokers by their number in the cluster, without those that there was no reason to connect to.
    pub brokers: Vec<Broker>,
    /// Requests that the client has sent again since it was made, to any broker.
    pub retries: u64,
}

#[derive(Deserialize)]
struct Text {
    #[serde(default)]
    brokers: HashMap<String, BrokerText>,
}

#[derive(Deserialize)]
struct BrokerText {
    /// -1 for an address of `bootstrap.servers`, which is another name of one that has a number.
    nodeid: i64,
    nodename: String,
    state: String,
    /// Attempts to connect.
    #[serde(default)]
    connects: i64,
    #[serde(default)]
    rtt: Window,
    /// Requests that were sent again.
    #[serde(default)]
    txretries: u64,
}

/// Microseconds over the last interval.
#[derive(Default, Deserialize)]
struct Window {
    avg: i64,
    cnt: i64,
}

impl Statistics {
    /// Reads a text of librdkafka's.
    ///
    /// # Errors
    /// It is not what `STATISTICS.md` says.
    pub fn read(text: &str) -> Result<Self, serde_json::Error> {
        let text: Text = serde_json::from_str(text)?;
        let retries = text.brokers.values().map(|broker| broker.txretries).sum();
        let mut brokers: Vec<_> =
            text.brokers.into_values().filter(|broker| broker.nodeid >= 0).collect();
        brokers.sort_by_key(|broker| broker.nodeid);
        // A broker that leads nothing we write to is never connected to, and is not down.
        let brokers = brokers
            .into_iter()
            .filter(|broker| broker.connects > 0 || broker.state != "INIT")
            .map(|broker| Broker {
                up: matches!(broker.state.as_str(), "UP" | "UPDATE"),
                round_trip: (broker.rtt.cnt > 0)
                    .then(|| std::time::Duration::from_micros(broker.rtt.avg.unsigned_abs()))
                    .map(|mean| mean.as_secs_f64()),
                name: broker.nodename,
            })
            .collect();
        Ok(Self { brokers, retries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_are_read_and_the_rest_is_passed_over() {
        let broker = |node: i64, name: &str, state: &str, connects: i64, (avg, cnt): (i64, i64)| {
            format!(
                r#""{name}/{node}": {{"name": "{name}/{node}", "nodeid": {node}, "nodename": "{name}",
                "state": "{state}", "stateage": 5, "connects": {connects},
                "txretries": {connects},
                "rtt": {{"min": 1, "max": 9, "avg": {avg}, "cnt": {cnt}}}, "toppars": {{}}}}"#
            )
        };
        let text = format!(
            r#"{{"name": "walpost", "ts": 1, "brokers": {{{}, {}, {}, {}}}, "topics": {{"orders":
            {{"topic": "orders", "partitions": {{"0": {{"msgs": 1}}, "1": {{}}, "-1": {{}}}}}},
            "none": {{"partitions": {{"-1": {{}}}}}}}}}}"#,
            broker(-1, "bootstrap:9092", "UP", 1, (3, 1)),
            broker(2, "b:9092", "TRY_CONNECT", 4, (0, 0)),
            broker(1, "a:9092", "UP", 1, (1_500, 7)),
            broker(3, "c:9092", "INIT", 0, (0, 0)),
        );
        let read = Statistics::read(&text).unwrap();
        let broker = |name: &str, up, round_trip| Broker { name: name.to_owned(), up, round_trip };
        assert_eq!(
            read.brokers,
            [broker("a:9092", true, Some(0.0015)), broker("b:9092", false, None),]
        );
        assert_eq!(read.retries, 1 + 4 + 1);
        assert!(Statistics::read("{").is_err());
    }
}
