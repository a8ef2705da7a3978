//! What walpost promises, as tests: each name is a sentence.

#[cfg(test)]
mod configuration;
#[cfg(test)]
mod connections;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod outages;
#[cfg(test)]
mod servers;
#[cfg(test)]
mod slot_safety;
#[cfg(test)]
mod tidy;
