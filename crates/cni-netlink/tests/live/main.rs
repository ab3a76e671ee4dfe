//! This crate against the running kernel, in private network namespaces.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod addrs;
mod conntrack;
mod default_route;
mod kinds;
mod links;
mod monitor;
mod moves;
mod routes;
mod rules;
mod support;
mod tc;
mod vlans;
