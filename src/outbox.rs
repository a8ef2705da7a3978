//! From a logical message to an outbox row: which column plays which role.

pub mod bad_row;
pub mod bound;
pub(crate) mod bytea;
pub mod column;
pub mod mapping;
pub mod message;
pub mod present;
pub mod role;
pub mod row;
pub mod selection;
pub mod spread;
pub mod template;

pub use bad_row::{BadRow, Reason};
pub use mapping::{Mapping, MappingError};
pub use message::{MessageReader, MessageRow};
pub use row::{OutboxRow, RowScratch};
