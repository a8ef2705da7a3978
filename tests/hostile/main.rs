//! Goal: whatever a server, a broker or a user hands over, it is read or refused with a reason: no
//! panic, and no more memory than a small multiple of what arrived.
//!
//! Method: what real servers sent (`tests/corpus`) is changed at random in many ways, and given to the
//! five readers of foreign bytes: the connection, pgoutput, row to event, checkpoint records,
//! configuration. An allocator counts what each attempt holds at once. Nothing but what the library
//! gives to everybody is used.
//!
//! `make test` takes a few thousand cases of each; `make fuzz MINUTES=… SEED=…` goes on for as long as
//! one likes. The cases follow from the seed alone: a failure prints the command that repeats it. It is
//! not guided by coverage, which `cargo fuzz` would be, with a nightly compiler.

#[cfg(test)]
mod allocator;
#[cfg(test)]
mod checkpoints;
#[cfg(test)]
mod configuration;
#[cfg(test)]
mod connection;
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod messages;
#[cfg(test)]
mod mutator;
#[cfg(test)]
mod pgoutput;
#[cfg(test)]
#[path = "../spec/oracle/random.rs"]
mod random;
#[cfg(test)]
#[path = "../corpus/recorded.rs"]
#[expect(dead_code, reason = "the test that records uses the rest")]
mod recorded;
#[cfg(test)]
#[path = "../row/insert.rs"]
mod row;
#[cfg(test)]
mod rows;
#[cfg(test)]
mod trial;
