//! This crate against the running kernel, in private network namespaces.

mod links;
mod support;
