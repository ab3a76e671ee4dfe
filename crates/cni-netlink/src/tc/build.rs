//! The messages about traffic control that this crate sends.

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_ECHO, NLM_F_EXCL, NLM_F_REQUEST};
use nix::libc::{RTM_DELQDISC, RTM_GETQDISC, RTM_GETTFILTER, RTM_NEWQDISC, RTM_NEWTFILTER};
use nix::libc::{TCA_KIND, TCA_OPTIONS};

use super::Tbf;
use crate::raw::Writer;
use crate::uapi::*;

const CHANGE: u16 = NLM_F_REQUEST | NLM_F_ACK;
const ADD: u16 = CHANGE | NLM_F_CREATE | NLM_F_EXCL;

/// `1:` and `ffff:`
const FIRST: u32 = 1 << 16;
const INGRESS: u32 = TC_H_INGRESS & TC_H_MAJ_MASK;

/// Priority 1, and all protocols, in `tcm_info`.
fn filter_info() -> u32 {
    1 << 16 | u32::from(ETH_P_ALL.to_be())
}

/// `tc qdisc add dev LINK root handle 1: tbf ...`
///
/// `struct tc_tbf_qopt`: rate, peak rate (`struct tc_ratespec` of 12 bytes each), limit, buffer, mtu. tc also sends tables of
/// transmission times, for kernels before 3.8, and the burst in bytes, from which the kernel would work out the buffer with
/// another rounding than the reference's CHECK expects.
pub(super) fn tbf_add(link: u32, tbf: &Tbf) -> Vec<u8> {
    let rate = u32::try_from(tbf.rate);
    let mut parms = vec![0, TC_LINKLAYER_ETHERNET];
    parms.resize(8, 0);
    parms.extend(rate.unwrap_or(u32::MAX).to_ne_bytes());
    parms.extend([0; 12]);
    parms.extend(tbf.limit.to_ne_bytes());
    parms.extend(tbf.buffer.to_ne_bytes());
    parms.extend([0; 4]);
    message(RTM_NEWQDISC, ADD, &header(link, FIRST, TC_H_ROOT, 0), |request| {
        request.string(TCA_KIND, "tbf");
        request.enclose(TCA_OPTIONS, |options| {
            options.attr(TCA_TBF_PARMS, &parms);
            if rate.is_err() {
                options.attr(TCA_TBF_RATE64, &tbf.rate.to_ne_bytes());
            }
        });
    })
}

/// `tc qdisc show dev LINK root`, for which tc lists those of all links. The acknowledgement is all that comes where there is
/// none but the kernel's own.
pub(super) fn root_get(link: u32) -> Vec<u8> {
    // Without NLM_F_ECHO the answer goes to listeners only (net/sched/sch_api.c, qdisc_notify).
    message(RTM_GETQDISC, CHANGE | NLM_F_ECHO, &header(link, 0, TC_H_ROOT, 0), |_| {})
}

/// `tc qdisc del dev LINK root handle 1: tbf`
pub(super) fn tbf_del(link: u32) -> Vec<u8> {
    let header = header(link, FIRST, TC_H_ROOT, 0);
    message(RTM_DELQDISC, CHANGE, &header, |request| request.string(TCA_KIND, "tbf"))
}

/// `tc qdisc add dev LINK ingress`
pub(super) fn ingress_add(link: u32) -> Vec<u8> {
    let header = header(link, INGRESS, TC_H_INGRESS, 0);
    message(RTM_NEWQDISC, ADD, &header, |request| request.string(TCA_KIND, "ingress"))
}

/// `tc qdisc del dev LINK ingress`
pub(super) fn ingress_del(link: u32) -> Vec<u8> {
    let header = header(link, INGRESS, TC_H_INGRESS, 0);
    message(RTM_DELQDISC, CHANGE, &header, |request| request.string(TCA_KIND, "ingress"))
}

/// `tc filter add dev LINK parent ffff: protocol all prio 1 u32 match u32 0 0 flowid 1:1 action mirred egress redirect dev TO`
pub(super) fn redirect_add(link: u32, to: u32) -> Vec<u8> {
    // struct tc_u32_sel with one struct tc_u32_key, whose mask of zeros everything matches.
    let mut selector = vec![TC_U32_TERMINAL, 0, 1];
    selector.resize(16 + 16, 0);
    // struct tc_mirred
    let parms = [0, 0, TC_ACT_STOLEN, 0, 0, TCA_EGRESS_REDIR, to];
    let parms: Vec<u8> = parms.iter().flat_map(|number| number.to_ne_bytes()).collect();
    message(RTM_NEWTFILTER, ADD, &header(link, 0, INGRESS, filter_info()), |request| {
        request.string(TCA_KIND, "u32");
        request.enclose(TCA_OPTIONS, |options| {
            options.attr(TCA_U32_CLASSID, &(FIRST | 1).to_ne_bytes());
            options.enclose(TCA_U32_ACT, |actions| {
                // The first of them.
                actions.enclose(1, |action| {
                    action.string(TCA_ACT_KIND, "mirred");
                    action.nest(TCA_ACT_OPTIONS, |mirred| mirred.attr(TCA_MIRRED_PARMS, &parms));
                });
            });
            options.attr(TCA_U32_SEL, &selector);
        });
    })
}

