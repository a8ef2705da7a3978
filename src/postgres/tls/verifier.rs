//! The three degrees to which libpq checks a server's certificate.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use x509_parser::parse_x509_certificate;

/// How much of a server's certificate is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::postgres) enum Verification {
    /// Nothing: whoever answers is taken for the server.
    Nothing,
    /// A trusted authority signed it.
    Chain,
    /// And it is for the host that was dialled.
    ChainAndName,
}

#[derive(Debug)]
pub(super) struct Verifier {
    verification: Verification,
    authorities: RootCertStore,
    /// The operator's own trusted certificates.
    pinned: Vec<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    pub(super) fn new(
        verification: Verification,
        authorities: RootCertStore,
        pinned: Vec<CertificateDer<'static>>,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Self {
        Self { verification, authorities, pinned, algorithms }
    }

    fn verify_chain(
        &self,
        certificate: &ParsedCertificate<'_>,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        // The certificate that the Postgres manual shows how to make is its own authority
        // (`openssl req -x509`), which webpki refuses to take for a server's. Being in the
        // operator's file, byte for byte, is the strongest trust there is, so only its time is
        // left to check.
        if self.pinned.iter().any(|pinned| pinned == end_entity) {
            return verify_time(end_entity, now);
        }
        verify_server_cert_signed_by_trust_anchor(
            certificate,
            &self.authorities,
            intermediates,
            now,
            self.algorithms.all,
        )
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.verification == Verification::Nothing {
            return Ok(ServerCertVerified::assertion());
        }
        let certificate = ParsedCertificate::try_from(end_entity)?;
        self.verify_chain(&certificate, end_entity, intermediates, now)?;
        if self.verification == Verification::ChainAndName {
            verify_server_name(&certificate, server_name)
                .or_else(|error| verify_common_name(end_entity, server_name, error))?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn verify_time(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), rustls::Error> {
    let (_, parsed) =
        parse_x509_certificate(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now < parsed.validity().not_before.timestamp() {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > parsed.validity().not_after.timestamp() {
        return Err(CertificateError::Expired.into());
    }
    Ok(())
}

/// Accepts a certificate without alternative names whose common name is that of the host.
///
/// webpki looks at alternative names only (RFC 6125); libpq looks at the common name where there
/// are none, and the command in the Postgres manual makes certificates of just that kind
/// ("Creating Certificates", `-subj "/CN=dbhost.yourdomain.com"`).
fn verify_common_name(
    certificate: &CertificateDer<'_>,
    server_name: &ServerName<'_>,
    refusal: rustls::Error,
) -> Result<(), rustls::Error> {
    let Ok((_, parsed)) = parse_x509_certificate(certificate) else { return Err(refusal) };
    if !matches!(parsed.subject_alternative_name(), Ok(None)) {
        return Err(refusal);
    }
    let host = server_name.to_str();
    let same = parsed
        .subject()
        .iter_common_name()
        .filter_map(|name| name.as_str().ok())
        .any(|name| name.eq_ignore_ascii_case(&host));
    if same { Ok(()) } else { Err(refusal) }
}
