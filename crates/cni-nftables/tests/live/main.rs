//! This crate against the running kernel, and against what nft says, in private network namespaces.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod agreement;
mod contention;
mod dumps;
mod errors;
mod packets;
mod reading;
mod removal;
mod sizes;
mod support;
