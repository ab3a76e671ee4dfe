//! The demo that `cargo xtask demo` runs: a conflist run through `libcni` connects two private containers over a bridge
//! and publishes a port of one of them, every plugin's request and result is shown, packets are sent, pages are fetched,
//! and in the end nothing is left.
//!
//! It needs the namespaces that xtask makes, and the executables in `CNI_TESTING_BIN`.

#![allow(clippy::print_stdout, reason = "its reader is a person")]

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::Instant;

use cni_testing::{Container, Host, Snapshot};
use cni_types::{ContainerId, IfName};
use libcni::{Added, Attachment, Network, Runtime};
use serde_json::json;

mod http;
mod show;
mod watch;

use show::Show;
use watch::{Stand, Watch};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    // The same executable also stands in the plugins' places, to see what they are told and what they answer.
    if let Some(stand) = Stand::of_this_process() {
        return stand.run();
    }
    let start = Instant::now();
    match demo() {
        Ok(()) => {
            println!("\nAll that in {} ms.", start.elapsed().as_millis());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("the demo failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn demo() -> Result<()> {
    println!(
        "A private host, two containers, blue and green, and a machine outside: four network namespaces."
    );
    println!("This machine's own network is none of them.");
    let host = Host::new();
    let outside = host.container("outside");
    host.connect(&outside, "uplink", http::HOST, http::OUTSIDE);
    let before = host.snapshot();
    let (blue, mut green) = (host.container("blue"), host.container("green"));
    let network = network(&host)?;
    let watch = Watch::new(&host)?;
    let runtime = Runtime::new(vec![watch.plugins()], host.dir().join("cache"));
    let mut show = Show::new(watch);

    show.step("STATUS: can the network take a container?");
    runtime.status(&network)?;
    show.plugins()?;
    let first = add(&runtime, &network, &blue, &mut show)?;
    let second = add(&runtime, &network, &green, &mut show)?;

    show.step("What the host has now");
    print_lines(&host.snapshot(), &["link ", "address "]);
    let (of_blue, of_green) = (addresses(&first), addresses(&second));
    packets(&blue, &green, &of_blue, &of_green, &mut show)?;
    http::fetch(&host, &outside, &blue, &green, &of_green, &mut show)?;

    for container in [&blue, &green] {
        show.step(&format!("CHECK {}: is everything still as ADD made it?", container.id()));
        runtime.check(&network, &attachment(container)?)?;
        show.plugins()?;
    }

    show.step("DEL blue");
    runtime.del(&network, &attachment(&blue)?)?;
    show.plugins()?;
    show.step(
        "Green's namespace goes without a DEL, as when a node crashes; GC: no container is valid any more",
    );
    green.kill();
    let report = runtime.gc(&network, Some(&[]));
    if let Some(error) = report.errors.into_iter().next() {
        return Err(error.into());
    }
    show.plugins()?;

    show.step("What is left");
    nothing_left(&host, &before, &runtime)?;
    blue_is_empty(&blue)
}

/// One bridge, addresses of both families, ports and a firewall, as a file that a node would have in /etc/cni/net.d. The
/// backends are named, or where iptables is installed that would be taken, as the reference does.
fn network(host: &Host) -> Result<Network> {
    let list = json!({
        "cniVersion": "1.1.0",
        "name": "demo",
        "plugins": [{
            "type": "bridge",
            "bridge": "demo0",
            "isGateway": true,
            "ipMasq": true,
            "ipMasqBackend": "nftables",
            "ipam": {
                "type": "host-local",
                "dataDir": host.dir().join("leases"),
                "ranges": [[{ "subnet": "10.88.0.0/24" }], [{ "subnet": "fd00:88::/64" }]],
                "routes": [{ "dst": "0.0.0.0/0" }, { "dst": "::/0" }],
            },
        }, {
            "type": "portmap",
            "backend": "nftables",
            "capabilities": { "portMappings": true },
        }, {
            "type": "firewall",
            "backend": "nftables",
        }],
    });
    let file = host.dir().with_file_name("demo.conflist");
    std::fs::write(&file, list.to_string())?;
    println!("\nThe network, as it would lie in /etc/cni/net.d:\n{list:#}");
    Ok(Network::from_file(&file)?)
}

fn attachment(container: &Container) -> Result<Attachment> {
    let mut attachment = Attachment::new(ContainerId::new(container.id())?, IfName::new("eth0")?);
    attachment.netns = Some(container.netns().to_owned());
    if container.id() == "green" {
        attachment.capability_args.insert("portMappings".to_owned(), http::mappings());
    }
    Ok(attachment)
}

fn add(runtime: &Runtime, network: &Network, container: &Container, show: &mut Show) -> Result<Added> {
    show.step(&format!("ADD {}", container.id()));
    let added = runtime.add(network, &attachment(container)?)?;
    show.plugins()?;
    Ok(added)
}

fn addresses(added: &Added) -> Vec<IpAddr> {
    added.result.ips.iter().map(|ip| ip.address.addr()).collect()
}

fn packets(
    blue: &Container,
    green: &Container,
    of_blue: &[IpAddr],
    of_green: &[IpAddr],
    show: &mut Show,
) -> Result<()> {
    show.step("Packets, both ways, both families");
    let gateways: [IpAddr; 2] = ["10.88.0.1".parse()?, "fd00:88::1".parse()?];
    for (from, to, addresses) in
        [(blue, "green", of_green), (green, "blue", of_blue), (blue, "its gateway", &gateways)]
    {
        for address in addresses {
            let start = Instant::now();
            let answered = from.ping(*address);
            let millis = start.elapsed().as_secs_f64() * 1000.0;
            if !answered {
                return Err(format!("{} pings {to} at {address}: no answer", from.id()).into());
            }
            println!("  {:5} pings {to} at {address}: answered after {millis:.2} ms", from.id());
        }
    }
    for (address, own) in of_green.iter().zip(of_blue) {
        let server = SocketAddr::new(*address, 7);
        let _running = green.serve(server);
        let answer = blue.echo_tcp(server, "hello")?;
        let peer: SocketAddr = answer.split(' ').next().unwrap_or_default().parse()?;
        if !answer.ends_with(" hello") || peer.ip() != *own {
            return Err(format!("green answered {answer:?} to blue, which is {own}").into());
        }
        println!("  blue  says hello over TCP to {address}; green hears it from {}", peer.ip());
    }
    Ok(())
}

/// The bridge stays, as the reference has it, for the next container; so do tables of the packet filter with no
/// container in them, and which address was given out last.
fn nothing_left(host: &Host, before: &Snapshot, runtime: &Runtime) -> Result<()> {
    let after = host.snapshot();
    let of_containers = ["10.88.0.2", "10.88.0.3", "fd00:88::2", "fd00:88::3", "blue", "green"];
    let meant = ["link demo0 ", "address demo0 ", "dev demo0", "last_reserved_ip", "/lock ", ".index/"];
    let new = || after.0.iter().filter(|line| !before.0.contains(line));
    let is_meant = |line: &&String| {
        let of_a_container = of_containers.iter().any(|name| line.contains(name));
        match line.split(' ').next() {
            Some("nft") => !of_a_container && !http::is_of_a_mapping(line),
            Some("folder") => true,
            _ => meant.iter().any(|part| line.contains(part)),
        }
    };
    let left: Vec<&String> = new().filter(|line| !is_meant(line)).collect();
    let cached = runtime.cache().entries()?.len();
    if !left.is_empty() || cached > 0 {
        return Err(format!("left behind: {left:?} and {cached} cached results").into());
    }
    println!(
        "  No link, no lease, no mapping, no rule, no cached result of blue or green. For the next container:"
    );
    let is_shown = |line: &&String| {
        let is_table = line.starts_with("nft table ");
        is_table
            || !["nft ", "folder "].iter().any(|kind| line.starts_with(kind)) && !line.contains(".index/")
    };
    new().filter(is_shown).for_each(|line| println!("  {}", line.trim_end_matches(" {")));
    Ok(())
}

fn blue_is_empty(blue: &Container) -> Result<()> {
    let inside = blue.snapshot();
    match inside.0.iter().find(|line| line.contains("eth0")) {
        Some(line) => Err(format!("left behind in blue: {line}").into()),
        None => Ok(()),
    }
}

fn print_lines(snapshot: &Snapshot, kinds: &[&str]) {
    let wanted = |line: &&String| kinds.iter().any(|kind| line.starts_with(kind));
    snapshot.0.iter().filter(wanted).for_each(|line| println!("  {line}"));
}
