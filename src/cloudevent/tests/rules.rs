//! Goal: exactly the rows that break a rule are bad, and what is told of them is a rule they break.
//! Method: random rows of texts; the rules are told here once more, in other words than the code's,
//! and the two are compared. JSON is judged by `serde_json`, samples of other grammars by hand.

use proptest::prelude::*;
use proptest::sample::select;

use super::fixture::*;
use crate::cloudevent::Reason;

type Broken = Vec<(&'static str, Reason)>;

/// Texts for columns that become attributes.
fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => "[ -~]{1,8}".prop_map(String::into_bytes),
        2 => any::<String>().prop_map(String::into_bytes),
        1 => Just(Vec::new()),
        1 => select(vec![&b"\xFF"[..], b"a\xC3", "\u{7F}".as_bytes(), "\u{FDEF}".as_bytes(), "\u{1FFFE}".as_bytes(), "\u{A0}\u{FDF0}".as_bytes()])
            .prop_map(<[u8]>::to_vec),
        1 => (65_535_usize..65_539).prop_map(|length| vec![b'a'; length]),
    ]
}

/// Samples, and whether each is what its column asks for.
const TIMES: [(&str, bool); 16] = [
    ("2024-05-01 10:00:00.123456+00", true),
    ("2024-02-29T23:59:59Z", true),
    ("2024-05-01 10:00:00-04:56:02", true),
    ("0001-01-01 00:00:00+00", true),
    ("9999-12-31 23:59:59.999999+00", true),
    ("2024-05-01", true),
    ("0001-01-01 00:00:00+01", false),
    ("9999-12-31 23:59:59-01", false),
    ("0000-01-01 00:00:00+00", false),
    ("10000-01-01 00:00:00+00", false),
    ("0044-03-15 00:00:00+00 BC", false),
    ("2023-02-29 00:00:00+00", false),
    ("2024-05-01 24:00:00+00", false),
    ("infinity", false),
    ("now", false),
    ("", false),
];
const SOURCES: [(&str, bool); 14] = [
    ("", true),
    ("/a", true),
    ("urn:a:b", true),
    ("https://u:p@[::1]:80/a%20b?c=/?#d?", true),
    ("a/b:c", true),
    ("?", true),
    ("//", true),
    ("1a:b", false),
    ("/a b", false),
    ("/a%2", false),
    ("/{a}", false),
    ("/ä", false),
    ("#a#b", false),
    ("http://[::1", false),
];
const MEDIA_TYPES: [(&str, bool, bool); 9] = [
    ("application/json", true, true),
    ("Text/JSON; charset=utf-8", true, true),
    ("application/a.b+json", true, true),
    ("text/plain", true, false),
    ("application/jsonx", true, false),
    ("json", false, false),
    ("a/b;", false, false),
    ("application/cloudevents", false, false),
    ("Application/CloudEvents-batch+json", false, false),
];
const HEADERS: [(&str, Option<Reason>); 12] = [
    ("", None),
    ("null", None),
    (" {\"a\": \"b\", \"c\": 1e400} ", None),
    ("{\"ce_id\": \"\\u0000\", \"x\": \"\\u0000\"}", None),
    ("{\"\\ud83d\\ude00\": null}", None),
    ("[]", Some(Reason::InvalidJson)),
    ("\"a\"", Some(Reason::InvalidJson)),
    ("{\"a\": 1", Some(Reason::InvalidJson)),
    ("{\"a\": 1}{}", Some(Reason::InvalidJson)),
    ("{\"\": 1}", Some(Reason::Empty)),
    ("{\"a\\n\": 1}", Some(Reason::ControlCharacter)),
    ("{\"a\": \"\\udc00\"}", Some(Reason::NotRepresentable)),
];
const PAYLOADS: [&[u8]; 12] = [
    b"{}",
    b" [1e999] ",
    b"\"\\ud800\"",
    b"1",
    b"",
    b"01",
    b"{} x",
    b"{\"a\":1,}",
    b"nul",
    b"\"\n\"",
    b"\"\xFF\"",
    b"\xEF\xBB\xBF{}",
];

