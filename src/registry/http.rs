//! One request to the registry.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use hyper::{Method, Request};

use super::error::RegistryError;
use super::options::{BaseUrl, RegistryOptions};
pub(super) use crate::request::Answer;
use crate::request::{self, Trust};

/// Media types of the API, the registry's own first (Confluent Schema Registry API Reference).
const MEDIA_TYPES: &str = "application/vnd.schemaregistry.v1+json, application/json";

/// What requests are made with.
#[derive(Clone)]
pub(super) struct Http {
    url: BaseUrl,
    authorization: Option<String>,
    trust: Option<Trust>,
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
        let read = || Trust::read(options.ca.as_deref(), "WALPOST_REGISTRY_CA");
        let trust = options.url.url().https().then(read).transpose();
        let trust = trust.map_err(RegistryError::Unreachable)?;
        Ok(Self { url: options.url.clone(), authorization, trust })
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
        self.exchange(method, path, body).await.map_err(|failed| {
            let url = self.url.as_str();
            RegistryError::Unreachable(format!("schema registry {url} is not reached: {failed}"))
        })
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<Answer, String> {
        let url = self.url.url();
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", url.path_and_query()))
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
        request::ask(url, self.trust.as_ref(), request).await
    }
}
