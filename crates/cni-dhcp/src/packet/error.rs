//! What can be wrong with a message, with one of its options, with a lease, and with what the configuration asks for.

use std::net::Ipv4Addr;

/// Why bytes are no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Less than the fixed part and the magic cookie.
    #[error("a message has 240 bytes at least and this has {0}")]
    Short(usize),
    /// Neither BOOTREQUEST nor BOOTREPLY.
    #[error("op is {0} and not 1 or 2")]
    Op(u8),
    /// Not Ethernet.
    #[error("hardware type {htype} with addresses of {hlen} bytes is not Ethernet")]
    Hardware {
        /// `htype`
        htype: u8,
        /// `hlen`
        hlen: u8,
    },
    /// BOOTP of before RFC 1497, or anything else.
    #[error("the magic cookie before the options is missing")]
    Magic,
    /// An option reaches beyond where options end.
    #[error("option {option} reaches beyond the end of {area}")]
    Truncated {
        /// Its code.
        option: u8,
        /// `options`, `file` or `sname`.
        area: &'static str,
    },
    /// Plain BOOTP.
    #[error("option 53, the message's type, is missing")]
    NoMessageType,
    /// Unknown to RFC 2132.
    #[error("{0} is not the type of a message that RFC 2132 knows")]
    MessageType(u8),
    /// An option that the message cannot be understood without.
    #[error(transparent)]
    Option(#[from] OptionError),
}

/// Why an option's value is unusable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionError {
    /// Of a length that it cannot have.
    #[error("option {option} has {length} bytes and not {wanted}")]
    Length {
        /// Its code.
        option: u8,
        /// How many bytes it has.
        length: usize,
        /// How many it may have.
        wanted: &'static str,
    },
    /// Of a value that it cannot have.
    #[error("option {option}: {problem}")]
    Value {
        /// Its code.
        option: u8,
        /// What is wrong.
        problem: String,
    },
}

impl OptionError {
    pub(super) fn length(option: u8, value: &[u8], wanted: &'static str) -> Self {
        OptionError::Length { option, length: value.len(), wanted }
    }

    pub(super) fn value(option: u8, problem: impl Into<String>) -> Self {
        OptionError::Value { option, problem: problem.into() }
    }
}

/// Why an acknowledgement gives no lease.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeaseError {
    /// Broadcast, multicast, loopback, none.
    #[error("{0} is not an address that a host can have")]
    Address(Ipv4Addr),
    /// The reference refuses it too.
    #[error("option 1, the subnet mask, is missing")]
    NoSubnetMask,
    /// A server that cannot be asked for renewal.
    #[error("option 54, the server's identifier, is missing or names no server")]
    NoServer,
    /// Over before it began.
    #[error("the lease is for 0 seconds")]
    NoTime,
    /// An option that a lease cannot do without.
    #[error(transparent)]
    Option(#[from] OptionError),
}

/// What is wrong with `provide` or `request` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// Neither a known name nor a number.
    #[error("cannot parse option {0:?}: neither a known name nor a number from 0 to 255")]
    Unknown(String),
    /// What the protocol itself needs.
    #[error("option {0:?} cannot be provided: the client sets it itself")]
    Reserved(String),
    /// Longer than the reference takes.
    #[error("value of {length} bytes is too long for option {option:?}, the most is 255")]
    TooLong {
        /// As the configuration calls it.
        option: String,
        /// How long the value is.
        length: usize,
    },
    /// More than fits a frame.
    #[error("the options provided are {0} bytes together, the most is 1024")]
    TooMany(usize),
}
