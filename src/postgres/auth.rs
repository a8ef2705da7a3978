//! Proves who we are, and has the server prove that it knows us.
//!
//! Source: PostgreSQL manual, "Message Flow", start-up; "SASL Authentication". RFC 5802, RFC 7677
//! (SCRAM-SHA-256), RFC 5929 (`tls-server-end-point`).

use bytes::BytesMut;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{self, ScramSha256};
use postgres_protocol::message::frontend;

use super::connection::{Connection, unexpected, unsendable};
use super::error::Error;
use super::options::{ChannelBinding, ConnectOptions};
use super::server_message::Body;

/// An authentication request (`R`), by its number.
///
/// Source: PostgreSQL manual, "Message Formats", `Authentication…`.
#[derive(Debug, PartialEq, Eq)]
enum Request<'a> {
    Ok,
    CleartextPassword,
    Md5Password([u8; 4]),
    /// The names of the mechanisms.
    Sasl(Vec<String>),
    SaslContinue(&'a [u8]),
    SaslFinal(&'a [u8]),
    Other(i32),
}

impl<'a> Request<'a> {
    fn parse(body: &'a [u8]) -> Result<Self, Error> {
        let mut body = Body::new(body, "Authentication");
        Ok(match body.i32()? {
            0 => Self::Ok,
            3 => Self::CleartextPassword,
            5 => Self::Md5Password(body.i32()?.to_be_bytes()),
            10 => {
                let mut mechanisms = Vec::new();
                loop {
                    let mechanism = body.text()?;
                    if mechanism.is_empty() {
                        break Self::Sasl(mechanisms);
                    }
                    mechanisms.push(mechanism);
                }
            }
            11 => Self::SaslContinue(body.rest()),
            12 => Self::SaslFinal(body.rest()),
            other => Self::Other(other),
        })
    }

    fn out_of_order(&self) -> Error {
        Error::protocol(format!(
            "the authentication method {} in the middle of another",
            self.name()
        ))
    }

    /// What the method is called in `pg_hba.conf`.
    fn name(&self) -> String {
        match self {
            Self::Ok => "trust".to_owned(),
            Self::CleartextPassword => "password".to_owned(),
            Self::Md5Password(_) => "md5".to_owned(),
            Self::Sasl(mechanisms) => format!("SASL ({})", mechanisms.join(", ")),
            Self::SaslContinue(_) | Self::SaslFinal(_) => "SASL (continued)".to_owned(),
            Self::Other(2) => "krb5".to_owned(),
            Self::Other(7 | 8) => "gss".to_owned(),
            Self::Other(9) => "sspi".to_owned(),
            Self::Other(other) => format!("number {other}"),
        }
    }
}

/// Answers the server's requests until it is content.
pub(super) async fn authenticate(
    connection: &mut Connection,
    options: &ConnectOptions,
) -> Result<(), Error> {
    let request = next_request(connection).await?;
    if !matches!(request, Request::Sasl(_)) && options.channel_binding == ChannelBinding::Require {
        return Err(unbound());
    }
    let mut message = BytesMut::new();
    match request {
        Request::Ok => return Ok(()),
        Request::CleartextPassword => {
            let password = password(options)?;
            if !connection.stream.is_private() {
                return Err(Error::authentication(
                    "the server asks for the password in the clear on a connection that is not \
                     encrypted; use sslmode=verify-full, or scram-sha-256 in its pg_hba.conf",
                ));
            }
            frontend::password_message(password, &mut message).map_err(unsendable)?;
        }
        Request::Md5Password(salt) => {
            let hash = md5_hash(options.user.as_bytes(), password(options)?, salt);
            frontend::password_message(hash.as_bytes(), &mut message).map_err(unsendable)?;
        }
        Request::Sasl(mechanisms) => scram(connection, options, &mechanisms).await?,
        Request::SaslContinue(_) | Request::SaslFinal(_) | Request::Other(_) => {
            return Err(Error::authentication(format!(
                "the server asks for the authentication method {}, which is not supported; \
                 supported are scram-sha-256, md5, password, trust and cert",
                request.name()
            )));
        }
    }
    connection.send(&message).await?;
    let last = next_request(connection).await?;
    if last == Request::Ok { Ok(()) } else { Err(last.out_of_order()) }
}

/// The exchange of SCRAM up to, and with, the server's proof. What comes after it may only be the
/// server's consent: without the proof the server has not shown that it knows the password.
async fn scram(
    connection: &mut Connection,
    options: &ConnectOptions,
    mechanisms: &[String],
) -> Result<(), Error> {
    let password = password(options)?;
    let end_point = connection.stream.peer_certificate().and_then(|peer| peer.end_point.clone());
    let encrypted = connection.stream.peer_certificate().is_some();
    let (mechanism, binding) = choose(mechanisms, options.channel_binding, encrypted, end_point)?;
    let mut scram = ScramSha256::new(password, binding);

    let mut message = BytesMut::new();
    frontend::sasl_initial_response(mechanism, scram.message(), &mut message)
        .map_err(unsendable)?;
    connection.send(&message).await?;

    let request = next_request(connection).await?;
    let Request::SaslContinue(data) = request else { return Err(request.out_of_order()) };
    scram.update(data).map_err(|error| refused(&error))?;

    message.clear();
    frontend::sasl_response(scram.message(), &mut message).map_err(unsendable)?;
    connection.send(&message).await?;

    let request = next_request(connection).await?;
    let Request::SaslFinal(data) = request else { return Err(request.out_of_order()) };
    scram.finish(data).map_err(|error| refused(&error))
}

/// The mechanism, and what is said in it about channel binding.
///
/// Where we could bind but the server does not offer to, that is said (`y`), so that a server
/// whose offer was cut out by someone in between notices. Where the certificate's signature has no
/// binding defined, we cannot (`n`).
fn choose(
    mechanisms: &[String],
    wanted: ChannelBinding,
    encrypted: bool,
    end_point: Option<Vec<u8>>,
) -> Result<(&'static str, sasl::ChannelBinding), Error> {
    let offered = |name: &str| mechanisms.iter().any(|mechanism| mechanism == name);
    let end_point = end_point.filter(|_| wanted != ChannelBinding::Disable);
    match end_point {
        Some(data) if offered(sasl::SCRAM_SHA_256_PLUS) => {
            Ok((sasl::SCRAM_SHA_256_PLUS, sasl::ChannelBinding::tls_server_end_point(data)))
        }
        _ if wanted == ChannelBinding::Require => Err(if encrypted {
            unbound()
        } else {
            Error::authentication(
                "channel_binding=require needs an encrypted connection; use sslmode=verify-full",
            )
        }),
        end_point if offered(sasl::SCRAM_SHA_256) => {
            let binding = match end_point {
                Some(_) => sasl::ChannelBinding::unrequested(),
                None => sasl::ChannelBinding::unsupported(),
            };
            Ok((sasl::SCRAM_SHA_256, binding))
        }
        _ => Err(Error::authentication(format!(
            "the server offers only SASL mechanisms that are not supported: {}",
            mechanisms.join(", ")
        ))),
    }
}

async fn next_request(connection: &mut Connection) -> Result<Request<'_>, Error> {
    let frame = connection.next_frame().await?;
    match frame.tag {
        b'R' => Request::parse(frame.body),
        // NegotiateProtocolVersion comes only to one who asks for more than protocol 3.0.
        other => Err(unexpected(other, "during authentication")),
    }
}

