//! A question before something that cannot be taken back.

use std::io::{self, IsTerminal as _};

use super::command::{Stopped, refused};
use super::output;

/// Asks for a word to be typed, unless `yes` has been said. A program that has no terminal is not
/// asked: it has to say `--yes`.
///
/// # Errors
/// The word was not typed, or cannot be.
pub(super) fn word(question: &str, word: &str, yes: bool) -> Result<(), Stopped> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(refused(
            format!("{question}: that is not done without being confirmed"),
            "say --yes, or run it in a terminal and type the name",
        ));
    }
    output::error(&format!("{question}\ntype {word} to go on:"));
    let mut typed = String::new();
    io::stdin().read_line(&mut typed)?;
    if typed.trim() == word {
        return Ok(());
    }
    Err(refused("that is another name", "nothing was changed"))
}
