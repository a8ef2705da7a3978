//! Basic authentication of the page (RFC 7617).

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::config::HttpAuth;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What the `Authorization` header has to be, as a digest.
///
/// The expected text is encoded once, and what a client sends is never decoded. Both are compared
/// by their SHA-256 and in full, so the time it takes tells neither how long the password is nor
/// how much of it was right.
#[derive(Clone)]
pub(super) struct Gate {
    expected: [u8; 32],
}

impl Gate {
    pub(super) fn new(auth: &HttpAuth) -> Self {
        let pair = format!("{}:{}", auth.username, auth.password.expose());
        Self { expected: Sha256::digest(STANDARD.encode(pair)).into() }
    }

    /// Whether a header lets through.
    pub(super) fn admits(&self, header: Option<&[u8]>) -> bool {
        let Some(given) = header.and_then(credentials) else { return false };
        let given: [u8; 32] = Sha256::digest(given).into();
        let difference = given.iter().zip(&self.expected).fold(0, |all, (a, b)| all | (a ^ b));
        std::hint::black_box(difference) == 0
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gate(***)")
    }
}

/// What follows the scheme `Basic`, whose case does not matter.
fn credentials(header: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = header.split_at_checked(5)?;
    let rest = rest.strip_prefix(b" ")?;
    scheme.eq_ignore_ascii_case(b"basic").then(|| rest.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    #[test]
    fn only_the_right_pair_is_let_through() {
        let auth = HttpAuth { username: "Aladdin".into(), password: Secret::new("open sesame") };
        let gate = Gate::new(&auth);
        #[track_caller]
        fn check(gate: &Gate, header: Option<&str>, expected: bool) {
            assert_eq!(gate.admits(header.map(str::as_bytes)), expected);
        }
        // The example of RFC 7617 section 2.
        check(&gate, Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), true);
        check(&gate, Some("bAsIc   QWxhZGRpbjpvcGVuIHNlc2FtZQ== "), true);
        check(&gate, Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ="), false);
        check(&gate, Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZR=="), false);
        check(&gate, Some("Basic "), false);
        check(&gate, Some("Basic"), false);
        check(&gate, Some("Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), false);
        check(&gate, Some("é"), false);
        check(&gate, None, false);
        assert_eq!(format!("{gate:?}"), "Gate(***)");
    }
}
