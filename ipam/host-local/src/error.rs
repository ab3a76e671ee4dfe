//! What can go wrong here, and the code each has on standard output.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use cni_types::ErrorCode;

/// A failure of host-local.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A value of the configuration cannot be; `place` is like `ipam.ranges[0][1]`.
    #[error("{place}: {reason}")]
    Config { place: String, reason: String },
    #[error("cannot {op} {}: {source}", path.display())]
    Io { op: &'static str, path: PathBuf, source: io::Error },
    #[error(transparent)]
    Lock(#[from] cni_host::Error),
    // The next four are worded as the reference words them: people and programs look for these texts in logs.
    #[error(
        "failed to allocate for range {set}: {address} has been allocated to {id}, duplicate allocation is not allowed"
    )]
    Duplicate { set: usize, address: IpAddr, id: String },
    #[error("failed to allocate for range {set}: no IP addresses available in range set: {ranges}")]
    Exhausted { set: usize, ranges: String },
    #[error("failed to allocate for range {set}: requested ip {address} is subnet's gateway")]
    RequestedGateway { set: usize, address: IpAddr },
    #[error(
        "failed to allocate for range {set}: requested IP address {address} is not available in range set {ranges}{holder}"
    )]
    RequestedTaken { set: usize, address: IpAddr, ranges: String, holder: String },
    #[error("failed to allocate all requested IPs: {0}")]
    RequestedOutside(String),
}

impl Error {
    pub(crate) fn config(place: impl Into<String>, reason: impl Into<String>) -> Self {
        Error::Config { place: place.into(), reason: reason.into() }
    }

    /// For `map_err` on a call of `std::fs`.
    pub(crate) fn io(op: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Error::Io { op, path: path.to_owned(), source }
    }

    fn code(&self) -> ErrorCode {
        match self {
            Error::Config { .. } => ErrorCode::INVALID_NETWORK_CONFIG,
            Error::Io { .. } => ErrorCode::IO_FAILURE,
            Error::Lock(cni_host::Error::LockTimeout { .. }) => ErrorCode::TRY_AGAIN_LATER,
            Error::Lock(_) => ErrorCode::IO_FAILURE,
            // The reference's answer to all of these; no code of the specification says it better.
            Error::Duplicate { .. }
            | Error::Exhausted { .. }
            | Error::RequestedGateway { .. }
            | Error::RequestedTaken { .. }
            | Error::RequestedOutside(_) => ErrorCode::INTERNAL,
        }
    }

    /// The form in which a plugin's functions return it. `?` alone would give every error code 999.
    pub(crate) fn coded(self) -> cni_plugin::Error {
        cni_plugin::Error::new(self.code(), self.to_string())
    }
}
