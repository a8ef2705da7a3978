//! Registers series by the table: a name, kind or label that is not in it cannot be registered.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder as _};
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

use super::catalog::{self, Definition, Kind, LATENCY_BUCKETS, TABLE, When};

const METADATA: Metadata<'static> = Metadata::new("walpost", Level::INFO, None);

/// The value of a label once a set has as many as it may have.
const OTHER: &str = "other";

/// All series of one connector.
///
/// Not the process-wide recorder of `metrics`: nothing but this value knows the series, so tests
/// and several streams in one process do not meet.
pub(super) struct Registry {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    /// The labels that all series have, as text.
    labels: String,
    connector_label: String,
    shard: Option<u32>,
}

/// The value of a label, by the label's name.
pub(super) type Labels<'a> = &'a [(&'static str, &'a str)];

impl Registry {
    /// `shard` is the number of the stream, where there are several.
    pub(super) fn new(connector: &str, shard: Option<u32>) -> Self {
        let mut builder = PrometheusBuilder::new().add_global_label("connector", connector);
        if let Some(shard) = shard {
            builder = builder.add_global_label("shard", shard.to_string());
        }
        let recorder = builder
            .set_buckets_for_metric(
                Matcher::Full("walpost_event_latency_seconds".to_owned()),
                &LATENCY_BUCKETS,
            )
            .expect("there is at least one bucket")
            .build_recorder();
        for definition in TABLE.iter().filter(|definition| definition.when == When::Now) {
            let (name, help) = (definition.name.into(), definition.help.into());
            match definition.kind {
                Kind::Counter => recorder.describe_counter(name, None, help),
                Kind::Gauge => recorder.describe_gauge(name, None, help),
                Kind::Histogram => recorder.describe_histogram(name, None, help),
            }
        }
        let connector_label = format!("connector=\"{}\"", escaped(connector));
        let labels = shard.map_or_else(
            || connector_label.clone(),
            |shard| format!("{connector_label},shard=\"{shard}\""),
        );
        Self { handle: recorder.handle(), recorder, labels, connector_label, shard }
    }

    /// The number of the stream, where there are several.
    pub(super) const fn shard(&self) -> Option<u32> {
        self.shard
    }

    pub(super) fn counter(&self, name: &'static str, labels: Labels<'_>) -> Counter {
        self.recorder.register_counter(&key(name, Kind::Counter, labels), &METADATA)
    }

    pub(super) fn gauge(&self, name: &'static str, labels: Labels<'_>) -> Gauge {
        self.recorder.register_gauge(&key(name, Kind::Gauge, labels), &METADATA)
    }

    pub(super) fn histogram(&self, name: &'static str) -> Histogram {
        self.recorder.register_histogram(&key(name, Kind::Histogram, &[]), &METADATA)
    }

    /// Puts recorded values into their buckets. Until then each takes 24 bytes.
    pub(super) fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// All registered series in the text format 0.0.4.
    pub(super) fn render(&self) -> String {
        self.handle.render()
    }

    /// Adds a series that is not registered because its value is a fraction and counters of
    /// `metrics` are whole, or because it is absent where it cannot be read.
    pub(super) fn append(&self, text: &mut String, name: &'static str, value: f64) {
        self.append_all(text, name, [(Vec::new(), value)]);
    }

    /// As [`append`](Self::append), for the series of a metric with labels; nothing without one.
    ///
    /// What is of the process, or of those who read the topics, is of no stream.
    pub(super) fn append_all(
        &self,
        text: &mut String,
        name: &'static str,
        series: impl IntoIterator<Item = (Vec<(&'static str, String)>, f64)>,
    ) {
        let Definition { kind, help, labels: expected, .. } = defined(name);
        let mut series = series.into_iter().peekable();
        if series.peek().is_none() {
            return;
        }
        let head = format!("# HELP {name} {help}\n# TYPE {name} {}\n", kind.as_str());
        text.push_str(&head);
        let ours = match of_all_streams(name) {
            true => &self.connector_label,
            false => &self.labels,
        };
        for (labels, value) in series {
            let names: Vec<_> = labels.iter().map(|(label, _)| *label).collect();
            assert_eq!(*expected, names, "{name} has other labels");
            let mut all = ours.clone();
            for (label, value) in labels {
                all.push_str(&format!(",{label}=\"{}\"", escaped(&value)));
            }
            text.push_str(&format!("{name}{{{all}}} {value}\n"));
        }
        text.push('\n');
    }
}

/// Whether a metric is told once for all streams of a process, by the first of them.
pub(super) fn of_all_streams(name: &str) -> bool {
    name.starts_with("process_") || name.starts_with("walpost_consumer_group_")
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn defined(name: &str) -> &'static Definition {
    catalog::find(name).expect("only metrics of the table are registered")
}

/// The key of a series, held against the table.
fn key(name: &'static str, kind: Kind, labels: Labels<'_>) -> Key {
    let definition = defined(name);
    assert_eq!(definition.kind, kind, "{name} is of another kind");
    assert_eq!(definition.when, When::Now, "{name} is not shown yet");
    let names: Vec<_> = labels.iter().map(|(label, _)| *label).collect();
    assert_eq!(definition.labels, names, "{name} has other labels");
    let labels: Vec<Label> =
        labels.iter().map(|(label, value)| Label::new(*label, (*value).to_owned())).collect();
    Key::from_parts(name, labels)
}

/// The series of one metric with one label, made as values turn up, up to a maximum.
pub(super) struct Family<T> {
    label: &'static str,
    max: usize,
    known: Mutex<HashMap<String, T>>,
    register: fn(&Registry, Labels<'_>) -> T,
}

impl<T: Clone> Family<T> {
    pub(super) fn new(
        label: &'static str,
        max: usize,
        register: fn(&Registry, Labels<'_>) -> T,
    ) -> Self {
        Self { label, max, known: Mutex::new(HashMap::new()), register }
    }

    /// Makes the series of values that are known beforehand, so that they exist from the start.
    pub(super) fn with(self, registry: &Registry, values: &[&str]) -> Self {
        for value in values {
            self.of(registry, value);
        }
        self
    }

    /// The series of a value; past the maximum, the one of `other`.
    pub(super) fn of(&self, registry: &Registry, value: &str) -> T {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = known.get(value) {
            return series.clone();
        }
        let value = if known.len() < self.max { value } else { OTHER };
        let made = known
            .entry(value.to_owned())
            .or_insert_with(|| (self.register)(registry, &[(self.label, value)]));
        made.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_has_a_maximum_and_the_rest_is_counted_together() {
        let registry = Registry::new("shop", None);
        let family = Family::new("code", 2, |registry, labels| {
            registry.counter("walpost_produce_errors_total", labels)
        })
        .with(&registry, &["a"]);
        for code in ["a", "b", "c", "d", "c"] {
            family.of(&registry, code).increment(1);
        }
        let mut lines: Vec<_> =
            registry.render().lines().filter(|l| l.contains('{')).map(str::to_owned).collect();
        lines.sort_unstable();
        assert_eq!(
            lines,
            [
                r#"walpost_produce_errors_total{connector="shop",code="a"} 1"#,
                r#"walpost_produce_errors_total{connector="shop",code="b"} 1"#,
                r#"walpost_produce_errors_total{connector="shop",code="other"} 3"#,
            ]
        );
    }

    #[test]
    #[should_panic(expected = "walpost_leader has other labels")]
    fn a_label_that_is_not_in_the_table_is_refused() {
        drop(Registry::new("shop", None).gauge("walpost_leader", &[("row", "7")]));
    }
}
