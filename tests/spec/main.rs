//! What walpost promises, as tests: each name is a sentence.

#[cfg(test)]
mod servers;
