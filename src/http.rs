//! Health, metrics and the status page.
