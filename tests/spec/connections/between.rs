//! Someone in between, whose certificate is as good as the server's.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::certificates::Certificates;
use super::{CANARY, Cell, Expected, check_all};
use crate::servers::{Kafka, Postgres};

/// `SSLRequest`, as in the PostgreSQL manual, "Message Formats".
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xD2, 0x16, 0x2F];

/// Reads all that goes to the server on `port` and back: ends the client's TLS with a certificate of
/// its own, and begins one with the server. Gives back the port on which it listens.
fn listen_between(port: u16, certificates: &Certificates) -> u16 {
    let file = |name: &str| std::fs::read(certificates.path(name)).unwrap();
    let (ours, mine, key) = (file("ours.pem"), file("sooner.pem"), file("sooner.key"));
    let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&ours).unwrap()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let chain = vec![CertificateDer::from_pem_slice(&mine).unwrap()];
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_slice(&key).unwrap())
        .unwrap();
    let tls = (TlsAcceptor::from(Arc::new(server)), TlsConnector::from(Arc::new(client)));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let listening_on = listener.local_addr().unwrap().port();
    // It ends with the process.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let tls = tls.clone();
                // What one side breaks off, the other hears of.
                tokio::spawn(async move { drop(relay(socket, port, tls).await) });
            }
        });
    });
    listening_on
}

async fn relay(
    mut client: TcpStream,
    port: u16,
    (acceptor, connector): (TlsAcceptor, TlsConnector),
) -> std::io::Result<()> {
    let request = u64::from_be_bytes(SSL_REQUEST);
    assert_eq!(client.read_u64().await?, request);
    client.write_all(b"S").await?;
    let mut client = acceptor.accept(client).await?;
    let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
    server.write_all(&SSL_REQUEST).await?;
    assert_eq!(server.read_u8().await?, b'S');
    let name = ServerName::try_from("localhost").unwrap();
    let mut server = connector.connect(name, server).await?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

#[test]
fn channel_binding_ends_who_sits_in_between_with_a_trusted_certificate() {
    let certificates = Certificates::make(CANARY);
    let server = Postgres::start_with(18, &["password_encryption=scram-sha-256"]);
    server.set(&[
        ("ssl_cert_file", &certificates.path("right.pem")),
        ("ssl_key_file", &certificates.path("right.key")),
        ("ssl", "on"),
    ]);
    let admin = server.database("roles");
    admin.execute(&format!("create role relay login superuser password '{CANARY}'"));
    server.allow_first(&["host all relay 127.0.0.1/32 scram-sha-256"]);
    let between = listen_between(server.port(), &certificates);
    let found = Expected::Halted("authentication", "SCRAM channel binding check failed");
    let tls = Expected::StreamsOver { tls: true };
    let mut cells: Vec<_> = [
        // Nothing else is wrong with what sits there.
        ("someone in between", between, "disable", tls),
        ("someone in between", between, "prefer", found),
        ("someone in between", between, "require", found),
        ("nobody in between", server.port(), "require", tls),
    ]
    .into_iter()
    .map(|(who, port, binding, expected)| Cell {
        name: format!("{who}: channel_binding={binding}"),
        environment: vec![
            ("PGHOST", "localhost".to_owned()),
            ("PGPORT", port.to_string()),
            ("PGUSER", "relay".to_owned()),
            ("PGPASSWORD", CANARY.to_owned()),
            ("PGSSLMODE", "verify-full".to_owned()),
            ("PGSSLROOTCERT", certificates.path("ours.pem")),
            ("PGCHANNELBINDING", binding.to_owned()),
        ],
        expected,
    })
    .collect();
    check_all(&mut cells, || server.database("between"), Kafka::shared());
}
