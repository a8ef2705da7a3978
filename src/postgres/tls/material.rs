//! Certificates and keys from files, made into a configuration of rustls.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::verifier::{Verification, Verifier};
use crate::postgres::error::Error;
use crate::postgres::options::{ConnectOptions, RootCertificates, SslMode};

/// All that a TLS handshake needs, read from files. They are read for each connection, so that a
/// renewed certificate is used without a restart.
#[derive(Clone, Debug)]
pub(in crate::postgres) struct Material {
    roots: Option<RootCertificates>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl Material {
    pub(in crate::postgres) fn new(options: &ConnectOptions) -> Self {
        Self {
            roots: options.sslrootcert.clone(),
            certificate: options.sslcert.clone(),
            key: options.sslkey.clone(),
        }
    }

    /// Reads the files, on a thread that may block.
    pub(in crate::postgres) async fn load(
        &self,
        mode: SslMode,
    ) -> Result<Arc<ClientConfig>, Error> {
        let material = self.clone();
        tokio::task::spawn_blocking(move || material.read(mode))
            .await
            .map_err(|error| Error::configuration_because("cannot read certificates", error))?
    }

    fn read(&self, mode: SslMode) -> Result<Arc<ClientConfig>, Error> {
        let verification = super::verification(mode, self.roots.as_ref())?;
        let (trusted, pinned) = match verification {
            Verification::Nothing => (RootCertStore::empty(), Vec::new()),
            Verification::Chain | Verification::ChainAndName => self.authorities()?,
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::<CryptoProvider>::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(Error::rustls)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier::new(
                verification,
                trusted,
                pinned,
                provider.signature_verification_algorithms,
            )));
        let config = match self.client_certificate()? {
            None => config.with_no_client_auth(),
            Some((chain, key)) => config.with_client_auth_cert(chain, key).map_err(|error| {
                Error::configuration_because("sslcert and sslkey do not fit together", error)
            })?,
        };
        Ok(Arc::new(config))
    }

    /// The trusted authorities, and, where they are the operator's own, their certificates as they
    /// are.
    fn authorities(&self) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), Error> {
        let mut store = RootCertStore::empty();
        match &self.roots {
            Some(RootCertificates::File(path)) => {
                let certificates = read_certificates("sslrootcert", path)?;
                let (added, _) = store.add_parsable_certificates(certificates.iter().cloned());
                if added == 0 {
                    return Err(Error::configuration(format!(
                        "sslrootcert {path:?}: none of its certificates can be read"
                    )));
                }
                Ok((store, certificates))
            }
            Some(RootCertificates::System) | None => {
                let found = rustls_native_certs::load_native_certs();
                let (added, _) = store.add_parsable_certificates(found.certs);
                if added == 0 {
                    return Err(Error::configuration(
                        "this system has no trusted authorities; \
                         install ca-certificates or name a file in sslrootcert",
                    ));
                }
                Ok((store, Vec::new()))
            }
        }
    }

    fn client_certificate(
        &self,
    ) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>, Error> {
        match (&self.certificate, &self.key) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => {
                Ok(Some((read_certificates("sslcert", certificate)?, read_key(key)?)))
            }
            (Some(_), None) => Err(Error::configuration("sslcert is set, but sslkey is not")),
            (None, Some(_)) => Err(Error::configuration("sslkey is set, but sslcert is not")),
        }
    }
}

fn read_file(option: &str, path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|error| {
        Error::configuration_because(format!("{option} {path:?} cannot be read"), error)
    })
}

fn read_certificates(option: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let pem = read_file(option, path)?;
    let certificates =
        CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>().map_err(|error| {
            Error::configuration_because(format!("{option} {path:?} is not PEM"), error)
        })?;
    if certificates.is_empty() {
        return Err(Error::configuration(format!("{option} {path:?} holds no PEM certificate")));
    }
    Ok(certificates)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    let pem = read_file("sslkey", path)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        // The cause may quote the file, and a key must be in no log.
        Error::configuration(format!(
            "sslkey {path:?} holds no PEM private key that can be used; an encrypted one must be \
             decrypted first"
        ))
    })
}
