//! Reading RTM_NEWQDISC and RTM_NEWTFILTER.

use nix::libc::{TCA_KIND, TCA_OPTIONS};

use super::Tbf;
use crate::attr::{self, Attrs};
use crate::uapi::*;

/// Length of `struct tcmsg`.
const TCMSG: usize = 20;

/// A queueing discipline, when it is a token bucket at the link's root.
pub(crate) fn tbf(payload: &[u8]) -> Option<Tbf> {
    let options = options_of(payload, "tbf")?;
    let parms = options.clone().find(TCA_TBF_PARMS)?;
    let rate64 = options.find(TCA_TBF_RATE64).and_then(|rate| Some(u64::from_ne_bytes(*rate.first_chunk()?)));
    // struct tc_tbf_qopt
    Some(Tbf {
        rate: rate64.or_else(|| attr::u32_at(parms, 8).map(u64::from))?,
        limit: attr::u32_at(parms, 24)?,
        buffer: attr::u32_at(parms, 28)?,
    })
}

/// The link to which a filter redirects. The reference's filters have two actions, of which the second never comes to run.
pub(crate) fn redirect(payload: &[u8]) -> Option<u32> {
    let actions = options_of(payload, "u32")?.find(TCA_U32_ACT)?;
    let (_, action) = Attrs(actions).next()?;
    let action = Attrs(action);
    if action.clone().find(TCA_ACT_KIND).map(attr::string).as_deref() != Some("mirred") {
        return None;
    }
    let parms = Attrs(action.find(TCA_ACT_OPTIONS)?).find(TCA_MIRRED_PARMS)?;
    // struct tc_mirred
    (attr::u32_at(parms, 20)? == TCA_EGRESS_REDIR).then(|| attr::u32_at(parms, 24)).flatten()
}

fn options_of<'a>(payload: &'a [u8], kind: &str) -> Option<Attrs<'a>> {
    let attributes = Attrs::after(payload, TCMSG);
    let is = attributes.clone().find(TCA_KIND).map(attr::string);
    if is.as_deref() != Some(kind) {
        return None;
    }
    attributes.find(TCA_OPTIONS).map(Attrs)
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::golden;

    /// What follows the netlink header.
    fn payload(hex: &str) -> Vec<u8> {
        golden::message(&golden::bytes(hex)).payload.to_vec()
    }

    /// An answer to tc qdisc show dev veth0, after tc qdisc add dev veth0 root handle 1: tbf rate 40gbit burst 1000000 latency
    /// 25ms, without statistics.
    const TBF: &str = "64000000 24000200 00000000 00000000 00000000 03000000 00000100 ffffffff 03000000
        08000100 74626600 38000200
        28000100 00010000 00000000 ffffffff 00000000 00000000 00000000 809b8207 340c0000 00000000
        0c000400 00f2052a 01000000";

    /// An answer to tc filter show dev veth0 parent ffff:, after tc filter add ... action mirred egress redirect dev ifb9.
    const REDIRECT: &str = "1c010000 2c000200 00000000 00000000 00000000 03000000 00080080 0000ffff 00030100
        08000100 75333200 08000b00 00000000 e8000200
        24000500 01000100 00000000 00000000 00000000 00000000 00000000 00000000 00000000
        08000200 00000080 08000100 01000100 08000b00 08000000
        a8000700 a4000100 0b000100 6d697272 65640000
        44000400 14000100 00000000 00000000 00000000 00000000
        14000700 00000000 00000000 00000000 00000000
        18000300 00000000 00000000 00000000 00000000 00000000 08000a00 00000000
        48000200 20000200 01000000 00000000 04000000 01000000 01000000 01000000 04000000
        24000100 1e000000 00000000 1e000000 00000000 00000000 00000000 00000000 00000000";

    #[test]
    fn token_bucket_is_read_with_its_rate_of_64_bits() {
        let expected = Tbf { rate: 5_000_000_000, buffer: 0xc34, limit: 0x0782_9b80 };
        assert_eq!(tbf(&payload(TBF)), Some(expected));
    }

    #[test]
    fn what_makes_a_token_bucket_is_read_as_it_was_made() {
        for rate in [1, u64::from(u32::MAX), u64::from(u32::MAX) + 1] {
            let made = Tbf { rate, buffer: 5, limit: 6 };
            assert_eq!(tbf(golden::message(&super::super::build::tbf_add(3, &made)).payload), Some(made));
        }
    }

    #[test]
    fn redirecting_filter_is_read() {
        assert_eq!(redirect(&payload(REDIRECT)), Some(4));
        assert_eq!(redirect(golden::message(&super::super::build::redirect_add(3, 9)).payload), Some(9));
        // The same with TCA_EGRESS_MIRROR, and of another kind.
        let copy =
            REDIRECT.replace("01000000 01000000 01000000 04000000", "01000000 01000000 02000000 04000000");
        assert_eq!(redirect(&payload(&copy)), None);
        assert_eq!(redirect(&payload(&REDIRECT.replace("6d697272", "6d697273"))), None);
    }

    #[test]
    fn what_is_something_else_is_none() {
        assert_eq!(tbf(&payload(REDIRECT)), None);
        assert_eq!(redirect(&payload(TBF)), None);
        assert_eq!(tbf(&payload(&TBF.replace("74626600", "68746200"))), None);
    }

    proptest! {
        /// Real answers with a few bytes changed.
        #[test]
        fn no_damage_panics(changes: Vec<(prop::sample::Index, u8)>, cut: prop::sample::Index) {
            for hex in [TBF, REDIRECT] {
                let mut payload = payload(hex);
                for (at, byte) in &changes {
                    let at = at.index(payload.len());
                    payload[at] = *byte;
                }
                payload.truncate(cut.index(payload.len()));
                let _ = (tbf(&payload), redirect(&payload));
            }
        }
    }
}
