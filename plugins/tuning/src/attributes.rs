//! The link attributes that the plugin knows: as configured, as kept for DEL, as a link has them.

use cni_netlink::{Link, LinkChange, MacAddr};
use cni_plugin::{Error, Result};

/// Attributes of a link; those that are `None` are nobody's business.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) mac: Option<MacAddr>,
    pub(crate) promisc: Option<bool>,
    /// In bytes, never 0.
    pub(crate) mtu: Option<u32>,
    pub(crate) allmulti: Option<bool>,
    /// In packets.
    pub(crate) txqlen: Option<u32>,
}

impl Attributes {
    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Attributes::default()
    }

    /// The same attributes as the link has them now.
    pub(crate) fn of(&self, link: &Link) -> Self {
        Attributes {
            mac: self.mac.and(link.mac),
            promisc: self.promisc.and(Some(link.promisc)),
            mtu: self.mtu.and(Some(link.mtu)),
            allmulti: self.allmulti.and(Some(link.allmulti)),
            txqlen: self.txqlen.and(Some(link.txqlen)),
        }
    }

    /// These, and of `other` what these lack.
    pub(crate) fn or(&self, other: &Attributes) -> Self {
        Attributes {
            mac: self.mac.or(other.mac),
            promisc: self.promisc.or(other.promisc),
            mtu: self.mtu.or(other.mtu),
            allmulti: self.allmulti.or(other.allmulti),
            txqlen: self.txqlen.or(other.txqlen),
        }
    }

    /// What has to be changed for the link to have all of these. Setting what is there already can be refused: the
    /// address of a device that is up, for one (net/ethernet/eth.c, eth_prepare_mac_addr_change).
    pub(crate) fn missing(&self, link: &Link) -> Self {
        Attributes {
            mac: self.mac.filter(|mac| link.mac != Some(*mac)),
            promisc: self.promisc.filter(|on| *on != link.promisc),
            mtu: self.mtu.filter(|mtu| *mtu != link.mtu),
            allmulti: self.allmulti.filter(|on| *on != link.allmulti),
            txqlen: self.txqlen.filter(|length| *length != link.txqlen),
        }
    }

    /// Each attribute by itself.
    pub(crate) fn each(&self) -> impl Iterator<Item = Self> {
        let none = Attributes::default();
        [
            Attributes { mtu: self.mtu, ..none },
            Attributes { mac: self.mac, ..none },
            Attributes { promisc: self.promisc, ..none },
            Attributes { allmulti: self.allmulti, ..none },
            Attributes { txqlen: self.txqlen, ..none },
        ]
        .into_iter()
        .filter(|one| !one.is_empty())
    }

    /// The message that sets them.
    pub(crate) fn change(&self) -> LinkChange<'static> {
        LinkChange {
            mac: self.mac,
            promisc: self.promisc,
            mtu: self.mtu,
            allmulti: self.allmulti,
            txqlen: self.txqlen,
            ..LinkChange::default()
        }
    }

    /// CHECK: the link has all of these. The first that differs is an error.
    pub(crate) fn check(&self, link: &Link) -> Result<()> {
        let on = |on: bool| if on { "on" } else { "off" };
        let missing = self.missing(link);
        let differs = |what: &str, is: String, wanted: String| {
            Err(Error::failed(format!("the {what} of {} is {is}, not {wanted}", link.name)))
        };
        if let Some(mac) = missing.mac {
            return differs("MAC address", link.address_text().unwrap_or_default(), mac.to_string());
        }
        if let Some(promisc) = missing.promisc {
            return differs("promiscuous mode", on(link.promisc).into(), on(promisc).into());
        }
        if let Some(mtu) = missing.mtu {
            return differs("MTU", link.mtu.to_string(), mtu.to_string());
        }
        if let Some(allmulti) = missing.allmulti {
            return differs("all-multicast mode", on(link.allmulti).into(), on(allmulti).into());
        }
        if let Some(txqlen) = missing.txqlen {
            return differs("transmit queue length", link.txqlen.to_string(), txqlen.to_string());
        }
        Ok(())
    }
}
