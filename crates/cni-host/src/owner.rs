//! Whose a piece of host state is: the key of all state, and the names derived from it.

/// `(network, container ID, interface name)`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct Owner {
    pub network: String,
    pub container_id: String,
    pub ifname: String,
}

impl Owner {
    /// The host end's name of this attachment's veth pair, the same each time: `veth` and 11 hex digits of the SHA-512 of
    /// the key. DEL finds the pair by it when the container's namespace is gone.
    pub fn veth_name(&self) -> String {
        todo!()
    }
    /// The link alias (IFLA_IFALIAS, at most 255 bytes) that tells whose a link is: `cni:<network>:<container ID>:<ifname>`.
    pub fn alias(&self) -> String {
        todo!()
    }
    /// Reads an alias back; `None` for anything else's, and for the hashed form that over-long keys get.
    pub fn from_alias(alias: &str) -> Option<Self> {
        let _ = alias;
        todo!()
    }
    /// Whether an alias, in either form, is this owner's.
    pub fn owns(&self, alias: &str) -> bool {
        self.alias() == alias
    }
    /// Whether an alias, in either form, is of an attachment to this network. What cannot be told is not: GC keeps it.
    pub fn is_of_network(alias: &str, network: &str) -> bool {
        let _ = (alias, network);
        todo!()
    }
}
