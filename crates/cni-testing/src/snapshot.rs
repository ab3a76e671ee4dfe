//! What is there, to be compared before and after.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use cni_netlink::{Link, RouteSpec, Socket};

/// Lines that tell links, addresses, routes, rules and files; compares and prints as text. Left out is what says nothing
/// of what a plugin left behind: indices, counters, and IPv6 link-local addresses with their routes, which come and go
/// with the carrier some time after the link did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot(pub Vec<String>);

impl Snapshot {
    /// Of the calling thread's namespace.
    pub(crate) fn of_network() -> Self {
        let mut socket = Socket::open().expect("cannot open a netlink socket");
        let links = socket.link_dump(None).expect("cannot dump the links");
        let names: HashMap<u32, &str> = links.iter().map(|link| (link.index, link.name.as_str())).collect();
        let mut lines = Vec::new();
        for link in &links {
            match describe_on(&mut socket, link, &names) {
                Ok(described) => lines.extend(described),
                // Gone since it was listed, as links of a namespace that has just been closed are.
                Err(error) if error.is_not_found() => {}
                Err(error) => panic!("cannot look at {}: {error}", link.name),
            }
        }
        lines.sort();
        // A multipath route is found once for each of its links.
        lines.dedup();
        Snapshot(lines)
    }

    /// Adds the packet filter's rules, as the programs tell them that are installed.
    pub(crate) fn add_rules(&mut self) {
        // What was removed from sets goes with the kernel's next tick (cni_nftables::Batch::remove_element).
        std::thread::sleep(Duration::from_millis(20));
        let nft: (&str, &[&str]) = ("nft", &["--stateless", "list", "ruleset"]);
        // The last two list tables that are in use, and no others.
        let programs = ["iptables-save", "ip6tables-save", "iptables-legacy-save", "ip6tables-legacy-save"];
        for (program, args) in [nft].into_iter().chain(programs.map(|program| (program, &[][..]))) {
            let lines = rules(program, args);
            self.0.extend(lines.into_iter().map(|line| format!("{program} {line}")));
        }
    }

    /// Adds the files and folders below `dir`, with mode and content.
    pub(crate) fn add_files(&mut self, dir: &Path) {
        let mut lines = Vec::new();
        describe_files(dir, dir, &mut lines);
        lines.sort();
        self.0.append(&mut lines);
    }

    /// The same without the lines that contain `part`, for what is meant to stay (`last_reserved_ip`).
    #[must_use]
    pub fn without(mut self, part: &str) -> Self {
        self.0.retain(|line| !line.contains(part));
        self
    }

    /// Panics unless all is as it was `before`, and shows only what is not.
    #[track_caller]
    pub fn assert_same(&self, before: &Snapshot) {
        let lost = before.0.iter().filter(|line| !self.0.contains(line)).map(|line| format!("- {line}"));
        let new = self.0.iter().filter(|line| !before.0.contains(line)).map(|line| format!("+ {line}"));
        let changes: Vec<String> = lost.chain(new).collect();
        assert!(self == before, "not as it was before:\n{}", changes.join("\n"));
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// A link with its addresses and routes.
fn describe_on(
    socket: &mut Socket,
    link: &Link,
    names: &HashMap<u32, &str>,
) -> cni_netlink::Result<Vec<String>> {
    let mut lines = vec![describe_link(link, names)];
    let addresses = socket.addr_dump(link.index)?.into_iter().map(|addr| addr.address);
    let addresses = addresses.filter(|address| !is_link_local(address.addr()));
    lines.extend(addresses.map(|address| format!("address {} {address}", link.name)));
    let routes = socket.route_dump(link.index, None)?.into_iter();
    let routes = routes.filter(|route| !is_link_local(route.dst.addr()));
    lines.extend(routes.map(|route| describe_route(&route, names)));
    Ok(lines)
}

fn describe_link(link: &Link, names: &HashMap<u32, &str>) -> String {
    let mut line = format!("link {} kind {:?} mtu {}", link.name, link.kind, link.mtu);
    line.push_str(if link.up { " up" } else { " down" });
    if let Some(master) = link.master {
        line.push_str(" master ");
        line.push_str(names.get(&master).unwrap_or(&"elsewhere"));
    }
    if let Some(alias) = &link.alias {
        line.push_str(&format!(" alias {alias:?}"));
    }
    line
}

fn describe_route(route: &RouteSpec, names: &HashMap<u32, &str>) -> String {
    let mut line = format!("route {}", route.dst);
    for hop in &route.next_hops {
        if let Some(gateway) = hop.gateway {
            line.push_str(&format!(" via {gateway}"));
        }
        line.push_str(&format!(" dev {}", names.get(&hop.index).unwrap_or(&"elsewhere")));
    }
    if let Some(metric) = route.metric {
        line.push_str(&format!(" metric {metric}"));
    }
    line
}

fn is_link_local(address: std::net::IpAddr) -> bool {
    match address {
        std::net::IpAddr::V4(_) => false,
        std::net::IpAddr::V6(address) => address.is_unicast_link_local() || address.is_multicast(),
    }
}

/// Nothing when the program is not installed.
fn rules(program: &str, args: &[&str]) -> Vec<String> {
    #[allow(clippy::disallowed_methods, reason = "a second opinion on what the plugins told the kernel")]
    let output = Command::new(program).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").args(args).output();
    let output = match output {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => panic!("cannot run {program}: {error}"),
    };
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} failed ({}): {stderr}", output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    // iptables-save dates its output, and counts packets of each chain.
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| line.split(" [").next().unwrap_or(line).to_owned()).collect()
}

fn describe_files(root: &Path, folder: &Path, lines: &mut Vec<String>) {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("cannot read {}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("cannot read a folder's entry").path();
        let meta = path
            .symlink_metadata()
            .unwrap_or_else(|error| panic!("cannot look at {}: {error}", path.display()));
        let name = path.strip_prefix(root).unwrap_or(&path).display();
        let mode = meta.permissions().mode() & 0o7777;
        if meta.is_dir() {
            lines.push(format!("folder {name} {mode:04o}"));
            describe_files(root, &path, lines);
        } else if meta.is_file() {
            let content =
                fs::read(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
            lines.push(format!("file {name} {mode:04o} {:?}", String::from_utf8_lossy(&content)));
        } else {
            lines.push(format!("other {name} {:?}", meta.file_type()));
        }
    }
}
