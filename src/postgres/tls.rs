//! Encryption: what is trusted, the request for it, the handshake.
//!
//! The library is rustls with the `ring` provider, named explicitly at each use; no process-wide
//! default is installed, because librdkafka and other rooms have their own cryptography.

mod certificate;
mod material;
mod verifier;

use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, ClientConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

pub(super) use self::certificate::PeerCertificate;
pub(super) use self::material::Material;
use self::verifier::Verification;
use super::error::Error;
use super::options::{RootCertificates, SslMode};
use super::stream::Encrypted;

/// Read buffer between the socket and rustls, in bytes: sixteen full records.
const READ_BUFFER: usize = 256 * 1024;

/// Length and code of an `SSLRequest`.
///
/// Source: PostgreSQL manual, "Message Formats"; `NEGOTIATE_SSL_CODE` in `src/include/libpq/pqcomm.h`.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xD2, 0x16, 0x2F];

/// What the server says to an `SSLRequest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// Go on with the handshake.
    Tls,
    /// Only in the clear.
    Refused,
}

/// Asks the server for TLS.
///
/// Bytes that come after the one of the answer cannot be the server's, which waits for the
/// handshake: someone in between has put them there to be read as if they had come encrypted
/// (CVE-2021-23222). So they end the connection. Nor is an error message believed that comes
/// unencrypted at this point (CVE-2024-10977): its text is not shown.
pub(super) async fn request(socket: &mut TcpStream) -> Result<Offer, Error> {
    socket.write_all(&SSL_REQUEST).await.map_err(Error::io)?;
    let mut answer = [0; 2];
    let length = socket.read(&mut answer).await.map_err(Error::io)?;
    match (length, answer) {
        (0, _) => Err(Error::closed()),
        (1, [b'S', _]) => Ok(Offer::Tls),
        (1, [b'N', _]) => Ok(Offer::Refused),
        (_, [b'S' | b'N', _]) => Err(Error::protocol(
            "bytes that came before the TLS handshake they should be inside of",
        )),
        _ => Err(Error::protocol("an answer to the request for TLS that is neither yes nor no")),
    }
}

/// What is checked of the server's certificate.
///
/// # Errors
///
/// The mode is too weak for the authorities that are named: any certificate of theirs would pass,
/// whoever owns it. libpq refuses this in the same way.
pub(super) fn verification(
    mode: SslMode,
    roots: Option<&RootCertificates>,
) -> Result<Verification, Error> {
    match (mode, roots) {
        (SslMode::VerifyFull, _) => Ok(Verification::ChainAndName),
        (SslMode::Disable, _) => Ok(Verification::Nothing),
        (_, Some(RootCertificates::System)) | (SslMode::VerifyCa, None) => {
            Err(Error::configuration(
                "an sslmode weaker than verify-full cannot be used with the system's authorities, \
                 because any certificate of theirs would pass; use sslmode=verify-full, \
                 or sslrootcert=<file>",
            ))
        }
        // libpq's manual says so of `require` only, but its code makes no difference between modes:
        // with a root certificate it verifies (`have_rootcert` in `initialize_SSL`,
        // fe-secure-openssl.c). psql 15 does: with `allow` and `prefer`, a server whose certificate
        // is of another authority is not spoken to over TLS, but, where it lets us, in the clear.
        (
            SslMode::VerifyCa | SslMode::Require | SslMode::Prefer | SslMode::Allow,
            Some(RootCertificates::File(_)),
        ) => Ok(Verification::Chain),
        (SslMode::Allow | SslMode::Prefer | SslMode::Require, None) => Ok(Verification::Nothing),
    }
}

/// Does the handshake on a socket whose server has agreed to TLS.
pub(super) async fn handshake(
    socket: TcpStream,
    host: &str,
    config: Arc<ClientConfig>,
) -> Result<Encrypted, Error> {
    let name = ServerName::try_from(host.to_owned()).map_err(|error| {
        Error::configuration_because(format!("{host:?} cannot be the name of a TLS server"), error)
    })?;
    let socket = BufReader::with_capacity(READ_BUFFER, socket);
    let session = TlsConnector::from(config).connect(name, socket).await.map_err(Error::io)?;
    let (_, state) = session.get_ref();
    let peer = state
        .peer_certificates()
        .and_then(|chain| chain.first())
        .ok_or_else(|| Error::tls("the server has no certificate"))?;
    let peer = PeerCertificate::new(peer);
    Ok(Encrypted { session, peer })
}

