//! What walpost promises, as tests: each name is a sentence.

#[cfg(test)]
mod events;
#[cfg(test)]
mod partition;
#[cfg(test)]
mod sdk;
#[cfg(test)]
mod servers;
