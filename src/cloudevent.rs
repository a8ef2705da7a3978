//! From an outbox row to a `CloudEvent` on Kafka: binary and structured mode, and the dead letter.
//!
//! Pure, and without an allocation per event: the [`Encoder`] owns all memory that an event is
//! written to, and lends it out until the next one. Payloads are copied from the row or borrowed
//! from it, never parsed and printed again.

mod attribute;
mod context;
mod dead_letter;
mod encoder;
pub mod headers;
mod json;
mod media_type;
pub mod options;
mod payload;
mod plain_headers;
mod schema;
pub mod source;
mod span_context;
mod time;
mod uri;

pub(crate) use attribute::MAX_ATTRIBUTE;
pub use attribute::{check_extension_name, extension_name_is_long};
pub use dead_letter::DeadLetterContext;
pub use encoder::{Encoder, Event, OptionsError, Unencoded};
pub use headers::Headers;
pub(crate) use json::{Invalid, LoneSurrogate, Nesting, for_each_member, unescape};
pub use media_type::check_media_type;
pub(crate) use media_type::is_json;
pub use source::check_source;
pub use time::check_time_zone;

pub use crate::outbox::bad_row::{BadRow, Reason};

#[cfg(test)]
mod tests;
