//! What is kept of the server's certificate.

use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256, Sha384, Sha512};
use x509_parser::oid_registry as oid;
use x509_parser::parse_x509_certificate;

/// The certificate of the server, as far as it is needed after the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::postgres) struct PeerCertificate {
    /// Data of the channel binding `tls-server-end-point`; `None` where RFC 5929 defines none for
    /// the certificate's signature (Ed25519, RSA-PSS).
    pub(in crate::postgres) end_point: Option<Vec<u8>>,
    /// The end of its validity, in seconds since 1970.
    pub(in crate::postgres) not_after: Option<i64>,
}

impl PeerCertificate {
    pub(super) fn new(certificate: &CertificateDer<'_>) -> Self {
        let Ok((_, parsed)) = parse_x509_certificate(certificate) else {
            return Self { end_point: None, not_after: None };
        };
        let end_point = digest(&parsed.signature_algorithm.algorithm, certificate);
        Self { end_point, not_after: Some(parsed.validity().not_after.timestamp()) }
    }
}

/// The hash of the certificate with the hash function of its own signature, and with SHA-256 in
/// place of MD5 and SHA-1.
///
/// Source: RFC 5929, section 4.1; `be_tls_get_certificate_hash` in `be-secure-openssl.c`.
fn digest(signature: &oid::asn1_rs::Oid<'_>, certificate: &[u8]) -> Option<Vec<u8>> {
    let sha256 = [
        oid::OID_PKCS1_SHA256WITHRSA,
        oid::OID_SIG_ECDSA_WITH_SHA256,
        oid::OID_PKCS1_MD5WITHRSAENC,
        oid::OID_PKCS1_SHA1WITHRSA,
        ecdsa_with_sha1(),
    ];
    let sha384 = [oid::OID_PKCS1_SHA384WITHRSA, oid::OID_SIG_ECDSA_WITH_SHA384];
    let sha512 = [oid::OID_PKCS1_SHA512WITHRSA, oid::OID_SIG_ECDSA_WITH_SHA512];
    if sha256.contains(signature) {
        Some(Sha256::digest(certificate).to_vec())
    } else if sha384.contains(signature) {
        Some(Sha384::digest(certificate).to_vec())
    } else if sha512.contains(signature) {
        Some(Sha512::digest(certificate).to_vec())
    } else {
        None
    }
}

/// `ecdsa-with-SHA1`, 1.2.840.10045.4.1 (RFC 3279), which the registry of the parser leaves out.
fn ecdsa_with_sha1() -> oid::asn1_rs::Oid<'static> {
    oid::asn1_rs::oid!(1.2.840.10045.4.1)
}
