//! The page of rules, made of the cases.
