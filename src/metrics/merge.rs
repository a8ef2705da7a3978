//! The metrics of several streams as one text.
//!
//! Each stream has a registry of its own, with its number as a label of every series. In the text
//! format all series of a metric stand together, under one `# HELP` and one `# TYPE`
//! (Prometheus, "Exposition formats": "only one TYPE line may exist for a given metric name").

use std::collections::HashMap;
use std::fmt::Write as _;

/// One metric: its comment lines, and the lines of its series.
#[derive(Debug, Default)]
struct Family {
    comments: String,
    series: String,
}

/// Puts texts together, metrics in the order in which they come first.
pub(super) fn merge(texts: impl Iterator<Item = String>) -> String {
    let (mut order, mut families): (Vec<String>, HashMap<String, Family>) = Default::default();
    for text in texts {
        let (mut name, mut known) = (String::new(), false);
        for line in text.lines().filter(|line| !line.is_empty()) {
            let comment = line.strip_prefix("# ").and_then(|rest| rest.split(' ').nth(1));
            match comment {
                Some(of) if of != name => {
                    of.clone_into(&mut name);
                    known = families.contains_key(of);
                    if !known {
                        order.push(name.clone());
                    }
                }
                Some(_) | None => {}
            }
            let family = families.entry(name.clone()).or_default();
            let written = match comment {
                Some(_) if known => Ok(()),
                Some(_) => writeln!(family.comments, "{line}"),
                None => writeln!(family.series, "{line}"),
            };
            written.expect("writing to a string cannot fail");
        }
    }
    let family = |name: &String| families.get(name);
    let texts = order.iter().filter_map(family);
    texts.map(|family| format!("{}{}\n", family.comments, family.series)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_of_several_streams_is_described_once() {
        let text = |shard: u8| {
            format!(
                "# HELP a Of a.\n# TYPE a gauge\na{{shard=\"{shard}\"}} 1\n\n\
                 # HELP b Of b.\n# TYPE b counter\nb{{shard=\"{shard}\"}} 2\n\n"
            )
        };
        assert_eq!(
            merge([text(0), text(1)].into_iter()),
            "# HELP a Of a.\n# TYPE a gauge\na{shard=\"0\"} 1\na{shard=\"1\"} 1\n\n\
             # HELP b Of b.\n# TYPE b counter\nb{shard=\"0\"} 2\nb{shard=\"1\"} 2\n\n"
        );
    }
}
