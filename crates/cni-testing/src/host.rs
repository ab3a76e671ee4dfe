//! The private host.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use cni_netlink::{LinkChange, Socket};
use tempfile::TempDir;

use crate::{Container, PluginRun, Snapshot, echo, http, namespace, run, uplink};

/// A private host: the calling thread's network namespace from here on, and a folder of its own for state.
///
/// Threads started afterwards by the calling one are on the host too, and so can run plugins side by side.
#[derive(Debug)]
pub struct Host {
    /// Removed when the host is dropped. Holds the state folder, and apart from it the names of the containers'
    /// namespaces, which would be noise in a snapshot.
    root: TempDir,
    state: PathBuf,
}

impl Host {
    /// Moves the calling thread into a fresh network namespace (lo up) and makes a temporary folder.
    #[allow(clippy::new_without_default, reason = "it does too much for a default value")]
    pub fn new() -> Self {
        namespace::enter_fresh();
        set_lo_up();
        let root = TempDir::with_prefix("cni-testing-").expect("cannot make a temporary folder");
        let state = root.path().join("state");
        std::fs::create_dir(&state).expect("cannot make the state folder");
        std::fs::create_dir(root.path().join("netns")).expect("cannot make the folder of namespaces");
        Host { root, state }
    }

    /// The temporary folder, removed with the host: for dataDir, conflists, caches.
    pub fn dir(&self) -> &Path {
        &self.state
    }

    /// A container with a namespace of its own, lo down as a runtime leaves it. `id` becomes CNI_CONTAINERID.
    pub fn container(&self, id: &str) -> Container {
        Container::new(id, &self.root.path().join("netns"))
    }

    /// Makes a container into a machine next to the host: the host's link is called `name`, the machine's eth0, the host
    /// is its router for everything. Both sides' addresses are an IPv4 one (/24) and an IPv6 one (/64).
    pub fn connect(&self, machine: &Container, name: &str, host: [&str; 2], addresses: [&str; 2]) {
        uplink::connect(machine, name, host, addresses);
    }

    /// Puts an empty file system over folders of the machine, for this host and what it starts from now on: for
    /// programs that keep state where nobody can tell them otherwise.
    pub fn hide(&self, folders: &[&str]) {
        namespace::hide(folders);
    }

    /// Like [`Host::hide`] for one folder, but what is written to it lies below [`Host::dir`], where snapshots see it.
    pub fn cover(&self, folder: &str) {
        let own = self.state.join(folder.trim_start_matches('/').replace('/', "-"));
        std::fs::create_dir(&own).unwrap_or_else(|error| panic!("cannot make {}: {error}", own.display()));
        namespace::cover(folder, &own);
    }

    /// Makes a folder read-only that [`Host::cover`] has covered.
    pub fn seal(&self, folder: &str) {
        namespace::seal(folder);
    }

    /// The folder of the executables under test: beside the test's own, or `CNI_TESTING_BIN` when set.
    pub fn bin_dir(&self) -> PathBuf {
        run::bin_dir()
    }

    /// Prepares a run of a plugin. CNI_PATH is [`Host::bin_dir`] unless changed.
    ///
    /// Panics when the executable is missing: cargo does not build other packages' executables for a test.
    pub fn plugin(&self, name: &str) -> PluginRun<'_> {
        PluginRun::new(self, name)
    }

    /// Links, addresses, routes, rules (nft, iptables where installed) of the host's namespace and the files under
    /// [`Host::dir`], to be compared before and after.
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = self.links();
        snapshot.add_rules();
        snapshot.add_files(self.dir());
        snapshot
    }

    /// The first part of that: links, addresses, routes, for which no program is run.
    pub fn links(&self) -> Snapshot {
        Snapshot::of_network()
    }

    /// Fetches a page from the host, as [`Container::http_get`] does from inside.
    pub fn http_get(&self, to: SocketAddr, path: &str) -> Result<(String, String), String> {
        http::get(to, path).map_err(|error| format!("http://{to}{path}: {error}"))
    }

    /// Sends a message over TCP from the host, as [`Container::echo_tcp`] does from inside.
    pub fn echo_tcp(&self, to: SocketAddr, message: &str) -> Result<String, String> {
        echo::tcp(to, message).map_err(|error| format!("tcp {to}: {error}"))
    }

    /// Sends a message over UDP from the host, as [`Container::echo_udp`] does from inside.
    pub fn echo_udp(&self, to: SocketAddr, message: &str) -> Result<String, String> {
        echo::udp(to, message).map_err(|error| format!("udp {to}: {error}"))
    }

    /// Whether one ICMP echo from the host is answered within some seconds.
    pub fn ping(&self, to: std::net::IpAddr) -> bool {
        crate::ping::ping(to)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Else the folder below a mount could not be removed, and would stay on the machine.
        namespace::uncover(self.root.path());
    }
}

fn set_lo_up() {
    let mut socket = Socket::open().expect("cannot open a netlink socket");
    let lo = socket.link_by_name("lo").expect("a network namespace has lo");
    let up = LinkChange { up: Some(true), ..LinkChange::default() };
    socket.link_change(lo.index, &up).expect("cannot set lo up");
}
