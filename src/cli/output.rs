//! The one writer to standard output and standard error.

use std::io::{self, Write};

use super::Exit;

/// Writes a text and a line's end to standard output. A reader that has gone away (`| head`) is
/// no error.
///
/// # Errors
/// The text could not be written.
pub fn line(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    let written = writeln!(stdout, "{}", text.trim_end_matches('\n')).and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Writes a text and a line's end to standard error. There is nowhere left to say that this
/// failed, so it is not said.
pub fn error(text: &str) {
    let written = writeln!(io::stderr().lock(), "{}", text.trim_end_matches('\n'));
    drop(written);
}

/// Prints what the parser of the command line has to say: help and version to standard output, a
/// mistake to standard error.
#[must_use]
pub fn answer(answer: &clap::Error) -> Exit {
    match answer.print() {
        Err(failed) if failed.kind() != io::ErrorKind::BrokenPipe => {
            error(&format!("walpost: the help cannot be written: {failed}"));
            Exit::Failed
        }
        Ok(()) | Err(_) if answer.use_stderr() => Exit::Usage,
        Ok(()) | Err(_) => Exit::Done,
    }
}

/// Writes a text over the last one of its kind, where standard error is a terminal.
pub fn over(text: &str) {
    let mut stderr = io::stderr().lock();
    let written = write!(stderr, "\r\x1b[K{text}").and_then(|()| stderr.flush());
    drop(written);
}
