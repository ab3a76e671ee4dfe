//! Whose a piece of host state is: the key of all state, and the names derived from it.

use std::collections::HashSet;

use sha2::{Digest, Sha256, Sha512};

/// The kernel's limit (IFALIASZ in include/uapi/linux/if.h, less the NUL that old kernels store).
const MAX_ALIAS: usize = 255;

/// What nft(8) takes for an element's comment (NFTNL_UDATA_COMMENT_MAXLEN): more could be written, but a ruleset that was
/// listed could not be loaded again.
const MAX_COMMENT: usize = 128;

const PLAIN: &str = "cni:";
const HASHED: &str = "cni-hashed:";

/// `(network, container ID, interface name)`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The network's name.
    pub network: String,
    /// `CNI_CONTAINERID`
    pub container_id: String,
    /// `CNI_IFNAME`: the interface's name in the container.
    pub ifname: String,
}

impl Owner {
    /// The host end's name of this attachment's veth pair, the same each time: `veth` and 11 hex digits of the SHA-512 of
    /// the key. DEL finds the pair by it when the container's namespace is gone.
    pub fn veth_name(&self) -> String {
        format!("veth{}", self.digest(11))
    }

    /// The name of this attachment's link while it cannot have its own yet: `cni` and 12 hex digits of the SHA-512 of the key. DEL
    /// finds by it what an ADD left that was killed meanwhile.
    pub fn temporary_name(&self) -> String {
        format!("cni{}", self.digest(12))
    }

    /// The first `digits` hex digits, 128 at most, of the SHA-512 of the key, for names of links and files.
    pub fn digest(&self, digits: usize) -> String {
        // NUL can be in none of the parts, so no two keys give the same text.
        hex_digest(&format!("{}\0{}\0{}", self.network, self.container_id, self.ifname), digits)
    }

    /// The link alias (IFLA_IFALIAS, at most 255 bytes) that tells whose a link is: `cni:<network>:<container ID>:<ifname>`.
    /// The specification sets no limit on names, so where that is too long:
    /// `cni-hashed:<32 hex digits of the network's SHA-512>:<32 of the container ID's>:<ifname>`.
    pub fn alias(&self) -> String {
        self.tag(MAX_ALIAS)
    }

    /// The comment that tells whose an element of an nf_tables set is, at most 128 bytes: the alias, hashed where that is
    /// too long.
    pub fn comment(&self) -> String {
        self.tag(MAX_COMMENT)
    }

    /// The key of this owner in a map of nf_tables whose keys are of type ifname: 15 hex digits, which is what fits, of the SHA-256
    /// of the comment.
    pub fn short_key(&self) -> String {
        hex::<Sha256>(&self.comment(), 15)
    }