/// What is wrong with a text that becomes an attribute.
fn in_attribute(text: &[u8]) -> Option<Reason> {
    let Ok(text) = std::str::from_utf8(text) else {
        return Some(if text.len() > 65_536 { Reason::TooLong } else { Reason::NotRepresentable });
    };
    let refused = |c: char| {
        c.is_control() || matches!(c, '\u{FDD0}'..='\u{FDEF}') || (c as u32) % 0x1_0000 >= 0xFFFE
    };
    if text.len() > 65_536 {
        Some(Reason::TooLong)
    } else {
        text.contains(refused).then_some(Reason::ControlCharacter)
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok()
}

/// A row, told by its columns.
#[derive(Clone, Debug)]
struct Row {
    id: Option<Vec<u8>>,
    event_type: Option<Vec<u8>>,
    aggregate_id: Option<Vec<u8>>,
    subject: Option<Vec<u8>>,
    tenant: Option<Vec<u8>>,
    topic: Option<Vec<u8>>,
    extension: Option<Vec<u8>>,
    payload: Option<&'static [u8]>,
    time: (&'static str, bool),
    source: (&'static str, bool),
    dataschema: (&'static str, bool),
    media_type: Option<(&'static str, bool, bool)>,
    headers: (&'static str, Option<Reason>),
}

fn row() -> impl Strategy<Value = Row> {
    let texts = (
        prop_oneof![4 => Just(Some(b"e1".to_vec())), 1 => proptest::option::of(text())],
        prop_oneof![4 => Just(Some(b"Placed".to_vec())), 1 => proptest::option::of(text())],
        prop_oneof![4 => Just(None), 1 => proptest::option::of(text())],
        prop_oneof![4 => Just(None), 1 => proptest::option::of(text())],
        prop_oneof![4 => Just(None), 1 => proptest::option::of(text())],
        prop_oneof![
            4 => Just(Some(b"orders".to_vec())),
            1 => proptest::option::of(text()),
            1 => "[._a]{1,3}|walpost[.]dlq|a{248,251}".prop_map(|text| Some(text.into_bytes())),
        ],
        prop_oneof![4 => Just(None), 1 => proptest::option::of(text())],
    );
    let often = |good: usize| prop_oneof![4 => Just(good), 1 => 0_usize..usize::MAX];
    let samples = (often(0), often(0), often(0), often(0), often(0), often(0));
    (texts, samples).prop_map(|(texts, samples)| {
        let (id, event_type, aggregate_id, subject, tenant, topic, extension) = texts;
        let (payload, time, source, dataschema, media_type, headers) = samples;
        let media_type = media_type.checked_sub(1).map(|n| MEDIA_TYPES[n % MEDIA_TYPES.len()]);
        Row {
            id,
            event_type,
            aggregate_id,
            subject,
            tenant,
            topic,
            extension,
            payload: (payload % 13 < 12).then(|| PAYLOADS[payload % 13]),
            time: TIMES[time % TIMES.len()],
            source: SOURCES[source % SOURCES.len()],
            dataschema: SOURCES[dataschema % SOURCES.len()],
            media_type,
            headers: HEADERS[headers % HEADERS.len()],
        }
    })
}

impl Row {
    fn case(&self) -> Case {
        let mut case = Case { options: options(), columns: Vec::new() };
        case.options.extensions.push(("ext".into(), "x".into()));
        let media_type = self.media_type.map(|(text, ..)| text.as_bytes().to_vec());
        let columns = [
            ("id", self.id.clone()),
            ("type", self.event_type.clone()),
            ("aggregateid", self.aggregate_id.clone()),
            ("subject", self.subject.clone()),
            ("tenant_id", self.tenant.clone()),
            ("topic", self.topic.clone()),
            ("x", self.extension.clone()),
            ("payload", self.payload.map(<[u8]>::to_vec)),
            ("created_at", Some(self.time.0.as_bytes().to_vec())),
            ("source", Some(self.source.0.as_bytes().to_vec())),
            ("dataschema", Some(self.dataschema.0.as_bytes().to_vec())),
            ("content_type", media_type),
            ("headers", Some(self.headers.0.as_bytes().to_vec())),
        ];
        for (name, value) in columns {
            case.columns.push((name.into(), TEXT, value));
        }
        case
    }

    /// Every rule that the row breaks.
    fn broken(&self, structured: bool) -> Broken {
        let mut broken = Broken::new();
        for (name, value) in [("id", &self.id), ("type", &self.event_type)] {
            match value.as_deref() {
                None => broken.push((name, Reason::Missing)),
                Some([]) => broken.push((name, Reason::Empty)),
                Some(text) => broken.extend(in_attribute(text).map(|reason| (name, reason))),
            }
        }
        let filled = |value: &Option<Vec<u8>>| value.clone().filter(|text| !text.is_empty());
        let subject = filled(&self.subject).or_else(|| filled(&self.aggregate_id));
        for (name, value) in
            [("subject", &subject), ("tenantid", &self.tenant), ("ext", &self.extension)]
        {
            let reason = filled(value).and_then(|text| in_attribute(&text));
            broken.extend(reason.map(|reason| (name, reason)));
        }
        if self.aggregate_id.as_ref().is_some_and(|key| key.len() > 65_536) {
            broken.push(("key", Reason::TooLong));
        }
        broken.extend(self.topic_breaks().map(|reason| ("topic", reason)));
        if !self.time.1 {
            broken.push(("time", Reason::NotRepresentable));
        }
        if !self.source.1 {
            broken.push(("source", Reason::InvalidUri));
        }
        let absolute =
            ["urn:", "https:"].iter().any(|scheme| self.dataschema.0.starts_with(scheme));
        match self.dataschema {
            ("", _) => {}
            (_, false) => broken.push(("dataschema", Reason::InvalidUri)),
            (_, true) if !absolute => broken.push(("dataschema", Reason::NotAbsoluteUri)),
            _ => {}
        }
        if self.media_type.is_some_and(|(_, fine, _)| !fine) {
            broken.push(("datacontenttype", Reason::InvalidMediaType));
        }
        broken.extend(self.headers.1.map(|reason| ("headers", reason)));
        let json = self.media_type.is_none_or(|(_, _, json)| json);
        match self.payload.map(|bytes| std::str::from_utf8(bytes)) {
            Some(Err(_)) if json || structured => {
                broken.push(("payload", Reason::NotRepresentable));
            }
            Some(Ok(text)) if json && !is_json(text) => {
                broken.push(("payload", Reason::InvalidJson));
            }
            _ => {}
        }
        broken
    }

    /// The topic of a row is its own or, as the table has no aggregate type, none.
    fn topic_breaks(&self) -> Option<Reason> {
        let Some(topic) = self.topic.as_deref().filter(|topic| !topic.is_empty()) else {
            return Some(Reason::Missing);
        };
        if topic.len() > 249 {
            return Some(Reason::TooLong);
        }
        let Ok(topic) = std::str::from_utf8(topic) else { return Some(Reason::NotRepresentable) };
        let allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
        let illegal = !topic.chars().all(|c| allowed.contains(c))
            || [".", "..", "walpost.dlq"].contains(&topic)
            || topic.starts_with("__");
        illegal.then_some(Reason::IllegalName)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn a_row_is_bad_exactly_when_it_breaks_a_rule(row in row()) {
        for structured in [false, true] {
            let case = if structured { row.case().structured() } else { row.case() };
            let broken = row.broken(structured);
            match case.encode() {
                Ok(_) => prop_assert!(broken.is_empty(), "not seen: {broken:?}"),
                Err(bad) => {
                    let told = (bad.attribute.as_ref(), bad.reason);
                    prop_assert!(broken.contains(&told), "{bad}, but {broken:?}");
                }
            }
        }
    }
}

/// Else the comparison above would be one of bad rows only.
#[test]
fn good_and_bad_rows_are_both_tried() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = row();
    let good = (0..500)
        .filter(|_| {
            let row = strategy.new_tree(&mut runner).expect("a row").current();
            row.broken(false).is_empty()
        })
        .count();
    assert!((50..450).contains(&good), "{good} of 500 rows are good");
}
