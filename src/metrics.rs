//! Every metric: name, unit, labels, once.