    fn tag(&self, max: usize) -> String {
        let Owner { network, container_id, ifname } = self;
        let plain = format!("{PLAIN}{network}:{container_id}:{ifname}");
        if plain.len() <= max {
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

    /// Whether an alias or comment, in either form, is this owner's.
    pub fn owns(&self, alias: &str) -> bool {
        self.alias() == alias || self.comment() == alias
    }

    /// All aliases and comments of these owners: a GC that asked each of many owners about each of many links would be at it for
    /// minutes.
    pub fn tags(owners: &[Owner]) -> HashSet<String> {
        owners.iter().flat_map(|owner| [owner.alias(), owner.comment()]).collect()
    }

    /// Whether an alias, in either form, tells of an owner at all.
    pub fn is_alias(alias: &str) -> bool {
        alias.starts_with(HASHED) || Owner::from_alias(alias).is_some()
    }

    /// Whether an alias or comment, in either form, is of an attachment of this container, to whatever network.
    pub fn is_of_container(alias: &str, container_id: &str) -> bool {
        match alias.strip_prefix(HASHED) {
            Some(rest) => rest.split(':').nth(1) == Some(&hex_digest(container_id, 32)),
            None => Owner::from_alias(alias).is_some_and(|owner| owner.container_id == container_id),
        }
    }

    /// Whether an alias or comment, in either form, is of an attachment to this network. What cannot be told is not: GC keeps it.
    pub fn is_of_network(alias: &str, network: &str) -> bool {
        match alias.strip_prefix(HASHED) {
            Some(rest) => rest.split(':').next() == Some(&hex_digest(network, 32)),
            None => Owner::from_alias(alias).is_some_and(|owner| owner.network == network),
        }
    }
}

/// The first `digits` hex digits of the text's SHA-512.
pub(crate) fn hex_digest(text: &str, digits: usize) -> String {
    hex::<Sha512>(text, digits)
}

fn hex<D: Digest>(text: &str, digits: usize) -> String {
    let mut hex: String = D::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
    hex.truncate(digits);
    hex
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn owner(network: &str, container_id: &str, ifname: &str) -> Owner {
        Owner { network: network.into(), container_id: container_id.into(), ifname: ifname.into() }
    }

    /// A name that changes between releases would leave every running container's link behind. The digits are those of
    /// `printf 'blue\\0c1\\0eth0' | sha512sum`.
    #[test]
    fn the_veth_name_of_a_key_never_changes() {
        assert_eq!(owner("blue", "c1", "eth0").veth_name(), "vethd3c1b05f553");
    }

    /// Counts that are in the kernel are found by it. The digits are those of `printf cni:blue:c1:eth0 | sha256sum`.
    #[test]
    fn the_short_key_of_an_owner_never_changes() {
        assert_eq!(owner("blue", "c1", "eth0").short_key(), "23b4b120bad08f0");
    }

    #[test]
    fn parts_that_read_alike_when_joined_have_names_of_their_own() {
        assert_ne!(owner("ab", "c", "eth0").veth_name(), owner("a", "bc", "eth0").veth_name());
    }

    #[test]
    fn an_alias_is_read_back() {
        let owner = owner("blue", "c1", "eth0");
        assert_eq!(owner.alias(), "cni:blue:c1:eth0");
        assert_eq!(Owner::from_alias("cni:blue:c1:eth0"), Some(owner));
    }

    #[test]
    fn an_alias_of_somebody_else_is_nobody() {
        for alias in
            ["", "cni:", "cni:blue", "cni:blue:c1", "cni:blue:c1:", "cni::c1:eth0", "cni:a:b:c:d", "uplink"]
        {
            assert_eq!(Owner::from_alias(alias), None, "{alias:?}");
            assert!(!Owner::is_alias(alias), "{alias:?}");
            assert!(!Owner::is_of_network(alias, "blue"), "{alias:?}");
        }
    }

    #[test]
    fn an_alias_belongs_to_its_own_network_only() {
        let alias = owner("blue", "c1", "eth0").alias();
        assert!(Owner::is_of_network(&alias, "blue"));
        assert!(!Owner::is_of_network(&alias, "blu"));
        assert!(!Owner::is_of_network(&alias, "c1"));
        assert!(Owner::is_of_container(&alias, "c1"));
        assert!(!Owner::is_of_container(&alias, "blue"));
    }

    #[test]
    fn an_over_long_key_is_hashed_but_still_told_apart() {
        let long = owner("blue", &"c".repeat(300), "eth0");
        let other = owner("blue", &"c".repeat(301), "eth0");
        assert_eq!(Owner::from_alias(&long.alias()), None);
        assert!(long.owns(&long.alias()));
        assert!(!other.owns(&long.alias()));
        assert!(Owner::is_of_network(&long.alias(), "blue"));
        assert!(!Owner::is_of_network(&long.alias(), "green"));
        assert!(Owner::is_of_container(&long.alias(), &long.container_id));
        assert!(!Owner::is_of_container(&long.alias(), &other.container_id));
    }

    #[test]
    fn the_longest_plain_alias_is_what_the_kernel_takes() {
        let fits = owner("blue", &"c".repeat(255 - "cni:blue::eth0".len()), "eth0");
        assert_eq!(fits.alias().len(), 255);
        assert_eq!(Owner::from_alias(&fits.alias()), Some(fits));
    }

    fn key() -> impl Strategy<Value = Owner> {
        let name = "[a-zA-Z0-9][a-zA-Z0-9_.-]{0,300}";
        (name, name, "[^\\s:/\\x00]{1,15}").prop_map(|(network, id, ifname)| owner(&network, &id, &ifname))
    }

    proptest! {
        #[test]
        fn every_key_has_names_that_the_kernel_takes(owner in key()) {
            prop_assert_eq!((owner.veth_name().len(), owner.temporary_name().len()), (15, 15));
            prop_assert!(owner.alias().len() <= 255);
            prop_assert!(owner.comment().len() <= 128);
        }

        #[test]
        fn every_alias_is_known_again(owner in key(), other in key()) {
            for alias in [owner.alias(), owner.comment()] {
                prop_assert!(owner.owns(&alias) && Owner::is_alias(&alias));
                prop_assert!(Owner::is_of_network(&alias, &owner.network));
                prop_assert_eq!(other.owns(&alias), other == owner);
                prop_assert_eq!(Owner::is_of_network(&alias, &other.network), other.network == owner.network);
                let is_others = Owner::is_of_container(&alias, &other.container_id);
                prop_assert_eq!(is_others, other.container_id == owner.container_id);
                if let Some(read) = Owner::from_alias(&alias) {
                    prop_assert_eq!(&read, &owner);
                }
            }
        }

        #[test]
        fn no_alias_makes_the_reader_panic(alias in ".*") {
            let _ = (Owner::from_alias(&alias), Owner::is_of_network(&alias, "blue"));
        }
    }
}
