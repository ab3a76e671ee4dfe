//! What must stay flat as a node fills up: leases held, attachments held, ports mapped.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use cni_testing::{Container, Host};
use serde_json::{Value, json};

use crate::Result;
use crate::chain::{Chain, Peer};
use crate::floor::Floor;
use crate::networks::{self, Backend};
use crate::report::{Limit, Report};
use crate::samples::{Samples, timed};
use crate::scenarios::{Setting, host};

const LEASES: [usize; 4] = [10, 1_000, 10_000, 60_000];
/// All that a /16 has for containers but the last address.
const NEARLY_FULL: usize = 65_532;
/// An attachment's share of a bridge's 1,024 ports (BR_MAX_PORTS).
const HELD: usize = 1_000;
/// How long what a thousand containers say for a start keeps the machine busy, and more.
const SETTLING: Duration = Duration::from_secs(30);
const MAPPINGS: [usize; 2] = [10, 10_000];

/// A curve for the plot.
pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// host-local with so many leases held in a range that just holds them.
pub(crate) fn leases(setting: &Setting<'_>, report: &mut Report) -> Result<Vec<Curve>> {
    let host = host();
    let container = host.container("measured");
    let mut curves = Vec::new();
    for peer in [setting.ours, setting.reference] {
        let folder = |name: &str| host.dir().join(format!("{}-{name}", peer.name));
        let mut folders = Vec::new();
        for count in LEASES {
            folders.push(Held::new(&folder(&count.to_string()), count, &format!("{count} leases held"))?);
        }
        if peer.name == setting.ours.name {
            let dir = folder("nearly-full");
            folders.push(Held::new(&dir, NEARLY_FULL, "one address left of 65533")?);
            // So that it is as far from the turn as it can be.
            std::fs::write(dir.join("bench/last_reserved_ip.0"), "10.0.255.254")?;
        }
        // In turn, for all to have as noisy a machine. The first is not counted: it may have to read what others wrote.
        for round in 0..=setting.rounds {
            for held in &mut folders {
                held.measure(peer, &container, round > 0)?;
            }
        }
        for (index, command) in ["ADD", "CHECK", "DEL"].iter().enumerate() {
            let medians: Vec<f64> = folders.iter().map(|held| held.samples[index].median()).collect();
            for (held, median) in folders.iter().zip(&medians) {
                if peer.name == setting.ours.name && held.count >= LEASES[LEASES.len() - 1] {
                    let what = format!("host-local {command}: {} / 10 leases held", held.what);
                    report.target(what, median / medians[0], Limit::AtMost(1.2));
                }
                let what = format!("host-local {command}, {}", held.what);
                report.figure(what, vec![(peer.name, held.samples[index].clone())]);
            }
            let points =
                LEASES.iter().zip(&medians).map(|(count, median)| (*count as f64, *median)).collect();
            curves.push(Curve { name: format!("{}: {command}", peer.name), points });
        }
        if let Some(full) = folders.get(LEASES.len()) {
            report.figure(
                "host-local ADD, the same just after the reference's ADD and DEL",
                vec![("ours", after_the_reference(setting, &full.chain, &container)?)],
            );
        }
    }
    Ok(curves)
}

/// A folder of leases, and how long things took with it.
struct Held {
    what: String,
    count: usize,
    chain: Chain,
    /// ADD, CHECK, DEL.
    samples: [Samples; 3],
}

impl Held {
    fn new(dir: &Path, count: usize, what: &str) -> Result<Self> {
        hold(&dir.join("bench"), count)?;
        let chain = networks::host_local(dir, "10.0.0.0/16");
        Ok(Held { what: what.to_owned(), count, chain, samples: Default::default() })
    }

    fn measure(&mut self, peer: &Peer, container: &Container, counted: bool) -> Result<()> {
        let (added, result) = self.chain.add(peer, container)?;
        let checked = self.chain.check(peer, container, &result)?;
        let deleted = self.chain.del(peer, container, &result)?;
        if counted {
            for (samples, time) in self.samples.iter_mut().zip([added, checked, deleted]) {
                samples.push(time);
            }
        }
        Ok(())
    }
}

