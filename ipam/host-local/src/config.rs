//! The configuration: as it is written, then validated.
//!
//! DEL and GC need nothing but the folder, so that a range that was broken since ADD does not keep an address taken. All
//! else is validated into a [`Plan`], whose error waits until ADD, CHECK or STATUS asks for it.

use std::net::IpAddr;
use std::path::PathBuf;

use cni_plugin::Call;
use cni_types::json::Unread;
use cni_types::{Route, SpecVersion, parse_address, parse_network};
use serde::{Deserialize, Deserializer};

use crate::error::Error;
use crate::range::{Range, RangeSet};

const DEFAULT_DATA_DIR: &str = "/var/lib/cni/networks";

/// The plugin's validated configuration.
#[derive(Debug)]
pub struct Config {
    /// `ipam.dataDir`: the folder that holds a folder for each network.
    pub(crate) data_dir: PathBuf,
    plan: Result<Plan, (cni_types::ErrorCode, String)>,
}

/// What to hand out.
#[derive(Debug)]
pub(crate) struct Plan {
    /// One address of each. Empty where the runtime is to bring them with each ADD.
    pub(crate) sets: Vec<RangeSet>,
    /// The addresses asked for by name; each must lie in another set.
    pub(crate) requested: Vec<IpAddr>,
    pub(crate) routes: Vec<Route>,
    /// A file in the form of resolv.conf(5) whose settings become the result's `dns`.
    pub(crate) resolv_conf: Option<PathBuf>,
}

/// The parts of standard input that are read here.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Wire {
    ipam: IpamConf,
    runtime_config: RuntimeConf,
    args: ArgsConf,
    #[serde(deserialize_with = "ip_ranges_of")]
    capabilities: IpRanges,
}

/// Whether `capabilities` says that the runtime brings ranges.
#[derive(Clone, Copy, Default, PartialEq)]
struct IpRanges(bool);

/// Read leniently: it is the runtime's, and of no use to ADD.
fn ip_ranges_of<'de, D: Deserializer<'de>>(deserializer: D) -> Result<IpRanges, D::Error> {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Capabilities {
        ip_ranges: bool,
    }
    let capabilities = Unread::deserialize(deserializer)?.read::<Capabilities>();
    Ok(IpRanges(capabilities.is_ok_and(|capabilities| capabilities.ip_ranges)))
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct IpamConf {
    ranges: Vec<Vec<RangeConf>>,
    routes: Vec<Route>,
    resolv_conf: Option<String>,
    // The form of before `ranges`: one range, in the ipam object itself.
    subnet: Option<String>,
    range_start: Option<String>,
    range_end: Option<String>,
    gateway: Option<String>,
}

/// One range as written. Addresses stay text here, for errors that say which of them is wrong.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(
    rename_all = "camelCase",
    default,
    expecting = "an object with subnet, rangeStart, rangeEnd and gateway"
)]
pub(crate) struct RangeConf {
    pub(crate) subnet: Option<String>,
    pub(crate) range_start: Option<String>,
    pub(crate) range_end: Option<String>,
    pub(crate) gateway: Option<String>,
}

