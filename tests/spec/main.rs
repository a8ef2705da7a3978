//! What walpost promises, as tests: each name is a sentence.

#[cfg(test)]
mod checkpoint_command;
#[cfg(test)]
mod peek;
#[cfg(test)]
mod schema_changes;
#[cfg(test)]
mod servers;
