//! The headers of one record, in memory that is used again for the next.

use std::fmt;

/// Headers in the order they are written. A name may be there more than once, a value is never
/// null: the `CloudEvents` SDKs of Rust, Python and Java fail on a null header.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    names: String,
    values: Vec<u8>,
    /// Ends of each header's name and value.
    ends: Vec<(usize, usize)>,
}

impl Headers {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self { names: String::new(), values: Vec::new(), ends: Vec::new() }
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.ends.len()
    }

    /// There is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all names and values.
    #[must_use]
    pub const fn byte_size(&self) -> usize {
        self.names.len().saturating_add(self.values.len())
    }

    /// Name and value, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let mut start = (0, 0);
        self.ends.iter().map(move |end| {
            let name = self.names.get(start.0..end.0).unwrap_or_default();
            let value = self.values.get(start.1..end.1).unwrap_or_default();
            start = *end;
            (name, value)
        })
    }

    /// The value of the first header of that very name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// Removes all and keeps the memory.
    pub fn clear(&mut self) {
        self.names.clear();
        self.values.clear();
        self.ends.clear();
    }

    /// Adds one at the end.
    pub fn push(&mut self, name: &str, value: &[u8]) {
        self.push_prefixed("", name, value);
    }

    /// Adds one whose name comes in two pieces.
    pub(super) fn push_prefixed(&mut self, prefix: &str, name: &str, value: &[u8]) {
        self.names.push_str(prefix);
        self.names.push_str(name);
        self.values.extend_from_slice(value);
        self.finish();
    }

    /// Adds to the name of the header after the last.
    pub(super) fn extend_name(&mut self, text: &str) {
        self.names.push_str(text);
    }

    /// Adds to the value of the header after the last.
    pub(super) fn extend_value(&mut self, bytes: &[u8]) {
        self.values.extend_from_slice(bytes);
    }

    /// What [`Self::extend_name`] has written since the last header.
    pub(super) fn unfinished_name(&self) -> &str {
        let start = self.ends.last().map_or(0, |end| end.0);
        self.names.get(start..).unwrap_or_default()
    }

    /// Makes a header of what was written since the last.
    pub(super) fn finish(&mut self) {
        self.ends.push((self.names.len(), self.values.len()));
    }

    /// Forgets all headers after the first `count`, and what was written since the last.
    pub(super) fn truncate(&mut self, count: usize) {
        self.ends.truncate(count);
        let (name_end, value_end) = self.ends.last().copied().unwrap_or_default();
        self.names.truncate(name_end);
        self.values.truncate(value_end);
    }
}

impl fmt::Debug for Headers {
    /// Without the values: rows reach no log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
    }
}
