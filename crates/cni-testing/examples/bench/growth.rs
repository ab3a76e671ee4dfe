//! What must stay flat as a node fills up: leases held, attachments held, ports mapped.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use cni_testing::Host;
use serde_json::{Value, json};

use crate::Result;
use crate::chain::{Chain, Peer};
use crate::networks::{self, Backend};
use crate::report::{Limit, Report};
use crate::samples::{Samples, timed};
use crate::scenarios::{Setting, host};

const LEASES: [usize; 4] = [10, 1_000, 10_000, 60_000];
/// All that a /16 has for containers but the last address.
const NEARLY_FULL: usize = 65_532;
/// An attachment's share of a bridge's 1,024 ports (BR_MAX_PORTS).
const HELD: usize = 1_000;
const MAPPINGS: [usize; 2] = [10, 10_000];

/// A curve for the plot.
pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// host-local with so many leases held in a range that just holds them.
pub(crate) fn leases(setting: &Setting<'_>, report: &mut Report) -> Result<Vec<Curve>> {
    let host = host();
    let mut curves = Vec::new();
    for peer in [setting.ours, setting.reference] {
        let mut medians = Vec::new();
        for count in LEASES {
            let (add, check, del) = leases_held(&host, peer, count, setting.rounds)?;
            medians.push([add.median(), check.median(), del.median()]);
            for (command, samples) in [("ADD", add), ("CHECK", check), ("DEL", del)] {
                report
                    .figure(format!("host-local {command}, {count} leases held"), vec![(peer.name, samples)]);
            }
        }
        for (index, command) in ["ADD", "CHECK", "DEL"].iter().enumerate() {
            if peer.name == setting.ours.name {
                let ratio = medians[LEASES.len() - 1][index] / medians[0][index];
                report.target(format!("host-local {command}: 60000 leases / 10"), ratio, Limit::AtMost(1.2));
            }
            if peer.name == setting.ours.name && *command == "ADD" {
                nearly_full(&host, setting, medians[0][index], report)?;
            }
            let points =
                LEASES.iter().zip(&medians).map(|(count, all)| (*count as f64, all[index])).collect();
            curves.push(Curve { name: format!("{}: {command}", peer.name), points });
        }
    }
    Ok(curves)
}

/// ADD where one address is left, which is as far from the turn as can be; and where the reference has written to the folder
/// since ours did, so that every lease has to be read.
fn nearly_full(host: &Host, setting: &Setting<'_>, few: f64, report: &mut Report) -> Result<()> {
    let dir = host.dir().join("nearly-full");
    let chain = networks::host_local(&dir, "10.0.0.0/16");
    hold(&dir.join("bench"), NEARLY_FULL)?;
    std::fs::write(dir.join("bench/last_reserved_ip.0"), "10.0.255.254")?;
    let container = host.container("measured");
    let (mut full, mut written) = (Samples::default(), Samples::default());
    for round in 0..=setting.rounds {
        let (time, result) = chain.add(setting.ours, &container)?;
        chain.del(setting.ours, &container, &result)?;
        if round > 0 {
            full.push(time);
        }
    }
    for _ in 0..setting.rounds.min(5) {
        let (_, result) = chain.add(setting.reference, &container)?;
        chain.del(setting.reference, &container, &result)?;
        let (time, result) = chain.add(setting.ours, &container)?;
        chain.del(setting.ours, &container, &result)?;
        written.push(time);
    }
    report.target(
        "host-local ADD: one address left of 65533 / 10 leases",
        full.median() / few,
        Limit::AtMost(1.2),
    );
    report.figure("host-local ADD, one address left of 65533", vec![("ours", full)]);
    report.figure("host-local ADD, the same just after the reference's ADD and DEL", vec![("ours", written)]);
    Ok(())
}

fn leases_held(host: &Host, peer: &Peer, count: usize, rounds: usize) -> Result<(Samples, Samples, Samples)> {
    let dir = host.dir().join(format!("{}-{count}", peer.name));
    let chain = networks::host_local(&dir, "10.0.0.0/16");
    hold(&dir.join("bench"), count)?;
    let container = host.container("measured");
    let (mut add, mut check, mut del) = (Samples::default(), Samples::default(), Samples::default());
    // The first is not counted: it may have to read what others wrote.
    for round in 0..=rounds {
        let (added, result) = chain.add(peer, &container)?;
        let checked = chain.check(peer, &container, &result)?;
        let deleted = chain.del(peer, &container, &result)?;
        if round > 0 {
            add.push(added);
            check.push(checked);
            del.push(deleted);
        }
    }
    Ok((add, check, del))
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
    for index in 0..HELD {
        let container = host.container(&format!("held{index}"));
        chain.runtime_config = networks::ports(10_000 + 2 * u16::try_from(index)?);
        let (time, result) = chain.add(peer, &container)?;
        add.push(time);
        attachments.push((container, chain.runtime_config.clone(), result));
    }
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
    report.figure("ADD, 1,000 attachments", vec![("first tenth", first), ("last tenth", last)]);
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

/// A new connection through a mapped port, with few and with many ports mapped.
pub(crate) fn mappings(setting: &Setting<'_>, report: &mut Report) -> Result<()> {
    let host = host();
    let mut series = Vec::new();
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
    let (mut mapped, mut attachments) = (1, Vec::new());
    for count in MAPPINGS {
        while mapped < count {
            let more = (count - mapped).min(1_000);
            let ports: Vec<Value> = (0..more)
                .map(|index| json!({"hostPort": 10_000 + mapped + index, "containerPort": 80, "protocol": "tcp"}))
                .collect();
            chain.runtime_config = json!({"portMappings": ports});
            let container = host.container(&format!("mapped{mapped}"));
            chain.add(setting.ours, &container)?;
            attachments.push(container);
            mapped += more;
        }
        let rounds = setting.rounds * 20;
        let samples = outside.ns().run(|| connections(&listener, rounds))??;
        series.push((if count == MAPPINGS[0] { "10 ports mapped" } else { "10,000 ports mapped" }, samples));
    }
    let ratio = series[1].1.median() / series[0].1.median();
    report.target("a new connection: with 10,000 ports mapped / with 10", ratio, Limit::AtMost(1.1));
    report.figure("a new connection", series);
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
