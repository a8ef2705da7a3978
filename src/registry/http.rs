//! One request to the registry: HTTP/1.1, with or without TLS.
//!
//! A connection serves one request: a schema is asked for once in minutes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::error::RegistryError;
use super::options::{BaseUrl, RegistryOptions};

/// How long one request may take in all. A registry answers in milliseconds; one that compiles a
/// large schema for the first time has been seen to take a second.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Longest answer, in bytes. Schemas are a few kilobytes; Confluent's own limit is 1 MiB.
const ANSWER_MAX: usize = 8 * 1024 * 1024;

/// Media types of the API, the registry's own first (Confluent Schema Registry API Reference).
const MEDIA_TYPES: &str = "application/vnd.schemaregistry.v1+json, application/json";

/// An answer of any status.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Bytes,
}

/// What requests are made with.
#[derive(Clone)]
pub(super) struct Http {
    url: BaseUrl,
    authorization: Option<String>,
    tls: Option<Arc<ClientConfig>>,
}

impl Http {
    /// Reads the trusted authorities.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    pub(super) fn new(options: &RegistryOptions) -> Result<Self, RegistryError> {
        let authorization = options.user.as_ref().map(|(user, password)| {
            format!("Basic {}", STANDARD.encode(format!("{user}:{}", password.expose())))
        });
        let tls = options.url.https().then(|| tls(options.ca.as_deref())).transpose();
        let tls = tls.map_err(RegistryError::Unreachable)?;
        Ok(Self { url: options.url.clone(), authorization, tls })
    }

    /// Sends a request to `path` below the URL and reads the whole answer.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Unreachable`]; an answer of any status is none.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<Answer, RegistryError> {
        let asked = tokio::time::timeout(TIME_LIMIT, self.exchange(method, path, body)).await;
        let failed = match asked {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(said)) => said,
            Err(_) => format!("no answer within {TIME_LIMIT:?}"),
        };
        let url = self.url.as_str();
        Err(RegistryError::Unreachable(format!("schema registry {url} is not reached: {failed}")))
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<Answer, String> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url.path()))
            .header(HOST, self.url.authority())
            .header(USER_AGENT, concat!("walpost/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, MEDIA_TYPES);
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/vnd.schemaregistry.v1+json");
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .map_err(|error| error.to_string())?;
        let socket = TcpStream::connect((self.url.host(), self.url.port()))
            .await
            .map_err(|error| error.to_string())?;
        match &self.tls {
            None => send(socket, request).await,
            Some(tls) => {
                let host = self.url.host();
                let name = ServerName::try_from(host.to_owned())
                    .map_err(|_| format!("{host:?} cannot be the name of a TLS server"))?;
                let session = TlsConnector::from(Arc::clone(tls))
                    .connect(name, socket)
                    .await
                    .map_err(|error| format!("TLS: {error}"))?;
                send(session, request).await
            }
        }
    }
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
        let body = Limited::new(response.into_body(), ANSWER_MAX)
            .collect()
            .await
            .map_err(|error| format!("the answer is not whole: {error}"))?;
        Ok(Answer { status, body: body.to_bytes() })
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

fn tls(ca: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            let wrong = |what: &str| format!("WALPOST_REGISTRY_CA {}: {what}", path.display());
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
                return Err("the system has no trusted authorities; set WALPOST_REGISTRY_CA".into());
            }
        }
    }
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
