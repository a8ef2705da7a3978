//! From a logical message to an outbox row: which column plays which role.

pub mod column;
pub mod mapping;
pub mod role;
pub mod row;
pub mod template;

pub use mapping::{Mapping, MappingError};
pub use row::{OutboxRow, RowScratch};
