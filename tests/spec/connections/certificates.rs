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
certificate client ours certain DNS:certain
certificate client-of-another ours stranger DNS:stranger
certificate client-wrong-authority other certain DNS:certain
openssl pkcs8 -topk8 -v2 aes-256-cbc -in client.key -passout "pass:$1" -out client.encrypted.key
chmod 600 ./*.key ./*.both.pem
"#;

/// Files of three authorities, `ours`, `other` and `unrelated`, and of what the first two signed: `<name>.pem`, `<name>.key`,
/// and both in `<name>.both.pem`.
pub(super) struct Certificates {
    folder: TempDir,
}

impl Certificates {
    /// Makes them; the key in `client.encrypted.key` is encrypted with `password`.
    #[track_caller]
    pub(super) fn make(password: &str) -> Self {
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

    /// The path of a file.
    #[track_caller]
    pub(super) fn path(&self, file: &str) -> String {
        let path: PathBuf = self.folder.path().join(file);
        assert!(path.exists(), "no certificate {file}");
        path.to_str().unwrap().to_owned()
    }
}