/// `tc filter show dev LINK parent ffff:`
pub(super) fn filter_dump(link: u32) -> Vec<u8> {
    message(RTM_GETTFILTER, NLM_F_REQUEST | NLM_F_DUMP, &header(link, 0, INGRESS, 0), |_| {})
}

/// `struct tcmsg`
fn header(link: u32, handle: u32, parent: u32, info: u32) -> Vec<u8> {
    [0, link, handle, parent, info].iter().flat_map(|number| number.to_ne_bytes()).collect()
}

fn message(kind: u16, flags: u16, header: &[u8], attributes: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut request = Writer::default();
    request.message(kind, flags, 0, header, attributes);
    request.into_bytes()
}

// The bytes below are those of a little-endian machine.
#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use super::*;
    use crate::golden::assert_bytes;

    /// tc qdisc add dev veth0 root handle 1: tbf rate 8mbit burst 100000 latency 25ms
    ///
    /// tc's message goes on with TCA_TBF_BURST and TCA_TBF_RTAB, and has the numbers for reading that table, 3 and -1, in
    /// the first word of the rate and the one after it.
    #[test]
    fn token_bucket() {
        let tbf = Tbf { rate: 1_000_000, buffer: 1_562_500, limit: 125_000 };
        assert_bytes(
            &tbf_add(3, &tbf),
            "58000000 24000506 00000000 00000000
             00000000 03000000 00000100 ffffffff 00000000
             08000100 74626600 2c000200
             28000100 00010000 00000000 40420f00 00000000 00000000 00000000 48e80100 84d71700 00000000",
        );
    }

    /// tc qdisc add dev veth0 root handle 1: tbf rate 40gbit burst 1000000 latency 25ms
    #[test]
    fn rate_of_more_than_32_bits_has_an_attribute_of_its_own() {
        let tbf = Tbf { rate: 5_000_000_000, buffer: 3125, limit: 126_000_000 };
        assert_bytes(
            &tbf_add(3, &tbf),
            "64000000 24000506 00000000 00000000
             00000000 03000000 00000100 ffffffff 00000000
             08000100 74626600 38000200
             28000100 00010000 00000000 ffffffff 00000000 00000000 00000000 809b8207 350c0000 00000000
             0c000400 00f2052a 01000000",
        );
    }

    /// tc qdisc del dev veth0 root handle 1:, which says nothing of the kind.
    #[test]
    fn token_bucket_is_removed_by_handle_and_kind() {
        assert_bytes(
            &tbf_del(3),
            "2c000000 25000500 00000000 00000000
             00000000 03000000 00000100 ffffffff 00000000 08000100 74626600",
        );
    }

    /// No command of tc: it dumps them all.
    #[test]
    fn root_of_one_link() {
        assert_bytes(
            &root_get(3),
            "24000000 26000d00 00000000 00000000 00000000 03000000 00000000 ffffffff 00000000",
        );
    }

    /// tc qdisc add dev veth0 handle ffff: ingress; tc qdisc del dev veth0 handle ffff: ingress
    #[test]
    fn ingress_discipline() {
        let rest = "00000000 03000000 0000ffff f1ffffff 00000000 0c000100 696e6772 65737300";
        assert_bytes(&ingress_add(3), &format!("30000000 24000506 00000000 00000000 {rest}"));
        assert_bytes(&ingress_del(3), &format!("30000000 25000500 00000000 00000000 {rest}"));
    }

    /// tc filter add dev veth0 parent ffff: protocol all prio 1 u32 match u32 0 0 flowid 1:1 action mirred egress
    /// redirect dev ifb9
    #[test]
    fn redirecting_filter() {
        assert_bytes(
            &redirect_add(3, 4),
            "94000000 2c000506 00000000 00000000
             00000000 03000000 00000000 0000ffff 00030100
             08000100 75333200 68000200
             08000100 01000100 38000700 34000100
             0b000100 6d697272 65640000 24000280
             20000200 00000000 00000000 04000000 00000000 00000000 01000000 04000000
             24000500 01000100 00000000 00000000 00000000 00000000 00000000 00000000 00000000",
        );
    }

    /// tc filter show dev veth0 parent ffff:
    #[test]
    fn filters_of_one_link() {
        assert_bytes(
            &filter_dump(3),
            "24000000 2e000103 00000000 00000000 00000000 03000000 00000000 0000ffff 00000000",
        );
    }
}