/// Why a handshake failed, and what to do, for a person.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enums are rustls' own and open; what is not named here is printed as it is"
)]
pub(super) fn reason(error: &rustls::Error) -> String {
    use CertificateError as Certificate;
    match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            Certificate::UnknownIssuer => {
                "the server's certificate is signed by an authority that is not trusted; \
                 name the authority's certificate in sslrootcert"
                    .to_owned()
            }
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => format!(
                "the server's certificate is for another host ({certificate}); connect by a name \
                 that it holds, or have one made for this host"
            ),
            Certificate::Expired | Certificate::ExpiredContext { .. } => {
                format!("the server's certificate has expired ({certificate}); it needs a new one")
            }
            Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => {
                format!(
                    "the server's certificate is not valid yet ({certificate}); check the clocks"
                )
            }
            // webpki has a kind for this, rustls has not.
            other if format!("{other:?}").contains("CaUsedAsEndEntity") => {
                "the server's certificate is its own authority; to trust it, name a copy of it \
                 in sslrootcert"
                    .to_owned()
            }
            Certificate::UnsupportedSignatureAlgorithmContext { .. } => {
                "the server's certificate, or one above it, is signed in a way that is not \
                 supported; supported are RSA of 2048 bits and more, ECDSA with SHA-256 and SHA-384, \
                 and Ed25519"
                    .to_owned()
            }
            other => format!("the server's certificate is not acceptable: {other}"),
        },
        rustls::Error::AlertReceived(alert) => match alert {
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::UnsupportedCertificate => format!(
                "the server does not accept our client certificate ({alert:?}); check sslcert and sslkey"
            ),
            other => format!("the server ended the TLS session ({other:?})"),
        },
        rustls::Error::PeerIncompatible(why) => {
            format!("the server speaks no version of TLS that is safe: {why:?}")
        }
        other => format!("TLS failed: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::error::ErrorKind;
    use std::path::PathBuf;

    #[track_caller]
    fn check(mode: SslMode, roots: Option<&RootCertificates>, expected: Option<Verification>) {
        assert_eq!(verification(mode, roots).ok(), expected);
    }

    #[test]
    fn the_mode_and_the_authorities_say_what_is_checked() {
        let file = Some(&RootCertificates::File(PathBuf::from("/ca.pem")));
        let system = Some(&RootCertificates::System);
        check(SslMode::Prefer, None, Some(Verification::Nothing));
        check(SslMode::Prefer, file, Some(Verification::Chain));
        check(SslMode::Allow, file, Some(Verification::Chain));
        check(SslMode::Require, None, Some(Verification::Nothing));
        check(SslMode::Require, file, Some(Verification::Chain));
        check(SslMode::VerifyCa, file, Some(Verification::Chain));
        check(SslMode::VerifyFull, file, Some(Verification::ChainAndName));
        check(SslMode::VerifyFull, None, Some(Verification::ChainAndName));
        check(SslMode::VerifyFull, system, Some(Verification::ChainAndName));
        check(SslMode::VerifyCa, None, None);
        check(SslMode::VerifyCa, system, None);
        check(SslMode::Require, system, None);
    }

    /// What a client makes of a server's answer to its request for TLS.
    async fn answered(answer: &'static [u8]) -> Result<Offer, Error> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        server.write_all(answer).await.unwrap();
        server.shutdown().await.unwrap();
        request(&mut client).await
    }

    #[tokio::test]
    async fn bytes_before_the_handshake_are_refused() {
        assert_eq!(answered(b"S").await.unwrap(), Offer::Tls);
        assert_eq!(answered(b"N").await.unwrap(), Offer::Refused);
        for stuffed in [&b"SC"[..], b"NR\0\0\0\x08\0\0\0\0"] {
            assert_eq!(answered(stuffed).await.unwrap_err().kind(), ErrorKind::Protocol);
        }
        assert_eq!(answered(b"").await.unwrap_err().kind(), ErrorKind::Closed);
    }

    #[tokio::test]
    async fn an_error_message_before_the_handshake_is_not_shown() {
        let error = answered(b"E\0\0\0\x10SFATAL\0Mlies\0\0").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(!error.to_string().contains("lies"), "{error}");
    }

    #[test]
    fn the_reasons_are_sentences_for_people() {
        let expired = rustls::Error::InvalidCertificate(CertificateError::Expired);
        assert!(reason(&expired).contains("expired"));
        let unknown = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        assert!(reason(&unknown).contains("sslrootcert"));
    }
}
