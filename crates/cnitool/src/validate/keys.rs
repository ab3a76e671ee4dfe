//! The keys that configurations have, as data: those of the specification, and those of the reference's plugins
//! (1.10.0, the json tags of each plugin's `NetConf`) with what the plugins refuse.
//!
//! A plugin that is not here is checked for the specification's keys alone.

/// What a value must be. `null` is always allowed, for unset.
#[derive(Debug)]
pub(super) enum Kind {
    /// Not looked into.
    Any,
    Bool,
    /// libcni takes `"true"` and `"false"` for the list's own switches.
    BoolOrText,
    Text,
    /// An integer, both bounds included.
    Int(i128, i128),
    /// An IP address; empty for none.
    Ip,
    /// An IP address or a subnet with its prefix length.
    Cidr,
    /// A hardware address; empty for none.
    Mac,
    /// One of these words; empty for the default.
    OneOf(&'static [&'static str]),
    List(&'static Kind),
    /// An object of any keys.
    Map(&'static Kind),
    /// An object of these keys.
    Object(&'static [Key]),
    /// An object that a table chosen by its `type` describes.
    Ipam,
}

/// A key and what its value must be.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
}

const fn key(name: &'static str, kind: Kind) -> Key {
    Key { name, kind }
}

/// Go's `int`.
const INT: Kind = Kind::Int(i64::MIN as i128, i64::MAX as i128);
const U32: Kind = Kind::Int(0, u32::MAX as i128);
const U64: Kind = Kind::Int(0, u64::MAX as i128);
/// IEEE 802.1Q, without the reserved 4095.
const VLAN: Kind = Kind::Int(0, 4094);
const TRUNK_VLAN: Kind = Kind::Int(1, 4094);
const TEXTS: Kind = Kind::List(&Kind::Text);
const MASQ_BACKEND: Kind = Kind::OneOf(&["iptables", "nftables"]);

/// A list of plugins; its keys are matched to the letter.
pub(super) const LIST: &[Key] = &[
    key("cniVersion", Kind::Text),
    key("cniVersions", TEXTS),
    key("name", Kind::Text),
    key("disableCheck", Kind::BoolOrText),
    key("disableGC", Kind::BoolOrText),
    key("loadOnlyInlinedPlugins", Kind::BoolOrText),
    key("plugins", Kind::List(&Kind::Any)),
    // Not the specification's: podman keeps a network's labels here.
    key("args", Kind::Any),
];

/// What every plugin's configuration may have.
pub(super) const PLUGIN: &[Key] = &[
    key("cniVersion", Kind::Text),
    key("name", Kind::Text),
    key("type", Kind::Text),
    key("capabilities", Kind::Map(&Kind::Bool)),
    key("ipMasq", Kind::Bool),
    key("ipam", Kind::Ipam),
    key("dns", Kind::Object(DNS)),
    key("args", Kind::Map(&Kind::Any)),
    key("runtimeConfig", Kind::Map(&Kind::Any)),
    key("prevResult", Kind::Map(&Kind::Any)),
    // This project's plugins log when asked to; others pass them by.
    key("logLevel", Kind::OneOf(&["error", "warn", "info", "debug"])),
    key("logFile", Kind::Text),
];

/// What every `ipam` object may have.
pub(super) const IPAM: &[Key] = &[key("type", Kind::Text)];

const DNS: &[Key] =
    &[key("nameservers", TEXTS), key("domain", Kind::Text), key("search", TEXTS), key("options", TEXTS)];

const ROUTE: &[Key] = &[
    key("dst", Kind::Cidr),
    key("gw", Kind::Ip),
    key("mtu", INT),
    key("advmss", INT),
    key("priority", INT),
    key("table", INT),
    key("scope", INT),
];
const ROUTES: Kind = Kind::List(&Kind::Object(ROUTE));

const RANGE: &[Key] = &[
    key("subnet", Kind::Cidr),
    key("rangeStart", Kind::Ip),
    key("rangeEnd", Kind::Ip),
    key("gateway", Kind::Ip),
];

/// The keys of a plugin beside [`PLUGIN`]; `None` when it is not known here.
pub(super) fn of_plugin(plugin_type: &str) -> Option<&'static [Key]> {
    Some(match plugin_type {
        "bridge" => BRIDGE,
        "ptp" => PTP,
        "macvlan" => MACVLAN,
        "ipvlan" => IPVLAN,
        "vlan" => VLAN_PLUGIN,
        "host-device" => HOST_DEVICE,
        "dummy" | "loopback" => &[],
        "tap" => TAP,
        "portmap" => PORTMAP,
        "firewall" => FIREWALL,
        "tuning" => TUNING,
        "bandwidth" => BANDWIDTH,
        "sbr" => SBR,
        "vrf" => VRF,
        _ => return None,
    })
}

/// The keys of an IPAM plugin beside [`IPAM`]; `None` when it is not known here.
pub(super) fn of_ipam(plugin_type: &str) -> Option<&'static [Key]> {
    Some(match plugin_type {
        "host-local" => HOST_LOCAL,
        "static" => STATIC,
        "dhcp" => DHCP,
        _ => return None,
    })
}

