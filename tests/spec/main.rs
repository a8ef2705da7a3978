//! What walpost promises, as tests: each name is a sentence.

#[cfg(test)]
mod check;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod outages;
#[cfg(test)]
mod servers;
