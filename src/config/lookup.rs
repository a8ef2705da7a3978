//! The text of one variable: from itself, or from the file that `NAME_FILE` names.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use super::env::{Origin, Source};
use super::shown;

/// Longest file of a value, in bytes. A chain of certificates is a few thousand; this is for files
/// that have no end.
const FILE_MAX: u64 = 1024 * 1024;

/// Why a variable has no usable text.
#[derive(Debug)]
pub(super) struct Unusable {
    /// The variable to be named, which is `NAME` or `NAME_FILE`.
    pub(super) variable: String,
    /// Its value, where it may be shown.
    pub(super) value: Option<String>,
    /// What is wrong with it.
    pub(super) reason: String,
}

/// The text of a variable, and where it stands. An empty variable beside a filled one of the pair
/// counts as not set, because Compose files pass on variables that are not set as empty ones.
///
/// # Errors
/// Both of the pair are set, the text is not UTF-8 or has a NUL in it, or the file is unreadable.
pub(super) fn text(source: &dyn Source, name: &str) -> Result<Option<(String, Origin)>, Unusable> {
    let file_name = format!("{name}_FILE");
    let file = source.get(&file_name).filter(|(path, _)| !path.is_empty());
    let plain = source.get(name).filter(|(text, _)| file.is_none() || !text.is_empty());
    match (plain, file) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(Unusable {
            variable: file_name,
            value: None,
            reason: format!("is set beside {name}; keep one of them"),
        }),
        (Some((text, origin)), None) => match text.into_string() {
            Ok(text) => Ok(Some((text, origin))),
            Err(_) => Err(Unusable {
                variable: name.to_owned(),
                value: None,
                reason: "is not UTF-8".to_owned(),
            }),
        },
        (None, Some((path, _))) => match read(Path::new(&path)) {
            Ok(text) => Ok(Some((text, Origin::File))),
            Err(error) => {
                let (value, hint) = path_shown(name, Path::new(&path));
                let reason = format!("cannot be read: {error}{hint}");
                Err(Unusable { variable: file_name, value, reason })
            }
        },
    }
}

/// A path as it may be shown. One that does not look like a path is probably the secret itself,
/// given to the wrong one of the pair.
fn path_shown(name: &str, path: &Path) -> (Option<String>, &'static str) {
    let text = path.display().to_string();
    let is_path = ["/", "./", "../"].iter().any(|begin| text.starts_with(begin));
    if shown::is_secret(name) && !is_path {
        (None, "; it takes a path such as /run/secrets/name, and this looks like the value itself")
    } else {
        (Some(text), "")
    }
}

/// The content of a file, less one line's end.
fn read(path: &Path) -> io::Result<String> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_MAX.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > FILE_MAX) {
        return Err(invalid("it is longer than 1 MiB"));
    }
    let text = String::from_utf8(bytes).map_err(|_| invalid("it is not UTF-8"))?;
    if text.contains('\0') {
        return Err(invalid("it has a NUL in it"));
    }
    let less = text.strip_suffix("\r\n").or_else(|| text.strip_suffix('\n'));
    Ok(less.map_or_else(|| text.clone(), str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::super::env::Variables;
    use super::*;

    #[track_caller]
    fn check_file(content: &[u8], expected: Result<&str, &str>) {
        let file = tempfile::NamedTempFile::new().expect("file");
        std::fs::write(file.path(), content).expect("written");
        let path = file.path().to_str().expect("utf-8");
        let found = text(&Variables::from([("PGPASSWORD_FILE", path)]), "PGPASSWORD");
        match (found, expected) {
            (Ok(found), Ok(expected)) => {
                assert_eq!(found, Some((expected.to_owned(), Origin::File)));
            }
            (Err(error), Err(expected)) => {
                assert_eq!(error.variable, "PGPASSWORD_FILE");
                assert_eq!(error.value.as_deref(), Some(path));
                assert!(error.reason.contains(expected), "{error:?}");
            }
            (found, expected) => panic!("{found:?} and not {expected:?}"),
        }
    }

    #[test]
    fn a_file_is_read_less_one_line_end() {
        check_file(b"pw", Ok("pw"));
        check_file(b"pw\n", Ok("pw"));
        check_file(b"pw\r\n", Ok("pw"));
        check_file(b"pw\n\n", Ok("pw\n"));
        check_file(b"pw\r", Ok("pw\r"));
        check_file(b" pw ", Ok(" pw "));
        check_file(b"", Ok(""));
        check_file(b"p\xffw", Err("it is not UTF-8"));
        check_file(b"p\0w", Err("it has a NUL in it"));
        check_file(&vec![b'x'; 1024 * 1024], Ok(&"x".repeat(1024 * 1024)));
        check_file(&vec![b'x'; 1024 * 1024 + 1], Err("it is longer than 1 MiB"));
    }

    #[track_caller]
    fn check_refused<const N: usize>(set: [(&str, &str); N], value: Option<&str>, reason: &str) {
        let error = text(&Variables::from(set), "PGPASSWORD").expect_err("refused");
        assert_eq!(error.variable, "PGPASSWORD_FILE");
        assert_eq!(error.value.as_deref(), value, "{error:?}");
        assert!(error.reason.contains(reason), "{error:?}");
    }

    #[test]
    fn both_of_a_pair_are_refused_unless_one_is_empty() {
        let both = [("PGPASSWORD", "a"), ("PGPASSWORD_FILE", "/b")];
        check_refused(both, None, "is set beside PGPASSWORD");
        let pair =
            |plain, file| Variables::from([("PGPASSWORD", plain), ("PGPASSWORD_FILE", file)]);
        let found = text(&pair("a", ""), "PGPASSWORD").expect("usable");
        assert_eq!(found, Some(("a".to_owned(), Origin::EnvFile)));
        let missing =
            text(&pair("", "/nonexistent/b"), "PGPASSWORD").expect_err("the file is read");
        assert_eq!(missing.variable, "PGPASSWORD_FILE");
    }

    #[test]
    fn an_unreadable_file_is_named_unless_its_path_may_be_the_secret() {
        let missing = "cannot be read: No such file";
        check_refused([("PGPASSWORD_FILE", "/nonexistent/b")], Some("/nonexistent/b"), missing);
        check_refused([("PGPASSWORD_FILE", "./nonexistent")], Some("./nonexistent"), missing);
        check_refused([("PGPASSWORD_FILE", "hunter2")], None, "looks like the value itself");
        let url = [("PGPASSWORD_FILE", "postgres://u:hunter2@db/shop")];
        check_refused(url, None, "looks like the value itself");
    }
}