/// ADD where the reference has written to the folder since ours did, so that every lease has to be read.
fn after_the_reference(setting: &Setting<'_>, chain: &Chain, container: &Container) -> Result<Samples> {
    let mut samples = Samples::default();
    for _ in 0..setting.rounds.min(5) {
        let (_, result) = chain.add(setting.reference, container)?;
        chain.del(setting.reference, container, &result)?;
        let (time, result) = chain.add(setting.ours, container)?;
        chain.del(setting.ours, container, &result)?;
        samples.push(time);
    }
    Ok(samples)
}

/// Leases as the reference writes them, for 10.0.0.2 and the addresses after it.
fn hold(folder: &Path, count: usize) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    for index in 0..count {
        let address = std::net::Ipv4Addr::from(0x0a00_0002 + u32::try_from(index)?);
        std::fs::write(folder.join(address.to_string()), format!("held{index}\r\neth0"))?;
    }
    let last = std::net::Ipv4Addr::from(0x0a00_0001 + u32::try_from(count)?);
    Ok(std::fs::write(folder.join("last_reserved_ip.0"), last.to_string())?)
}

/// A thousand attachments with bridge, portmap and firewall: the last ones against the first.
pub(crate) fn held(setting: &Setting<'_>, report: &mut Report) -> Result<Vec<Curve>> {
    let host = host();
    let peer = setting.ours;
    let mut chain = networks::held(&host.dir().join("leases"), Backend::Nftables, Backend::Nftables);
    let (mut add, mut del, mut attachments) = (Samples::default(), Samples::default(), Vec::new());
    // A bridge sends what is for all to each of its ports, and the kernel looks at all ports when one comes: what that takes by
    // itself is measured before the first and beside the last.
    let mut alone = Floor::new(setting.empty, "floor0")?;
    let few = floor_adds(&mut alone, &host, "few", setting.rounds)?;
    for index in 0..HELD {
        if index == HELD - HELD / 10 {
            // Each of these containers asks a few times for routers and tells its multicast groups, and a bridge without a querier
            // sends that to all: a million packets to be delivered, which take the processors a while after the ADDs.
            std::thread::sleep(SETTLING);
        }
        let container = host.container(&format!("held{index}"));
        chain.runtime_config = networks::ports(10_000 + 2 * u16::try_from(index)?);
        let (time, result) = chain.add(peer, &container)?;
        add.push(time);
        attachments.push((container, chain.runtime_config.clone(), result));
    }
    let mut crowded = Floor::new(setting.empty, "bench0")?;
    let many = floor_adds(&mut crowded, &host, "many", setting.rounds)?;
    for (container, ports, result) in attachments.iter().rev() {
        chain.runtime_config = ports.clone();
        del.push(chain.del(peer, container, result)?);
    }
    let tenth = HELD / 10;
    let parts = |samples: &Samples| (samples.part(0..tenth), samples.part(HELD - tenth..HELD));
    let (first, last) = parts(&add);
    report.target(
        "1,000 attachments: the last tenth's ADD / the first's",
        last.median() / first.median(),
        Limit::AtMost(1.15),
    );
    let grown = (last.median() - first.median()) / (many.median() - few.median());
    report.target(
        "1,000 attachments: what an ADD takes longer / what the kernel alone takes longer",
        grown,
        Limit::AtMost(1.15),
    );
    report.figure("ADD, 1,000 attachments", vec![("first tenth", first), ("last tenth", last)]);
    report.figure(
        "bridge + host-local ADD, the kernel alone",
        vec![("on a bridge without others", few), ("with 1,000 others", many)],
    );
    // Deleted last to first: the first deletions are those with most held.
    let (most, fewest) = parts(&del);
    report.target(
        "1,000 attachments: DEL with most held / with fewest",
        most.median() / fewest.median(),
        Limit::AtMost(1.15),
    );
    report.figure("DEL, 1,000 attachments", vec![("fewest held", fewest), ("most held", most)]);
    let curve = |name: &str, samples: &Samples| Curve {
        name: name.to_owned(),
        points: samples.milliseconds().enumerate().map(|(index, time)| (index as f64, time)).collect(),
    };
    Ok(vec![curve("ADD", &add), curve("DEL, from the last", &del)])
}

