//! What is answered at which path.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderName,
    HeaderValue, REFERRER_POLICY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{StatusCode, Uri};
use axum::middleware::map_response;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use crate::config::HttpAuth;
use crate::config::effective::Entry;
use crate::status::health::Answer;
use crate::status::snapshot::Snapshot;
use crate::status::together::Together;

use super::auth::Gate;
use super::page;
use super::streams::Streams;

const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";

/// The text format of Prometheus, "Exposition formats".
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

const NOT_FOUND: &str = "not found; there are / /livez /readyz /startupz /metrics /status.json\n";

/// What the handlers answer from.
#[derive(Clone)]
struct Sources {
    streams: Streams,
    gate: Option<Gate>,
    configuration: Arc<[Entry]>,
}

/// `/status.json`: the report, and the configuration as an object of `{"value": …, "origin": …}`.
#[derive(serde::Serialize)]
struct Document {
    #[serde(flatten)]
    together: Together,
    configuration: BTreeMap<String, Shown>,
}

/// A variable's value as it may be shown; null: not set.
#[derive(serde::Serialize)]
struct Shown {
    value: Option<String>,
    origin: &'static str,
}

impl Document {
    fn of(at: &Sources, together: Together) -> Self {
        let shown = |entry: &Entry| {
            let value = (!entry.value.is_empty()).then(|| entry.value.clone());
            (entry.name.clone(), Shown { value, origin: entry.origin.as_str() })
        };
        Self { together, configuration: at.configuration.iter().map(shown).collect() }
    }
}

/// All paths.
pub(super) fn router(
    streams: Streams,
    (auth, configuration): (Option<&HttpAuth>, Vec<Entry>),
) -> Router {
    let gate = auth.map(Gate::new);
    let sources = Sources { streams, gate, configuration: configuration.into() };
    Router::new()
        .route("/livez", get(async |State(at): State<Sources>| probe(&at, |all| &all.live)))
        .route("/readyz", get(async |State(at): State<Sources>| probe(&at, |all| &all.ready)))
        .route("/startupz", get(async |State(at): State<Sources>| probe(&at, |all| &all.startup)))
        .route(
            "/metrics",
            get(async |State(at): State<Sources>| {
                answer(StatusCode::OK, PROMETHEUS, at.streams.metrics())
            }),
        )
        .route("/status.json", get(async |State(at), headers| json(&at, &headers)))
        .route("/", get(async |State(at), uri, headers| html(&at, &uri, &headers)))
        .fallback(async || answer(StatusCode::NOT_FOUND, TEXT, NOT_FOUND.to_owned()))
        .method_not_allowed_fallback(async || {
            answer(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n".to_owned())
        })
        .with_state(sources)
        .layer(map_response(guarded))
}

fn answer(status: StatusCode, content_type: &'static str, body: String) -> Response {
    (status, [(CONTENT_TYPE, content_type)], body).into_response()
}

fn probe(at: &Sources, of: fn(&Snapshot) -> &Answer) -> Response {
    let Some(together) = at.streams.together() else { return nothing() };
    let found = of(&together.report.snapshot);
    let status = if found.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let word = if found.ok { "ok" } else { "no" };
    answer(status, TEXT, format!("{word}: {}\n", found.reason))
}

/// There is no stream, which a process that serves always has.
fn nothing() -> Response {
    answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, "no: nothing runs\n".to_owned())
}

fn json(at: &Sources, headers: &HeaderMap) -> Response {
    if let Some(refused) = refused(at, headers) {
        return refused;
    }
    let Some(together) = at.streams.together() else { return nothing() };
    match serde_json::to_string(&Document::of(at, together)) {
        Ok(mut body) => {
            body.push('\n');
            answer(StatusCode::OK, JSON, body)
        }
        Err(error) => {
            tracing::error!(%error, "cannot write the status as JSON");
            let body = "cannot write the status as JSON; the log says why\n";
            answer(StatusCode::INTERNAL_SERVER_ERROR, TEXT, body.to_owned())
        }
    }
}

fn html(at: &Sources, uri: &Uri, headers: &HeaderMap) -> Response {
    if let Some(refused) = refused(at, headers) {
        return refused;
    }
    let Some(mut together) = at.streams.together() else { return nothing() };
    // Anything else that is asked for is answered with all.
    let asked = uri.query().and_then(|query| query.strip_prefix("shard=")?.parse().ok());
    let one = asked.and_then(|shard| Some((shard, at.streams.one(shard)?)));
    let shown = one.map(|(shard, report)| {
        together.report = report;
        shard
    });
    let mut response =
        answer(StatusCode::OK, HTML, page::render(&together, shown, &at.configuration));
    if let Ok(policy) = HeaderValue::from_str(&page::content_security_policy()) {
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// The answer to a request without the right user and password.
fn refused(at: &Sources, headers: &HeaderMap) -> Option<Response> {
    let gate = at.gate.as_ref()?;
    if gate.admits(headers.get(AUTHORIZATION).map(HeaderValue::as_bytes)) {
        return None;
    }
    let body = "user and password are those of WALPOST_HTTP_USERNAME and _PASSWORD\n".to_owned();
    let mut response = answer(StatusCode::UNAUTHORIZED, TEXT, body);
    let challenge = HeaderValue::from_static("Basic realm=\"walpost\", charset=\"UTF-8\"");
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    Some(response)
}

/// Headers of every answer: nothing is kept by a cache, guessed at by a browser, or framed.
async fn guarded(mut response: Response) -> Response {
    const HEADERS: [(HeaderName, &str); 5] = [
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ];
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
