//! A small HTTP client and a reader of the Prometheus text format.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An HTTP response.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    /// The status code, as 200.
    pub(crate) status: u16,
    /// Header names in lower case, and their values.
    pub(crate) headers: Vec<(String, String)>,
    /// The body.
    pub(crate) body: String,
}

impl Response {
    /// The body as JSON; panics when it is not.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The value of a header, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

/// Gets `path` from `address`.
///
/// # Errors
/// When nobody listens there, or the answer is not HTTP or takes more than ten seconds.
pub(crate) fn get(address: SocketAddr, path: &str) -> Result<Response, Error> {
    get_with(address, path, "")
}

/// As [`get`], with more header lines, each with its `\r\n`.
///
/// # Errors
/// As [`get`].
pub(crate) fn get_with(address: SocketAddr, path: &str, lines: &str) -> Result<Response, Error> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(10))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    // HTTP/1.0: the server closes after the body and does not send it in chunks.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n{lines}\r\n");
    stream.write_all(request.as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    parse(&text).ok_or_else(|| Error::new(ErrorKind::InvalidData, text))
}

fn parse(text: &str) -> Option<Response> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers =
        headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect();
    Some(Response { status, headers, body: body.to_owned() })
}

/// The series of one scrape.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    series: Vec<(String, BTreeMap<String, String>, f64)>,
}

impl Metrics {
    /// Reads the Prometheus text format; panics on a line it does not understand.
    #[track_caller]
    pub(crate) fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let series =
            lines.map(|line| line_of(line).unwrap_or_else(|| panic!("not a metric: {line}")));
        Self { series: series.collect() }
    }

    /// The value of the one series with this name and at least these labels, if there is one; panics
    /// when there are several.
    #[track_caller]
    pub(crate) fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let values = self.all(name, labels);
        assert!(values.len() < 2, "{} series of {name} have {labels:?}: {self:#?}", values.len());
        values.first().copied()
    }

    /// The sum of all series with this name and at least these labels; none is 0.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.all(name, labels).iter().sum()
    }

    /// The names of all series, each once, in order.
    pub(crate) fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.series.iter().map(|(name, ..)| name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn all(&self, name: &str, labels: &[(&str, &str)]) -> Vec<f64> {
        let matches = |own: &BTreeMap<String, String>| {
            labels.iter().all(|(key, value)| own.get(*key).is_some_and(|own| own == value))
        };
        let found =
            self.series.iter().filter(|(own, own_labels, _)| own == name && matches(own_labels));
        found.map(|(.., value)| *value).collect()
    }
}

/// `name{label="value",…} number`, where a value may hold escaped quotes, commas and braces.
fn line_of(line: &str) -> Option<(String, BTreeMap<String, String>, f64)> {
    let name_end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(name_end);
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (key, after) = rest.trim_start_matches(',').split_once("=\"")?;
            let mut value = String::new();
            let mut characters = after.char_indices();
            loop {
                match characters.next()? {
                    (_, '\\') => value.push(match characters.next()? {
                        (_, 'n') => '\n',
                        (_, other) => other,
                    }),
                    (end, '"') => {
                        rest = after.get(end + 1..)?;
                        break;
                    }
                    (_, other) => value.push(other),
                }
            }
            labels.insert(key.to_owned(), value);
        }
        rest = rest.get(1..)?;
    }
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some((name.to_owned(), labels, value))
}