fn floor_adds(floor: &mut Floor, host: &Host, name: &str, rounds: usize) -> Result<Samples> {
    let mut samples = Samples::default();
    for round in 0..rounds {
        let container = host.container(&format!("floor-{name}-{round}"));
        samples.push(floor.add(&container)?);
        floor.del()?;
    }
    Ok(samples)
}

/// A new connection through a mapped port, with few and with many ports mapped.
pub(crate) fn mappings(setting: &Setting<'_>, report: &mut Report) -> Result<()> {
    let host = host();
    let mut chain = networks::held(&host.dir().join("leases"), Backend::Nftables, Backend::Nftables);
    let outside = host.container("outside");
    let plain = networks::bridge(&host.dir().join("outside"));
    let mut plain = Chain { network: "out".to_owned(), ..plain };
    plain.plugins[0]["bridge"] = json!("out0");
    plain.plugins[0]["ipam"]["ranges"] = json!([[{"subnet": "10.79.0.0/24"}]]);
    plain.add(setting.ours, &outside)?;

    let inside = host.container("inside");
    chain.runtime_config =
        json!({"portMappings": [{"hostPort": 9000, "containerPort": 80, "protocol": "tcp"}]});
    let (_, result) = chain.add(setting.ours, &inside)?;
    let address: IpAddr = first_address(&result)?.parse()?;
    let listener = inside.ns().run(|| TcpListener::bind(SocketAddr::new(address, 80)))??;
    let (mut mapped, mut attachments, mut measured) = (1, Vec::new(), Vec::new());
    for count in MAPPINGS {
        while mapped < count {
            let more = (count - mapped).min(1_000);
            let ports: Vec<Value> = (0..more)
                .map(|index| json!({"hostPort": 10_000 + mapped + index, "containerPort": 80, "protocol": "tcp"}))
                .collect();
            chain.runtime_config = json!({"portMappings": ports});
            let container = host.container(&format!("mapped{mapped}"));
            let (_, result) = chain.add(setting.ours, &container)?;
            attachments.push((container, chain.runtime_config.clone(), result));
            mapped += more;
        }
        let rounds = setting.rounds * 20;
        measured.push(outside.ns().run(|| connections(&listener, rounds))??);
    }
    // And with few again, in case the machine has become slower or faster meanwhile.
    for (container, ports, result) in attachments.drain(1..) {
        chain.runtime_config = ports;
        chain.del(setting.ours, &container, &result)?;
    }
    measured.push(outside.ns().run(|| connections(&listener, setting.rounds * 20))??);
    let [mut few, many, again] =
        <[Samples; 3]>::try_from(measured).map_err(|_| "there are three measurements")?;
    few.extend(&again);
    let ratio = many.median() / few.median();
    report.target("a new connection: with 10,000 ports mapped / with 10", ratio, Limit::AtMost(1.1));
    report.figure("a new connection", vec![("10 ports mapped", few), ("10,000 ports mapped", many)]);
    Ok(())
}

fn connections(listener: &TcpListener, rounds: usize) -> Result<Samples> {
    let mut samples = Samples::default();
    for _ in 0..rounds {
        let (time, stream) = timed(|| {
            TcpStream::connect_timeout(&SocketAddr::from(([10, 79, 0, 1], 9000)), Duration::from_secs(3))
        });
        let _stream = stream?;
        listener.accept()?;
        samples.push(time);
    }
    Ok(samples)
}

fn first_address(result: &Value) -> Result<&str> {
    let address = result["ips"][0]["address"].as_str().ok_or("a result without an address")?;
    Ok(address.split('/').next().unwrap_or(address))
}
