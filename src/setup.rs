//! What `walpost setup` makes in the database: the role and its rights, the table, the constraints
//! that keep bad rows out, the publication.
//!
//! Each step is a statement and whether it is needed. Printing and doing go through the same steps,
//! so that what is printed is what is done.

pub(crate) mod checks;
pub(crate) mod found;
mod pattern;
pub(crate) mod steps;
pub(crate) mod table;
