//! When the brokers' certificates expire.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use x509_parser::parse_x509_certificate;

/// Brokers that are remembered at most; a cluster of Kafka's has tens, the largest known some thousand.
pub(super) const BROKERS_MAX: usize = 4_096;

/// What each broker showed at its last handshake: the end of its certificate's validity, in seconds
/// since 1970, by the broker's `host:port`.
///
/// An address is remembered as long as the client lives. So a bootstrap address that is none of the
/// brokers' own counts with what it showed at first.
#[derive(Debug, Default)]
pub(super) struct Certificates(Mutex<BTreeMap<Vec<u8>, i64>>);

impl Certificates {
    /// A broker has shown a certificate (DER). One that cannot be read is left out.
    pub(super) fn shown(&self, broker: &[u8], certificate: &[u8]) {
        let Ok((_, certificate)) = parse_x509_certificate(certificate) else { return };
        let not_after = certificate.validity().not_after.timestamp();
        let mut brokers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if brokers.len() < BROKERS_MAX || brokers.contains_key(broker) {
            brokers.insert(broker.to_vec(), not_after);
        }
    }

    /// When the first of them expires, in seconds since 1970; `None` where none was shown.
    pub(super) fn first_expiry(&self) -> Option<i64> {
        let brokers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        brokers.values().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expiring(certificates: &[(&str, i64)]) -> Option<i64> {
        let shown = Certificates::default();
        for (broker, not_after) in certificates {
            shown.0.lock().unwrap().insert(broker.as_bytes().to_vec(), *not_after);
        }
        shown.first_expiry()
    }

    #[test]
    fn the_first_to_expire_counts_and_a_renewed_one_takes_the_place_of_the_old() {
        assert_eq!(expiring(&[]), None);
        assert_eq!(expiring(&[("a:1", 30), ("b:1", 20)]), Some(20));
        assert_eq!(expiring(&[("a:1", 30), ("b:1", 20), ("b:1", 50)]), Some(30));
    }

    #[test]
    fn what_is_no_certificate_is_left_out() {
        let shown = Certificates::default();
        shown.shown(b"a:1", b"\x30\x03\x02\x01\x00");
        shown.shown(b"a:1", b"");
        assert_eq!(shown.first_expiry(), None);
    }
}
