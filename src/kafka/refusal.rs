//! Why a broker is not spoken to, in words.
//!
//! librdkafka tells no two faults of a certificate apart: whatever OpenSSL has against it, the error
//! reads "certificate verify failed". The reason is only known while the certificate is looked at,
//! and only written to the log. So the log's lines are read too.

use super::librdkafka::ClientError;

/// Whether a broker does not know us: a wrong user, password or mechanism.
///
/// librdkafka gives the same code to a connection that ends between the question for the mechanism
/// and its answer (`rd_kafka_broker_handle_SaslHandshake` in rdkafka_broker.c), which is an outage.
/// Only the text tells: errors of its own begin with "Local: ".
#[must_use]
pub fn is_authentication(error: &ClientError) -> bool {
    use rdkafka::types::RDKafkaErrorCode as Code;
    matches!(error.code, Code::SaslAuthenticationFailed | Code::Authentication)
        && !error.message.contains("mechanism handshake failed: Local: ")
}

/// What OpenSSL has against a broker's certificate, by its error code.
///
/// Source: `X509_V_ERR_…` in OpenSSL's `include/openssl/x509_vfy.h`.
pub(super) fn certificate_fault(code: i32) -> &'static str {
    match code {
        // No issuer is found, or the last one is not trusted, or it is another one of that name.
        2 | 6 | 7 | 18..=21 => {
            "it is signed by an authority that is not trusted; name the authority's certificate in \
             KAFKA_SSL_CA_LOCATION"
        }
        9 => "it is not valid yet; check the clocks",
        10 => "it has expired; the broker needs a new one",
        23 => "it has been revoked; the broker needs a new one",
        62 | 64 => {
            "it is for another host; name the brokers in KAFKA_BOOTSTRAP_SERVERS and \
             advertised.listeners as the certificate does"
        }
        _ => "OpenSSL does not accept it",
    }
}

/// The reason in a line of librdkafka's log, if it holds one that its errors do not tell.
pub(super) fn of_log(facility: &str, message: &str) -> Option<String> {
    if facility == CERTIFICATE {
        let (certificate, fault) = message.split_once("verification callback failed: ")?;
        let (_, certificate) = certificate.split_once("Certificate ")?;
        return Some(format!(
            "the broker's certificate {} is refused: {fault}",
            certificate.trim()
        ));
    }
    let at_once = facility == "FAIL"
        && message.contains("Disconnected")
        && message.contains("in state APIVERSION_QUERY");
    at_once.then(|| {
        "the broker ends the connection at the first word; it may expect TLS or a password, see \
         KAFKA_SECURITY_PROTOCOL"
            .to_owned()
    })
}

/// The log's facility for a refused certificate.
pub(super) const CERTIFICATE: &str = "SSLCERTVRFY";

/// The reason in the text of an error, where it is one for OpenSSL's friends only.
pub(super) fn of_error(message: &str) -> Option<&'static str> {
    const ALERTS: [&str; 7] = [
        "alert bad certificate",
        "alert certificate required",
        "alert unknown ca",
        "alert certificate unknown",
        "alert certificate expired",
        "alert certificate revoked",
        "alert unsupported certificate",
    ];
    if ALERTS.iter().any(|alert| message.contains(alert)) {
        return Some(
            "the broker does not accept our client certificate, or wants one and gets none; check \
             KAFKA_SSL_CERTIFICATE_LOCATION and KAFKA_SSL_KEY_LOCATION",
        );
    }
    message.contains("PLAINTEXT broker listener").then_some(
        "the broker does not speak TLS on this port; check KAFKA_BOOTSTRAP_SERVERS and \
         KAFKA_SECURITY_PROTOCOL",
    )
}

/// Why no client can be made, led by the variable that is to be mended where one is known.
///
/// Source: `rd_kafka_ssl_set_certs` in librdkafka's rdkafka_ssl.c.
pub(super) fn of_start(message: &str) -> String {
    let has = |text: &str| message.contains(text);
    let mend = if has("key values mismatch") {
        "KAFKA_SSL_KEY_LOCATION is the key of another certificate than KAFKA_SSL_CERTIFICATE_LOCATION"
    } else if has("ssl.key.location failed") {
        "KAFKA_SSL_KEY_LOCATION cannot be used: it must be a private key as PEM, and \
         KAFKA_SSL_KEY_PASSWORD the password of an encrypted one"
    } else if has("ssl.certificate.location failed") {
        "KAFKA_SSL_CERTIFICATE_LOCATION cannot be used: it must hold our certificate as PEM, followed \
         by those between it and its authority"
    } else if has("ssl.ca.location failed") {
        "KAFKA_SSL_CA_LOCATION holds no certificate: it must hold those of the authorities as PEM"
    } else {
        return message.to_owned();
    };
    format!("{mend}: {message}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_tells_what_is_wrong_with_a_certificate() {
        // The line of librdkafka 2.12.1.
        let line = "[thrd:ssl://b:9093/bootstrap]: ssl://b:9093/bootstrap: Certificate \
                    (subject=/CN=b, issuer=/CN=ca) verification callback failed: it has expired";
        let told =
            "the broker's certificate (subject=/CN=b, issuer=/CN=ca) is refused: it has expired";
        assert_eq!(of_log(CERTIFICATE, line).as_deref(), Some(told));
        assert_eq!(of_log("FAIL", line), None);
        assert_eq!(of_log(CERTIFICATE, "Failed to get current certificate to verify"), None);
    }

    #[test]
    fn a_broker_that_hangs_up_at_once_may_expect_another_protocol() {
        let line = "b:9093/bootstrap: Disconnected: connection closed by peer: receive 0 after \
                    POLLIN (after 28ms in state APIVERSION_QUERY)";
        assert!(of_log("FAIL", line).is_some());
        assert_eq!(of_log("FAIL", &line.replace("APIVERSION_QUERY", "UP")), None);
    }

    #[test]
    fn an_alert_is_about_our_certificate() {
        let error = "Receive failed: error:0A000412:SSL routines::ssl/tls alert bad certificate: \
                     SSL alert number 42 (after 0ms in state APIVERSION_QUERY)";
        assert!(of_error(error).is_some_and(|told| told.contains("client certificate")));
        assert_eq!(of_error("Connection refused"), None);
    }
}
