//! Goal: every rule from a row to a record holds, through the bytes of the replication stream.
//! Method: rows by their columns, records compared whole or by the one value that a rule is about.

mod attributes;
mod binary;
mod dead_letters;
mod fixture;
mod messages;
mod oracle;
mod plain_headers;
mod routing;
mod rules;
mod schemas;
mod structured;
