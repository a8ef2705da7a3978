//! Certificates and keys of one test, made by openssl.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::servers::folder;

/// Makes all of them. Elliptic-curve keys, because they take no time.
///
/// `openssl ca` signs, since `openssl x509` cannot make a certificate of the past.
const SCRIPT: &str = r#"
set -eu
command -v openssl >/dev/null || apt-get install -y --no-install-recommends openssl >&2
cat >ca.cnf <<'CONFIG'
[ca]
default_ca = ca
[ca]
new_certs_dir = .
database = index
unique_subject = no
rand_serial = yes
default_md = sha256
policy = policy
[policy]
commonName = supplied
CONFIG
: >index
authority() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 \
        -keyout "$1.key" -out "$1.pem" -subj "/CN=$1 authority"
}
# certificate NAME AUTHORITY COMMON-NAME ALTERNATIVE-NAMES [YEAR-OF-THE-END]
certificate() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
        -keyout "$1.key" -out "$1.csr" -subj "/CN=$3"
    printf 'subjectAltName = %s\n' "$4" >"$1.ext"
    openssl ca -batch -notext -config ca.cnf -cert "$2.pem" -keyfile "$2.key" -in "$1.csr" \
        -out "$1.pem" -startdate 20200101000000Z -enddate "${5:-2049}0101000000Z" -extfile "$1.ext"
    cat "$1.key" "$1.pem" >"$1.both.pem"
}
authority ours
authority other
authority unrelated
here=DNS:localhost,IP:127.0.0.1
certificate right ours server "$here"
certificate wrong-authority other server "$here"
certificate wrong-host ours db.example DNS:db.example
certificate expired ours server "$here" 2021
certificate sooner ours server "$here" 2048
certificate client ours certain DNS:certain
certificate client-renewed other certain DNS:certain
certificate client-expired ours certain DNS:certain 2021
certificate client-of-another ours stranger DNS:stranger
certificate client-wrong-authority other certain DNS:certain
# Channel binding hashes a certificate as its signature does (RFC 5929).
sed -i s/sha256/sha384/ ca.cnf
certificate sha384 ours server "$here"
sed -i s/sha384/sha512/ ca.cnf
certificate sha512 ours server "$here"
openssl pkcs8 -topk8 -v2 aes-256-cbc -in client.key -passout "pass:$1" -out client.encrypted.key
chmod 600 ./*.key ./*.both.pem
"#;

/// When most of them expire, in seconds since 1970: `date -d 2049-01-01Z +%s`.
pub(super) const EXPIRY: f64 = 2_493_072_000.0;

/// When `sooner` expires: `date -d 2048-01-01Z +%s`.
pub(super) const SOONER: f64 = 2_461_449_600.0;

/// Files of three authorities, `ours`, `other` and `unrelated`, and of what the first two signed: `<name>.pem`, `<name>.key`,
/// and both in `<name>.both.pem`.
pub(crate) struct Certificates {
    folder: TempDir,
}

impl Certificates {
    /// Makes them; the key in `client.encrypted.key` is encrypted with `password`.
    #[track_caller]
    pub(crate) fn make(password: &str) -> Self {
        let folder = folder("certificates");
        let output = Command::new("bash")
            .args(["-c", SCRIPT, "certificates", password])
            .current_dir(folder.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl made no certificates; it said:\n{said}");
        Self { folder }
    }

    /// The path of a copy of a file, for a test that replaces it.
    #[track_caller]
    pub(super) fn copy(&self, file: &str) -> String {
        let path = format!("{}.copy", self.path(file));
        std::fs::copy(self.path(file), &path).unwrap();
        path
    }

    /// The path of a file.
    #[track_caller]
    pub(crate) fn path(&self, file: &str) -> String {
        let path: PathBuf = self.folder.path().join(file);
        assert!(path.exists(), "no certificate {file}");
        path.to_str().unwrap().to_owned()
    }
}
