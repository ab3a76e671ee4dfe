//! VLANs of bridge ports: `bridge vlan`.

use crate::{Result, Socket};

/// A range of VLANs on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct BridgeVlan {
    /// First and last VLAN, 1 to 4094; equal for one.
    pub first: u16,
    pub last: u16,
    pub pvid: bool,
    pub untagged: bool,
}

impl Socket {
    /// Adds VLANs to a bridge port, or to the bridge itself with `on_bridge` (`self` in iproute2).
    pub fn bridge_vlan_add(&mut self, index: u32, vlans: &[BridgeVlan], on_bridge: bool) -> Result<()> {
        let _ = (index, vlans, on_bridge);
        todo!()
    }
    /// Removes VLANs from a bridge port, or from the bridge itself.
    pub fn bridge_vlan_del(&mut self, index: u32, vlans: &[BridgeVlan], on_bridge: bool) -> Result<()> {
        let _ = (index, vlans, on_bridge);
        todo!()
    }
    /// The VLANs of one port, ranges compressed.
    pub fn bridge_vlan_dump(&mut self, index: u32) -> Result<Vec<BridgeVlan>> {
        let _ = index;
        todo!()
    }
}
