//! What the configuration says of options: `provide` and `request`, as the reference's dhcp plugin reads them.

use serde::Deserialize;

use super::error::SettingsError;
use super::{Message, code};

/// How a key, which is cut to it, fits option 61 with its type in front.
const MAX_KEY: usize = 254;

/// The longest value that the reference takes, and the most that all may have together, so that messages fit a frame.
const MAX_VALUE: usize = 255;
const MAX_PROVIDED: usize = 1024;

/// The longest message that is taken: what a frame of 1500 bytes holds besides the headers of IPv4 and UDP.
const MAX_MESSAGE: u16 = 1472;

/// What is asked for unless `skipDefault` says otherwise, behind what the configuration asks for.
const REQUESTED: [u8; 2] = [code::ROUTERS, code::SUBNET_MASK];

/// What the reference's library asks for where nothing is left to ask for.
const REQUESTED_OTHERWISE: [u8; 4] = [code::SUBNET_MASK, code::ROUTERS, code::DOMAIN_NAME, code::DNS_SERVERS];

/// An element of `ipam.provide`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Provide {
    /// A name or number ([`option_code`]).
    pub option: String,
    /// The value; none when empty.
    pub value: String,
    /// The key of `CNI_ARGS` that has the value; it wins where it is there.
    pub from_arg: String,
}

/// An element of `ipam.request`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Request {
    /// A name or number ([`option_code`]); none when empty.
    pub option: String,
    /// Do not ask for options 3 and 1 besides.
    pub skip_default: bool,
}

/// The options that a client sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    client_id: Vec<u8>,
    provided: Vec<(u8, Vec<u8>)>,
    requested: Vec<u8>,
}

impl Settings {
    /// `key` is [`lease_key`], `args` the text of `CNI_ARGS`.
    pub fn new(
        key: &[u8],
        provide: &[Provide],
        request: &[Request],
        args: &str,
    ) -> Result<Self, SettingsError> {
        let mut client_id = [&[0], key].concat();
        let mut provided: Vec<(u8, Vec<u8>)> = Vec::new();
        for wanted in provide {
            let Some((code, value)) = provided_value(wanted, args)? else { continue };
            match code {
                code::CLIENT_ID => client_id = typed(value),
                code::USER_CLASS => provided.push((code, user_class(value))),
                _ => provided.push((code, value.to_vec())),
            }
        }
        let length = provided.iter().map(|(_, value)| value.len()).sum();
        if length > MAX_PROVIDED {
            return Err(SettingsError::TooMany(length));
        }
        Ok(Settings { client_id, provided, requested: requested(request)? })
    }

    /// The codes of option 55.
    pub fn requested(&self) -> &[u8] {
        &self.requested
    }

    /// Puts in who the client is: the only one of these options that goes into every message.
    pub fn identify(&self, message: &mut Message) {
        message.options.set(code::CLIENT_ID, self.client_id.clone());
    }

    /// Puts in all of them.
    pub fn ask(&self, message: &mut Message) {
        self.identify(message);
        message.options.set(code::MAX_MESSAGE_SIZE, MAX_MESSAGE.to_be_bytes());
        for (code, value) in &self.provided {
            message.options.set(*code, value.clone());
        }
        message.options.set(code::PARAMETER_LIST, self.requested.clone());
    }

    /// Whether a reply that names its client names this one (RFC 6842).
    pub fn is_for_this_client(&self, reply: &Message) -> bool {
        reply.options.get(code::CLIENT_ID).is_none_or(|id| id == self.client_id)
    }
}

/// What a lease is known by, and what option 61 says behind its type: `container/network/interface`, cut as the reference cuts it.
pub fn lease_key(container: &str, network: &str, ifname: &str) -> Vec<u8> {
    let mut key = format!("{container}/{network}/{ifname}").into_bytes();
    key.truncate(MAX_KEY);
    key
}

/// An option by the name that dhcp-options(5) has for it, as far as the reference knows it, or by its number.
pub fn option_code(name: &str) -> Result<u8, SettingsError> {
    Ok(match name {
        "subnet-mask" => code::SUBNET_MASK,
        "routers" => code::ROUTERS,
        "host-name" => code::HOST_NAME,
        "vendor-class-identifier" => code::VENDOR_CLASS,
        "dhcp-client-identifier" => code::CLIENT_ID,
        "user-class" => code::USER_CLASS,
        // Go's ParseUint takes no sign, which Rust's parse would.
        number if number.starts_with('+') => return Err(SettingsError::Unknown(name.to_owned())),
        number => number.parse().map_err(|_| SettingsError::Unknown(name.to_owned()))?,
    })
}

fn provided_value<'a>(wanted: &'a Provide, args: &'a str) -> Result<Option<(u8, &'a [u8])>, SettingsError> {
    let code = option_code(&wanted.option)?;
    // Of a key that is there twice the last counts.
    let mut from_args = args.rsplit(';').filter_map(|pair| pair.split_once('='));
    let from_arg = from_args.find(|(key, _)| *key == wanted.from_arg).map(|(_, value)| value);
    let Some(value) = from_arg.or_else(|| Some(wanted.value.as_str()).filter(|value| !value.is_empty()))
    else {
        return Ok(None);
    };
    if value.len() > MAX_VALUE {
        return Err(SettingsError::TooLong { option: wanted.option.clone(), length: value.len() });
    }
    let own =
        [code::PAD, code::REQUESTED_ADDRESS, code::OVERLOAD, code::MESSAGE_TYPE, code::SERVER_ID, code::END];
    if own.contains(&code) {
        return Err(SettingsError::Reserved(wanted.option.clone()));
    }
    Ok(Some((code, value.as_bytes())))
}

fn requested(request: &[Request]) -> Result<Vec<u8>, SettingsError> {
    let mut codes = Vec::new();
    for wanted in request.iter().filter(|wanted| !wanted.option.is_empty()) {
        codes.push(option_code(&wanted.option)?);
    }
    if !request.iter().any(|wanted| wanted.skip_default) {
        codes.extend(REQUESTED);
    } else if codes.is_empty() {
        codes.extend(REQUESTED_OTHERWISE);
    }
    let mut once = Vec::new();
    for code in codes {
        if !once.contains(&code) {
            once.push(code);
        }
    }
    Ok(once)
}

/// Option 61 is a type and an identifier (RFC 2132, section 9.14); 0 says that it is not a hardware address. A value that begins
/// with a control character has its type already.
fn typed(value: &[u8]) -> Vec<u8> {
    match value {
        [0..32, _, ..] => value.to_vec(),
        _ => [&[0], value].concat(),
    }
}

/// Option 77 is classes, each behind its length (RFC 3004, section 4); the configuration gives one. A value that begins with a
/// control character and is such a list is left as it is.
fn user_class(value: &[u8]) -> Vec<u8> {
    let mut rest = value;
    while let [length @ 1..=255, after @ ..] = rest {
        let Some((_, after)) = after.split_at_checked((*length).into()) else { break };
        rest = after;
    }
    match value {
        [0..32, ..] if rest.is_empty() => value.to_vec(),
        [] => Vec::new(),
        _ => [&[u8::try_from(value.len()).unwrap_or(u8::MAX)], value].concat(),
    }
}
