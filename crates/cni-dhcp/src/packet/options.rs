//! The options of a message: codes, and values that are whole again after RFC 3396.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::error::{DecodeError, OptionError};

/// Codes of options (RFC 2132 unless another is named).
#[allow(missing_docs, reason = "the names are the RFCs'")]
pub mod code {
    pub const PAD: u8 = 0;
    pub const SUBNET_MASK: u8 = 1;
    pub const ROUTERS: u8 = 3;
    pub const DNS_SERVERS: u8 = 6;
    pub const HOST_NAME: u8 = 12;
    pub const DOMAIN_NAME: u8 = 15;
    pub const MTU: u8 = 26;
    pub const STATIC_ROUTES: u8 = 33;
    pub const REQUESTED_ADDRESS: u8 = 50;
    pub const LEASE_TIME: u8 = 51;
    pub const OVERLOAD: u8 = 52;
    pub const MESSAGE_TYPE: u8 = 53;
    pub const SERVER_ID: u8 = 54;
    pub const PARAMETER_LIST: u8 = 55;
    pub const MESSAGE: u8 = 56;
    pub const MAX_MESSAGE_SIZE: u8 = 57;
    pub const RENEWAL_TIME: u8 = 58;
    pub const REBINDING_TIME: u8 = 59;
    pub const VENDOR_CLASS: u8 = 60;
    pub const CLIENT_ID: u8 = 61;
    /// RFC 3004.
    pub const USER_CLASS: u8 = 77;
    /// RFC 3397.
    pub const DOMAIN_SEARCH: u8 = 119;
    /// RFC 3442.
    pub const CLASSLESS_ROUTES: u8 = 121;
    pub const END: u8 = 255;
}

/// The most bytes that one option on the wire can hold.
const MAX_PIECE: usize = 255;

/// Values by code. An option that came in several pieces is one (RFC 3396, section 7), and a value longer than 255 bytes is sent
/// in several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options(BTreeMap<u8, Vec<u8>>);

impl Options {
    /// A value, whole.
    pub fn get(&self, code: u8) -> Option<&[u8]> {
        self.0.get(&code).map(Vec::as_slice)
    }

    /// Sets a value, in the place of an earlier one. [`code::PAD`] and [`code::END`] have none and are left out.
    pub fn set(&mut self, code: u8, value: impl Into<Vec<u8>>) -> &mut Self {
        if !matches!(code, code::PAD | code::END) {
            self.0.insert(code, value.into());
        }
        self
    }

    /// Takes a value away.
    pub fn remove(&mut self, code: u8) -> Option<Vec<u8>> {
        self.0.remove(&code)
    }

    /// All of them, by rising code.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &[u8])> {
        self.0.iter().map(|(code, value)| (*code, value.as_slice()))
    }

    /// A value that is one address.
    pub fn address(&self, code: u8) -> Result<Option<Ipv4Addr>, OptionError> {
        Ok(self.fixed::<4>(code, "4 bytes")?.map(Ipv4Addr::from))
    }

    /// A value that is one address or more; none without the option.
    pub fn addresses(&self, code: u8) -> Result<Vec<Ipv4Addr>, OptionError> {
        let Some(value) = self.get(code) else { return Ok(Vec::new()) };
        match value.as_chunks::<4>() {
            (addresses @ [_, ..], []) => Ok(addresses.iter().copied().map(Ipv4Addr::from).collect()),
            _ => Err(OptionError::length(code, value, "a multiple of 4")),
        }
    }

    /// A value that is a number of 32 bits.
    pub fn u32(&self, code: u8) -> Result<Option<u32>, OptionError> {
        Ok(self.fixed(code, "4 bytes")?.map(u32::from_be_bytes))
    }

    /// A value that is a number of 16 bits.
    pub fn u16(&self, code: u8) -> Result<Option<u16>, OptionError> {
        Ok(self.fixed(code, "2 bytes")?.map(u16::from_be_bytes))
    }

    fn fixed<const N: usize>(&self, code: u8, wanted: &'static str) -> Result<Option<[u8; N]>, OptionError> {
        let Some(value) = self.get(code) else { return Ok(None) };
        value.try_into().map(Some).map_err(|_| OptionError::length(code, value, wanted))
    }

    /// Appends them as they go over the wire, without [`code::END`].
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        for (code, value) in &self.0 {
            if value.is_empty() {
                bytes.extend([*code, 0]);
            }
            for piece in value.chunks(MAX_PIECE) {
                bytes.extend([*code, u8::try_from(piece.len()).unwrap_or(u8::MAX)]);
                bytes.extend(piece);
            }
        }
    }

    /// Reads what follows the magic cookie, and as far as option 52 says so `file` and then `sname`, which is the order that
    /// pieces are put together in (RFC 2131, section 4.1; RFC 3396, section 5).
    pub(super) fn decode(options: &[u8], file: &[u8], sname: &[u8]) -> Result<Self, DecodeError> {
        let mut all = Options::default();
        all.read("options", options)?;
        let (in_file, in_sname) = match all.remove(code::OVERLOAD).as_deref() {
            None => (false, false),
            Some([1]) => (true, false),
            Some([2]) => (false, true),
            Some([3]) => (true, true),
            Some([other]) => {
                let problem = format!("{other} says neither file nor sname");
                return Err(OptionError::value(code::OVERLOAD, problem).into());
            }
            Some(value) => return Err(OptionError::length(code::OVERLOAD, value, "1 byte").into()),
        };
        if in_file {
            all.read("file", file)?;
        }
        if in_sname {
            all.read("sname", sname)?;
        }
        // It has a meaning in the first place alone.
        all.remove(code::OVERLOAD);
        Ok(all)
    }

    /// Reads options until their end. A missing [`code::END`] is forgiven: all that was said has been read.
    fn read(&mut self, area: &'static str, mut bytes: &[u8]) -> Result<(), DecodeError> {
        while let [option, rest @ ..] = bytes {
            bytes = match *option {
                code::PAD => rest,
                code::END => break,
                option => {
                    let truncated = DecodeError::Truncated { option, area };
                    let [length, rest @ ..] = rest else { return Err(truncated) };
                    let (piece, rest) = rest.split_at_checked((*length).into()).ok_or(truncated)?;
                    self.0.entry(option).or_default().extend_from_slice(piece);
                    rest
                }
            };
        }
        Ok(())
    }
}
