//! The fixtures themselves: a test that relies on them must not pass because they see nothing.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use cni_host::NetNs;
use cni_netlink::LinkChange;

use crate::{Container, Host, Snapshot};

/// The host is `.1`, the container `.2` of 10.9.0.0/24 and fd09::/64.
fn connect(host: &Host, container: &Container, near: &str) {
    host.connect(container, near, ["10.9.0.1", "fd09::1"], ["10.9.0.2", "fd09::2"]);
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn the_host_is_not_the_machine_and_its_lo_is_up() {
    let machine = NetNs::current().unwrap();
    let host = Host::new();
    assert!(!NetNs::current().unwrap().is_same(&machine).unwrap());
    assert!(host.ping(address("127.0.0.1")));
    assert!(host.ping(address("::1")));
    assert!(!host.ping(address("10.9.0.2")), "there is no way there");
    let links: Vec<_> = host.snapshot().0.into_iter().filter(|line| line.starts_with("link ")).collect();
    assert_eq!(links, [r#"link lo kind "" mtu 65536 up"#]);
}

#[test]
fn packets_go_between_container_and_host_and_only_there() {
    let host = Host::new();
    let (near, far) = (host.container("near"), host.container("far"));
    connect(&host, &near, "veth0");
    for there in ["10.9.0.2", "fd09::2"] {
        assert!(host.ping(address(there)), "{there}");
        assert!(!far.ping(address(there)), "{there} from a container that is not connected");
    }
    assert!(near.ping(address("10.9.0.1")));
    assert!(!near.ping(address("10.9.0.77")), "nobody is there");
}

#[test]
fn an_echo_names_its_sender_until_the_server_is_dropped() {
    let host = Host::new();
    let container = host.container("c");
    connect(&host, &container, "veth0");
    let up = LinkChange { up: Some(true), ..LinkChange::default() };
    let mut inside = container.ns().socket().unwrap();
    let lo = inside.link_by_name("lo").unwrap().index;
    inside.link_change(lo, &up).unwrap();
    for there in ["10.9.0.2:7", "[fd09::2]:7"] {
        let there: SocketAddr = there.parse().unwrap();
        let server = container.serve(there);
        for answer in [container.echo_tcp(there, "hello"), container.echo_udp(there, "hello")] {
            let answer = answer.unwrap();
            let (peer, message) = answer.split_once(' ').unwrap();
            assert_eq!(peer.parse::<SocketAddr>().unwrap().ip(), there.ip());
            assert_eq!(message, "hello");
        }
        drop(server);
        assert!(container.echo_tcp(there, "hello").unwrap_err().contains("refused"));
        assert!(container.echo_udp(there, "hello").is_err());
    }
}

#[test]
fn an_http_page_names_server_and_client() {
    let host = Host::new();
    let container = host.container("c");
    connect(&host, &container, "veth0");
    let there: SocketAddr = "10.9.0.2:80".parse().unwrap();
    let server = container.serve_http(there, "c");
    let page = ("HTTP/1.1 200 OK".to_owned(), "c answers 10.9.0.1\n".to_owned());
    assert_eq!(host.http_get(there, "/"), Ok(page));
    assert!(host.http_get("10.9.0.2:81".parse().unwrap(), "/").unwrap_err().contains("refused"));
    drop(server);
    assert!(host.http_get(there, "/").is_err());
}

#[test]
fn a_killed_container_is_gone_by_its_name_and_its_links_with_it() {
    let host = Host::new();
    let before = host.snapshot();
    let mut container = host.container("c");
    connect(&host, &container, "veth0");
    assert!(NetNs::open(container.netns()).is_ok());
    container.kill();
    assert!(NetNs::open(container.netns()).unwrap_err().is_netns_gone());
    container.kill();
    // The kernel cleans up on its own time (net/core/net_namespace.c, cleanup_net).
    let gone = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        host.snapshot() == before
    });
    assert!(gone, "still there: {}", host.snapshot());
}

#[test]
fn a_snapshot_tells_links_addresses_routes_and_files() {
    let host = Host::new();
    let container = host.container("c");
    let (before, inside_before) = (host.snapshot(), container.snapshot());
    before.assert_same(&host.snapshot());
    connect(&host, &container, "veth0");
    fs::create_dir(host.dir().join("leases")).unwrap();
    fs::write(host.dir().join("leases/10.9.0.2"), "c\r\neth0").unwrap();

    let after = host.snapshot();
    let new: Vec<&str> = after.0.iter().filter(|line| !before.0.contains(line)).map(String::as_str).collect();
    for expected in [
        "address veth0 10.9.0.1/24",
        "address veth0 fd09::1/64",
        "link veth0 kind \"veth\" mtu 1500 up",
        "route 10.9.0.0/24 dev veth0",
        "folder leases 0755",
        "file leases/10.9.0.2 0644 \"c\\r\\neth0\"",
    ] {
        assert!(new.contains(&expected), "{expected} is not in {new:#?}");
    }
    let panic = catch_unwind(AssertUnwindSafe(|| after.assert_same(&before))).unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.contains("+ address veth0 10.9.0.1/24"), "{message}");
    assert!(!message.contains("link lo"), "only what differs is shown: {message}");

    let lines = |snapshot: &Snapshot| snapshot.to_string();
    assert!(lines(&container.snapshot()).contains("address eth0 10.9.0.2/24"));
    assert!(!lines(&inside_before).contains("eth0"));
    assert!(!lines(&after.without("veth0")).contains("10.9.0.1"));
}

