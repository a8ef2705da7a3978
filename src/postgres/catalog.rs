//! What the catalog says: plain SQL, on a connection of its own.
