//! From a logical message to an outbox row: which column plays which role.

pub mod role;
pub mod template;
