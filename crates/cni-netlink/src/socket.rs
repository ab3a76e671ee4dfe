//! The socket: sequence numbers checked, strict checking and extended acknowledgements on, interrupted dumps retried.

use crate::Result;

/// An rtnetlink socket. It belongs for life to the network namespace of the thread that opened it, and may be used from
/// any thread afterwards.
pub struct Socket {}

impl Socket {
    /// Opens a socket in the calling thread's namespace.
    pub fn open() -> Result<Self> {
        todo!()
    }
}