#[test]
fn what_is_hidden_is_hidden_for_this_host_only() {
    let host = Host::new();
    host.hide(&["/var/lib"]);
    assert_eq!(fs::read_dir("/var/lib").unwrap().count(), 0);
    fs::write("/var/lib/only-here", "").unwrap();
    let root = format!("/proc/{}/root/var/lib/only-here", std::process::id());
    assert!(!Path::new(&root).exists(), "the process's other threads see the machine's folder");
}

#[test]
fn a_host_leaves_no_folder_whatever_is_mounted_in_it() {
    let host = Host::new();
    let folder = host.dir().join("leases");
    fs::create_dir(&folder).unwrap();
    host.hide(&[folder.to_str().unwrap()]);
    fs::write(folder.join("10.9.0.2"), "c").unwrap();
    let root = host.dir().parent().unwrap().to_owned();
    drop(host);
    assert!(!root.exists());
}

#[test]
fn a_missing_executable_names_the_command_that_builds_it() {
    let host = Host::new();
    let panic = catch_unwind(AssertUnwindSafe(|| host.plugin("no-such-plugin"))).unwrap_err();
    assert!(panic.downcast_ref::<String>().unwrap().contains("cargo xtask test"));
}

/// loopback changes one thing: it sets lo up.
#[cfg(target_arch = "x86_64")]
#[test]
fn a_watcher_sees_a_change_before_and_after_and_can_refuse_it_or_kill() {
    use crate::{Act, Syscall};

    let host = Host::new();
    let container = host.container("c1");
    let conf = serde_json::json!({"cniVersion": "1.1.0", "name": "net", "type": "loopback"});
    let is_up = || container.snapshot().to_string().contains("link lo kind \"\" mtu 65536 up");
    let add = |act: fn(&Syscall) -> Act| {
        let mut seen = Vec::new();
        let watch = |call: &Syscall| {
            if !call.changes() {
                return Act::Go;
            }
            seen.push((call.to_string(), call.returned.is_some(), call.processes));
            act(call)
        };
        let outcome = host.plugin("loopback").watch(watch).add(&container, "lo", &conf);
        (outcome, seen)
    };
    let call = |returned| ("sendto of loopback (kind [16, 0])".to_owned(), returned, 1);

    let (refused, seen) = add(|_| Act::Fail(nix::errno::Errno::ENOBUFS));
    assert!(refused.err().1.contains("No buffer space available"), "{refused:?}");
    // The second would have taken it back.
    assert_eq!((seen, is_up()), (vec![call(false), call(false)], false));

    let (killed, seen) = add(|_| Act::KillAll);
    assert_eq!((killed.code, seen, is_up()), (None, vec![call(false)], false), "before it is carried out");

    let (killed, seen) = add(|call: &Syscall| if call.returned.is_some() { Act::KillOne } else { Act::Go });
    assert_eq!((killed.code, seen, is_up()), (None, vec![call(false), call(true)], true));

    let (lived, seen) = add(|_| Act::Go);
    lived.ok();
    assert_eq!(seen, [call(false), call(true)]);
}