const BRIDGE: &[Key] = &[
    key("bridge", Kind::Text),
    key("isGateway", Kind::Bool),
    key("isDefaultGateway", Kind::Bool),
    key("forceAddress", Kind::Bool),
    key("ipMasqBackend", MASQ_BACKEND),
    key("mtu", INT),
    key("hairpinMode", Kind::Bool),
    key("promiscMode", Kind::Bool),
    key("vlan", VLAN),
    key("vlanTrunk", Kind::List(&Kind::Object(VLAN_TRUNK))),
    key("preserveDefaultVlan", Kind::Bool),
    key("macspoofchk", Kind::Bool),
    key("enabledad", Kind::Bool),
    key("disableContainerInterface", Kind::Bool),
    key("portIsolation", Kind::Bool),
];
const VLAN_TRUNK: &[Key] = &[key("minID", TRUNK_VLAN), key("maxID", TRUNK_VLAN), key("id", TRUNK_VLAN)];

const PTP: &[Key] = &[key("ipMasqBackend", MASQ_BACKEND), key("mtu", INT)];

const MACVLAN: &[Key] = &[
    key("master", Kind::Text),
    key("mode", Kind::OneOf(&["bridge", "private", "vepa", "passthru"])),
    key("mtu", INT),
    key("mac", Kind::Mac),
    key("linkInContainer", Kind::Bool),
    key("bcqueuelen", U32),
];

const IPVLAN: &[Key] = &[
    key("master", Kind::Text),
    key("mode", Kind::OneOf(&["l2", "l3", "l3s"])),
    key("mtu", INT),
    key("linkInContainer", Kind::Bool),
];

const VLAN_PLUGIN: &[Key] =
    &[key("master", Kind::Text), key("vlanId", VLAN), key("mtu", INT), key("linkInContainer", Kind::Bool)];

const HOST_DEVICE: &[Key] = &[
    key("device", Kind::Text),
    key("hwaddr", Kind::Mac),
    key("kernelpath", Kind::Text),
    key("pciBusID", Kind::Text),
    key("useInterfaceNetwork", Kind::Bool),
];

const TAP: &[Key] = &[
    key("multiQueue", Kind::Bool),
    key("mtu", INT),
    key("mac", Kind::Mac),
    key("owner", U32),
    key("group", U32),
    key("selinuxContext", Kind::Text),
    key("bridge", Kind::Text),
];

const PORTMAP: &[Key] = &[
    key("backend", MASQ_BACKEND),
    key("snat", Kind::Bool),
    key("conditionsV4", TEXTS),
    key("conditionsV6", TEXTS),
    key("masqAll", Kind::Bool),
    key("markMasqBit", Kind::Int(0, 31)),
    key("externalSetMarkChain", Kind::Text),
];

const FIREWALL: &[Key] = &[
    // The reference takes any other word for no word, so it is not refused here either.
    key("backend", Kind::Text),
    key("iptablesAdminChainName", Kind::Text),
    key("firewalldZone", Kind::Text),
    key("ingressPolicy", Kind::OneOf(&["open", "same-bridge", "isolated"])),
];

const TUNING: &[Key] = &[
    key("dataDir", Kind::Text),
    key("sysctl", Kind::Map(&Kind::Text)),
    key("mac", Kind::Mac),
    key("promisc", Kind::Bool),
    key("mtu", INT),
    key("txQLen", INT),
    key("allmulti", Kind::Bool),
];

const BANDWIDTH: &[Key] =
    &[key("ingressRate", U64), key("ingressBurst", U64), key("egressRate", U64), key("egressBurst", U64)];

const SBR: &[Key] = &[
    key("table", Kind::Int(1, u32::MAX as i128)),
    key("gateways", Kind::List(&Kind::Ip)),
    key("addSourceHints", Kind::Bool),
];

const VRF: &[Key] = &[key("vrfname", Kind::Text), key("table", U32)];

const HOST_LOCAL: &[Key] = &[
    key("name", Kind::Text),
    key("routes", ROUTES),
    key("dataDir", Kind::Text),
    key("resolvConf", Kind::Text),
    key("ranges", Kind::List(&Kind::List(&Kind::Object(RANGE)))),
    // The form with a single range, which is older than `ranges`.
    key("subnet", Kind::Cidr),
    key("rangeStart", Kind::Ip),
    key("rangeEnd", Kind::Ip),
    key("gateway", Kind::Ip),
];

const STATIC: &[Key] = &[
    key("routes", ROUTES),
    key("addresses", Kind::List(&Kind::Object(&[key("address", Kind::Cidr), key("gateway", Kind::Ip)]))),
    key("dns", Kind::Object(DNS)),
];

const DHCP: &[Key] = &[
    key("daemonSocketPath", Kind::Text),
    key("provide", Kind::List(&Kind::Object(DHCP_PROVIDE))),
    key("request", Kind::List(&Kind::Object(DHCP_REQUEST))),
    key("priority", U32),
    // This project's, as `routes` is.
    key("suppress", Kind::List(&Kind::OneOf(&["gateway"]))),
    key("routes", ROUTES),
];
const DHCP_PROVIDE: &[Key] =
    &[key("option", Kind::Text), key("value", Kind::Text), key("fromArg", Kind::Text)];
const DHCP_REQUEST: &[Key] = &[key("skipDefault", Kind::Bool), key("option", Kind::Text)];

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
