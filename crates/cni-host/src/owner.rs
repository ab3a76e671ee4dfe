//! Whose a piece of host state is: the key of all state, and the names derived from it.

use sha2::{Digest, Sha512};

/// The kernel's limit (IFALIASZ in include/uapi/linux/if.h, less the NUL that old kernels store).
const MAX_ALIAS: usize = 255;

const PLAIN: &str = "cni:";
const HASHED: &str = "cni-hashed:";

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
        // NUL can be in none of the parts, so no two keys give the same text.
        let key = format!("{}\0{}\0{}", self.network, self.container_id, self.ifname);
        format!("veth{}", hex_digest(&key, 11))
    }

    /// The link alias (IFLA_IFALIAS, at most 255 bytes) that tells whose a link is: `cni:<network>:<container ID>:<ifname>`.
    /// The specification sets no limit on names, so where that is too long:
    /// `cni-hashed:<32 hex digits of the network's SHA-512>:<32 of the container ID's>:<ifname>`.
    pub fn alias(&self) -> String {
        let Owner { network, container_id, ifname } = self;
        let plain = format!("{PLAIN}{network}:{container_id}:{ifname}");
        if plain.len() <= MAX_ALIAS {
            return plain;
        }
        format!("{HASHED}{}:{}:{ifname}", hex_digest(network, 32), hex_digest(container_id, 32))
    }

    /// Reads an alias back; `None` for anything else's, and for the hashed form that over-long keys get: ask
    /// [`Owner::owns`] about that.
    pub fn from_alias(alias: &str) -> Option<Self> {
        let mut parts = alias.strip_prefix(PLAIN)?.split(':');
        let mut part = || parts.next().filter(|part| !part.is_empty()).map(str::to_owned);
        let owner = Owner { network: part()?, container_id: part()?, ifname: part()? };
        parts.next().is_none().then_some(owner)
    }

    /// Whether an alias, in either form, is this owner's.
    pub fn owns(&self, alias: &str) -> bool {
        self.alias() == alias
    }

    /// Whether an alias, in either form, is of an attachment to this network. What cannot be told is not: GC keeps it.
    pub fn is_of_network(alias: &str, network: &str) -> bool {
        match alias.strip_prefix(HASHED) {
            Some(rest) => rest.split(':').next() == Some(&hex_digest(network, 32)),
            None => Owner::from_alias(alias).is_some_and(|owner| owner.network == network),
        }
    }
}

/// The first `digits` hex digits of the text's SHA-512.
fn hex_digest(text: &str, digits: usize) -> String {
    let mut hex: String = Sha512::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
    hex.truncate(digits);
    hex
}
