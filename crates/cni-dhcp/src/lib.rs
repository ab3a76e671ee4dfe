//! DHCPv4 as data: nothing here opens a socket, reads a clock or touches a namespace.

pub mod client;
pub mod frame;
pub mod packet;
pub mod rpc;