fn password(options: &ConnectOptions) -> Result<&[u8], Error> {
    match &options.password {
        Some(password) => Ok(password.expose().as_bytes()),
        None => Err(Error::authentication(format!(
            "the server asks for the password of role {:?}, and none is set",
            options.user
        ))),
    }
}

fn unbound() -> Error {
    Error::authentication(
        "channel_binding=require, but the server does not bind the authentication to the channel; \
         it needs scram-sha-256 over TLS, without a pooler in between",
    )
}

/// The server's part in SCRAM was wrong. The text speaks of nonces and counts, never of the
/// password.
fn refused(error: &std::io::Error) -> Error {
    Error::authentication(format!("the server failed to authenticate itself by SCRAM: {error}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::postgres::error::ErrorKind;
    use crate::postgres::options::TargetSessionAttrs;
    use crate::postgres::stream::Stream;
    use crate::secret::Secret;

    fn offer(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn requests_are_known_by_their_number() {
        assert_eq!(Request::parse(b"\0\0\0\0").unwrap(), Request::Ok);
        assert_eq!(Request::parse(b"\0\0\0\x03").unwrap(), Request::CleartextPassword);
        assert_eq!(Request::parse(b"\0\0\0\x05salt").unwrap(), Request::Md5Password(*b"salt"));
        // Recorded from PostgreSQL 15 over TLS.
        let both = b"\0\0\0\x0ASCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";
        let names = offer(&["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]);
        assert_eq!(Request::parse(both).unwrap(), Request::Sasl(names));
        for length in 0..both.len() {
            assert!(Request::parse(&both[..length]).is_err(), "{length} bytes");
        }
    }

    #[track_caller]
    fn check(
        offered: &[&str],
        wanted: ChannelBinding,
        end_point: Option<&[u8]>,
        expected: Option<&str>,
    ) {
        let chosen = choose(&offer(offered), wanted, true, end_point.map(<[u8]>::to_vec));
        assert_eq!(chosen.ok().map(|(mechanism, _)| mechanism), expected);
    }

    #[test]
    fn the_channel_is_bound_where_both_sides_can() {
        const PLUS: &str = sasl::SCRAM_SHA_256_PLUS;
        const PLAIN: &str = sasl::SCRAM_SHA_256;
        let hash = Some(&[1_u8; 32][..]);
        check(&[PLUS, PLAIN], ChannelBinding::Prefer, hash, Some(PLUS));
        check(&[PLUS, PLAIN], ChannelBinding::Require, hash, Some(PLUS));
        check(&[PLUS, PLAIN], ChannelBinding::Disable, hash, Some(PLAIN));
        check(&[PLUS, PLAIN], ChannelBinding::Prefer, None, Some(PLAIN));
        check(&[PLUS, PLAIN], ChannelBinding::Require, None, None);
        check(&[PLAIN], ChannelBinding::Prefer, hash, Some(PLAIN));
        check(&[PLAIN], ChannelBinding::Require, hash, None);
        check(&["OAUTHBEARER"], ChannelBinding::Prefer, hash, None);
        check(&[], ChannelBinding::Prefer, hash, None);
    }

    /// What becomes of an authentication whose server sends these messages, whatever it is told.
    async fn told(messages: &'static [u8], channel_binding: ChannelBinding) -> Result<(), Error> {
        let (client, mut server) = tokio::net::UnixStream::pair().unwrap();
        server.write_all(messages).await.unwrap();
        let mut connection = Connection::new(Stream::Unix(client));
        let options = ConnectOptions {
            hosts: Vec::new(),
            database: "d".to_owned(),
            user: "u".to_owned(),
            password: Some(Secret::new("pencil")),
            sslmode: None,
            sslrootcert: None,
            sslcert: None,
            sslkey: None,
            channel_binding,
            connect_timeout: Duration::from_secs(1),
            target_session_attrs: TargetSessionAttrs::Any,
            application_name: "walpost/test".to_owned(),
            wal_sender_timeout: Duration::from_secs(1),
        };
        authenticate(&mut connection, &options).await
    }

    const SCRAM: &[u8] = b"R\0\0\0\x17\0\0\0\x0ASCRAM-SHA-256\0\0";
    const TRUST: &[u8] = b"R\0\0\0\x08\0\0\0\0";

    #[tokio::test]
    async fn a_server_that_skips_its_proof_is_refused() {
        const SKIPS_ALL: &[u8] = b"R\0\0\0\x17\0\0\0\x0ASCRAM-SHA-256\0\0R\0\0\0\x08\0\0\0\0";
        let error = told(SKIPS_ALL, ChannelBinding::Prefer).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        // A first message whose nonce does not continue ours.
        const FORGED: &[u8] = b"R\0\0\0\x17\0\0\0\x0ASCRAM-SHA-256\0\0\
            R\0\0\0\x1B\0\0\0\x0Br=x,s=QSXCR+Q6,i=4096";
        let error = told(FORGED, ChannelBinding::Prefer).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Authentication);
        assert!(!error.to_string().contains("pencil"), "{error}");
    }

    #[tokio::test]
    async fn a_required_binding_is_not_given_up() {
        assert!(told(TRUST, ChannelBinding::Prefer).await.is_ok());
        for downgraded in [TRUST, SCRAM, b"R\0\0\0\x08\0\0\0\x03"] {
            let error = told(downgraded, ChannelBinding::Require).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Authentication);
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            drop(Request::parse(&bytes).map(|request| request.name()));
        }
    }
}
