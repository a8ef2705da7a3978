//! One HTTP request to a peer that is no database and no broker: a schema registry, or whoever
//! gives out tokens. HTTP/1.1, with or without TLS.
//!
//! A connection serves one request: such a peer is asked once in minutes.

mod url;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Request;
use hyper::header::{DATE, HOST, HeaderValue, USER_AGENT};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

pub use url::{Url, UrlFault};

/// How long one request may take in all. A registry answers in milliseconds; one that compiles a
/// large schema for the first time has been seen to take a second.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Longest answer, in bytes. Schemas are a few kilobytes (Confluent's own limit is 1 MiB), tokens
/// less.
const ANSWER_MAX: usize = 8 * 1024 * 1024;

/// An answer of any status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code, as 200.
    pub status: u16,
    /// The server's clock, as the header `Date` has it.
    pub date: Option<String>,
    /// The body.
    pub body: Bytes,
}

/// Trusted authorities.
#[derive(Clone, Debug)]
pub struct Trust(Arc<ClientConfig>);

impl Trust {
    /// Reads them from a PEM file; `None` are the system's. `variable` is the one that names the file.
    ///
    /// # Errors
    /// They cannot be read, or there are none.
    pub fn read(ca: Option<&Path>, variable: &str) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        match ca {
            Some(path) => {
                let wrong = |what: &str| format!("{variable} {}: {what}", path.display());
                let pem = std::fs::read(path).map_err(|error| wrong(&error.to_string()))?;
                let certificates = CertificateDer::pem_slice_iter(&pem)
                    .collect::<Result<Vec<_>, _>>()
                    .map_err(|_| wrong("is not PEM"))?;
                let (added, _) = roots.add_parsable_certificates(certificates);
                if added == 0 {
                    return Err(wrong("has no certificate in it"));
                }
            }
            None => {
                let found = rustls_native_certs::load_native_certs();
                let (added, _) = roots.add_parsable_certificates(found.certs);
                if added == 0 {
                    return Err(format!("the system has no trusted authorities; set {variable}"));
                }
            }
        }
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }
}

/// Sends a request to the host of `url` and reads the whole answer. `Host` and `User-Agent` are set
/// here.
///
/// # Errors
/// The host is not reached, or does not answer in time; an answer of any status is none. `https`
/// without `trust` is an error too.
pub async fn ask(
    url: &Url,
    trust: Option<&Trust>,
    request: Request<Full<Bytes>>,
) -> Result<Answer, String> {
    match tokio::time::timeout(TIME_LIMIT, exchange(url, trust, request)).await {
        Ok(answered) => answered,
        Err(_) => Err(format!("no answer within {TIME_LIMIT:?}")),
    }
}

async fn exchange(
    url: &Url,
    trust: Option<&Trust>,
    mut request: Request<Full<Bytes>>,
) -> Result<Answer, String> {
    let host = HeaderValue::from_str(url.authority()).map_err(|error| error.to_string())?;
    request.headers_mut().insert(HOST, host);
    let agent = HeaderValue::from_static(concat!("walpost/", env!("CARGO_PKG_VERSION")));
    request.headers_mut().insert(USER_AGENT, agent);
    let socket =
        TcpStream::connect((url.host(), url.port())).await.map_err(|error| error.to_string())?;
    if !url.https() {
        return send(socket, request).await;
    }
    let Some(Trust(config)) = trust else {
        return Err("no authority is trusted".to_owned());
    };
    let name = ServerName::try_from(url.host().to_owned())
        .map_err(|_| format!("{:?} cannot be the name of a TLS server", url.host()))?;
    let session = TlsConnector::from(Arc::clone(config))
        .connect(name, socket)
        .await
        .map_err(|error| format!("TLS: {error}"))?;
    send(session, request).await
}

async fn send(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Answer, String> {
    let said = |error: hyper::Error| chain(&error);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(said)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(said)?;
        let status = response.status().as_u16();
        let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
        let date = date.map(str::to_owned);
        let body = Limited::new(response.into_body(), ANSWER_MAX)
            .collect()
            .await
            .map_err(|error| format!("the answer is not whole: {error}"))?;
        Ok(Answer { status, date, body: body.to_bytes() })
    };
    let mut answer = std::pin::pin!(answer);
    // The connection moves the bytes; it may end before the answer that it has brought is read.
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        _ = connection => answer.await,
    }
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
