//! Pages fetched through a published port and through masquerading, and whom the servers see.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use cni_testing::{Container, Host, HttpServer};
use serde_json::{Value, json};

use crate::Result;
use crate::show::Show;

/// The host's addresses on its uplink, and those of the machine at its other end.
pub(crate) const HOST: [&str; 2] = ["192.0.2.1", "2001:db8::1"];
pub(crate) const OUTSIDE: [&str; 2] = ["192.0.2.9", "2001:db8::9"];

/// The host's port, and the container's.
const PUBLISHED: u16 = 8080;
const INSIDE: u16 = 80;

/// What the runtime hands to plugins that can publish ports: `runtimeConfig.portMappings`.
pub(crate) fn mappings() -> Value {
    json!([{ "hostPort": PUBLISHED, "containerPort": INSIDE, "protocol": "tcp" }])
}

/// Whether a line of the packet filter's speaks of the mapping.
pub(crate) fn is_of_a_mapping(line: &str) -> bool {
    line.contains(&PUBLISHED.to_string())
}

/// Asks green's server by way of the host, and the machine outside from behind the host.
pub(crate) fn fetch(
    host: &Host,
    outside: &Container,
    blue: &Container,
    green: &Container,
    of_green: &[IpAddr],
    show: &mut Show,
) -> Result<()> {
    show.step(&format!("HTTP: port {PUBLISHED} of the host is port {INSIDE} of green"));
    let servers = of_green.iter().map(|ip| green.serve_http(SocketAddr::new(*ip, INSIDE), "green"));
    let _servers: Vec<HttpServer> = servers.collect();
    let from_outside = |to: SocketAddr| outside.http_get(to, "/");
    let localhost = |to: SocketAddr| host.http_get(to, "/");
    let from_blue = |to: SocketAddr| blue.http_get(to, "/");
    let page = |seen: &str| format!("green answers {seen}\n");
    // From localhost and from its own subnet the answer has to come back by way of the host, so there green sees the bridge.
    told("outside", HOST[0], PUBLISHED, from_outside, &page(OUTSIDE[0]))?;
    told("outside", HOST[1], PUBLISHED, from_outside, &page(OUTSIDE[1]))?;
    told("the host", "127.0.0.1", PUBLISHED, localhost, &page("10.88.0.1"))?;
    told("blue", HOST[0], PUBLISHED, from_blue, &page("10.88.0.1"))?;

    show.step("HTTP: blue asks a machine outside, which knows only the host (ipMasq)");
    for (to, seen) in OUTSIDE.iter().zip(HOST) {
        let _server = outside.serve_http(address(to, INSIDE), "outside");
        told("blue", to, INSIDE, from_blue, &format!("outside answers {seen}\n"))?;
    }
    Ok(())
}

fn address(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().expect("an address of the demo's"), port)
}

/// Fetches a page, tells of it, and makes sure that it says what it should.
fn told(
    who: &str,
    ip: &str,
    port: u16,
    get: impl Fn(SocketAddr) -> std::result::Result<(String, String), String>,
    expected: &str,
) -> Result<()> {
    let to = address(ip, port);
    let start = Instant::now();
    let (status, page) = get(to)?;
    let millis = start.elapsed().as_secs_f64() * 1000.0;
    if !status.ends_with(" 200 OK") || page != expected {
        return Err(format!("{who} got {status:?} and {page:?} from http://{to}/, not {expected:?}").into());
    }
    println!("  {who:8} GET http://{to}/: {status}, {:?} after {millis:.2} ms", page.trim_end());
    Ok(())
}