/// Capability arguments.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RuntimeConf {
    ip_ranges: Vec<Vec<RangeConf>>,
    ips: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ArgsConf {
    cni: CniArgsConf,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CniArgsConf {
    ips: Vec<String>,
}

/// The only key that every command needs.
#[derive(Default, Deserialize)]
#[serde(default)]
struct FolderWire {
    ipam: Option<FolderConf>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct FolderConf {
    data_dir: Option<String>,
}

impl Config {
    /// Reads what every command needs, and keeps the rest's error for those that need the rest.
    pub(crate) fn new(call: &Call) -> cni_plugin::Result<Self> {
        let ipam = call.read::<FolderWire>()?.ipam;
        let plan = match &ipam {
            Some(_) => Plan::new(call),
            None => Err(Error::config("ipam", "missing; host-local has its ranges there").coded()),
        };
        let plan = plan.map_err(|error| (error.code(), error.to_string()));
        let data_dir = ipam.and_then(|ipam| ipam.data_dir).filter(|dir| !dir.is_empty());
        let data_dir = data_dir.unwrap_or_else(|| DEFAULT_DATA_DIR.to_owned());
        Ok(Config { data_dir: PathBuf::from(data_dir), plan })
    }

    /// What to hand out, or what is wrong with the configuration.
    pub(crate) fn plan(&self) -> cni_plugin::Result<&Plan> {
        self.plan.as_ref().map_err(|(code, text)| cni_plugin::Error::new(*code, text.as_str()))
    }
}

impl Plan {
    /// What ADD does not give out and CHECK goes on passing: see [`Range::check_gateway`].
    pub(crate) fn check_gateways(&self) -> cni_plugin::Result<()> {
        let mut ranges = self.sets.iter().flat_map(RangeSet::ranges);
        ranges.try_for_each(Range::check_gateway).map_err(Error::coded)
    }

    fn new(call: &Call) -> cni_plugin::Result<Self> {
        let wire: Wire = call.read()?;
        let sets = range_sets(&wire).map_err(Error::coded)?;
        check_families(&sets, call.conf.cni_version).map_err(Error::coded)?;
        Ok(Plan {
            sets,
            requested: requested(call, &wire)?,
            routes: wire.ipam.routes,
            resolv_conf: wire.ipam.resolv_conf.filter(|path| !path.is_empty()).map(PathBuf::from),
        })
    }
}

/// The sets in the order in which the reference has them: those of the runtime, the range in the ipam object itself,
/// then `ranges`. None at all is right only where the runtime brings them, and then only for STATUS.
fn range_sets(wire: &Wire) -> Result<Vec<RangeSet>, Error> {
    let ipam = &wire.ipam;
    let single = ipam.subnet.is_some().then(|| {
        let range = RangeConf {
            subnet: ipam.subnet.clone(),
            range_start: ipam.range_start.clone(),
            range_end: ipam.range_end.clone(),
            gateway: ipam.gateway.clone(),
        };
        RangeSet::new("ipam", vec![Range::new("ipam".to_owned(), &range)?])
    });
    let several = |key: &'static str, sets: &[Vec<RangeConf>]| -> Vec<Result<RangeSet, Error>> {
        let set = |(i, set): (usize, &Vec<RangeConf>)| {
            let place = format!("{key}[{i}]");
            let ranges = set.iter().enumerate().map(|(j, range)| Range::new(format!("{place}[{j}]"), range));
            RangeSet::new(&place, ranges.collect::<Result<_, _>>()?)
        };
        sets.iter().enumerate().map(set).collect()
    };

    let sets = several("runtimeConfig.ipRanges", &wire.runtime_config.ip_ranges)
        .into_iter()
        .chain(single)
        .chain(several("ipam.ranges", &ipam.ranges))
        .collect::<Result<Vec<RangeSet>, Error>>()?;

    if sets.is_empty() && wire.capabilities != IpRanges(true) {
        let orphan =
            [("rangeStart", &ipam.range_start), ("rangeEnd", &ipam.range_end), ("gateway", &ipam.gateway)];
        return Err(match orphan.iter().find(|(_, value)| value.is_some()) {
            Some((key, _)) => Error::config("ipam", format!("no IP ranges specified: {key} without subnet")),
            None => Error::config("ipam", "no IP ranges specified"),
        });
    }
    for (i, set) in sets.iter().enumerate() {
        for earlier in sets[..i].iter().flat_map(RangeSet::ranges) {
            set.ranges().iter().try_for_each(|range| earlier.check_overlap(range))?;
        }
    }
    Ok(sets)
}

/// Results of before 0.3.0 have room for one address of each family.
fn check_families(sets: &[RangeSet], version: SpecVersion) -> Result<(), Error> {
    let ipv4 = sets.iter().filter(|set| set.is_ipv4()).count();
    if version < SpecVersion::V0_3_0 && (ipv4 > 1 || sets.len() - ipv4 > 1) {
        let reason = format!("CNI version {version} does not support more than 1 address per family");
        return Err(Error::config("ipam", reason));
    }
    Ok(())
}

/// The addresses asked for: by `IP` of `CNI_ARGS`, `args.cni.ips` and `runtimeConfig.ips`, all together and each once. A
/// prefix length is allowed and says nothing.
fn requested(call: &Call, wire: &Wire) -> cni_plugin::Result<Vec<IpAddr>> {
    call.args.expect_only(&["IP"])?;
    let arg = call.args.get("IP").filter(|ip| !ip.is_empty()).map(|ip| ("IP in CNI_ARGS".to_owned(), ip));
    let mut requested = Vec::new();
    let listed = [("args.cni.ips", &wire.args.cni.ips), ("runtimeConfig.ips", &wire.runtime_config.ips)];
    let listed = listed.iter().flat_map(|(key, ips)| {
        ips.iter().enumerate().map(move |(i, ip)| (format!("{key}[{i}]"), ip.as_str()))
    });
    for (place, text) in arg.into_iter().chain(listed) {
        let address = parse_requested(text)
            .ok_or_else(|| Error::config(place, format!("{text:?} is not an IP address")).coded())?;
        if !requested.contains(&address) {
            requested.push(address);
        }
    }
    Ok(requested)
}

fn parse_requested(text: &str) -> Option<IpAddr> {
    parse_network(text).map(|network| network.addr().to_canonical()).or_else(|| parse_address(text))
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
