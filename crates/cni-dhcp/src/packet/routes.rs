//! Routes that a server gives: classful (option 33) and classless (option 121).

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::code;
use super::error::OptionError;
use super::lease::LeaseRoute;

/// Pairs of destination and router. The prefix is that of the destination's class (RFC 2132, section 5.8).
pub(super) fn classful(value: &[u8]) -> Result<Vec<LeaseRoute>, OptionError> {
    let (pairs @ [_, ..], []) = value.as_chunks::<8>() else {
        return Err(OptionError::length(code::STATIC_ROUTES, value, "a multiple of 8"));
    };
    pairs.iter().map(|[a, b, c, d, router @ ..]| of_class([*a, *b, *c, *d].into(), *router)).collect()
}

fn of_class(destination: Ipv4Addr, router: [u8; 4]) -> Result<LeaseRoute, OptionError> {
    let prefix = match destination.octets()[0] {
        1..=127 => 8,
        128..=191 => 16,
        192..=223 => 24,
        // The RFC forbids the default route here, and further classes have no length.
        _ => {
            let problem = format!("{destination} is in no class with a prefix length");
            return Err(OptionError::value(code::STATIC_ROUTES, problem));
        }
    };
    route(code::STATIC_ROUTES, destination, prefix, router)
}

/// A prefix length, as many bytes of the destination as that makes significant, and a router, of which 0.0.0.0 means on-link
/// (RFC 3442).
pub(super) fn classless(value: &[u8]) -> Result<Vec<LeaseRoute>, OptionError> {
    let wanted = OptionError::length(code::CLASSLESS_ROUTES, value, "those of whole routes");
    let mut routes = Vec::new();
    let mut rest = value;
    while let [prefix, after @ ..] = rest {
        let significant = usize::from(prefix.div_ceil(8));
        let mut destination = [0; 4];
        let Some(room) = destination.get_mut(..significant) else {
            let problem = format!("a prefix of {prefix} bits");
            return Err(OptionError::value(code::CLASSLESS_ROUTES, problem));
        };
        let Some((bytes, after)) = after.split_at_checked(significant) else { return Err(wanted) };
        room.copy_from_slice(bytes);
        let Some((router, after)) = after.split_first_chunk::<4>() else { return Err(wanted) };
        routes.push(route(code::CLASSLESS_ROUTES, destination.into(), *prefix, *router)?);
        rest = after;
    }
    if routes.is_empty() { Err(wanted) } else { Ok(routes) }
}

/// Bits of the destination beyond its prefix are cut off, as RFC 3442 tells clients to.
fn route(option: u8, destination: Ipv4Addr, prefix: u8, router: [u8; 4]) -> Result<LeaseRoute, OptionError> {
    let network = Ipv4Net::new(destination, prefix)
        .map_err(|_| OptionError::value(option, format!("a prefix of {prefix} bits")))?;
    Ok(LeaseRoute { dst: network.trunc(), gateway: router.into() })
}
