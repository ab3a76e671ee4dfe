//! DHCPv4 as data: nothing here opens a socket, reads a clock or touches a namespace.

#[cfg(test)]
mod captured_tests;
pub mod client;
pub mod frame;
pub mod packet;
pub mod rpc;
