//! Every plugin's executable between private namespaces, one module a plugin.

#![allow(clippy::unwrap_used, reason = "what panics here is a test that fails")]

mod loopback;
mod protocol;
