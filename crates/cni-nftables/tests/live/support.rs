//! A private network namespace for each test, and nft in it.

use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;

use nix::sched::CloneFlags;

use cni_nftables::{Chain, DataType, Element, Family, Nft, Set, Table, Value};

/// The table of most tests.
pub(crate) const TABLE: Table = Table::new(Family::Inet, "t");

/// A map of addresses and ports, as portmap has them.
pub(crate) static PORTS: Set = Set::map(
    TABLE,
    "ports",
    &[DataType::Ipv4Addr, DataType::InetProto, DataType::InetService],
    &[DataType::Ipv4Addr, DataType::InetService],
);

/// A chain without hook.
pub(crate) const fn chain(name: &str) -> Chain<'_> {
    Chain { name, base: None }
}

/// A key of `PORTS`.
pub(crate) fn port_key(port: u16) -> Vec<Value> {
    vec![Value::Addr([10, 0, 0, 1].into()), Value::Proto(6), Value::Port(port)]
}

/// An element of `PORTS`.
pub(crate) fn port(port: u16, target: [u8; 4], owner: &str) -> Element {
    let data = vec![Value::Addr(target.into()), Value::Port(8080)];
    Element { key: port_key(port), data, comment: Some(owner.to_string()) }
}

/// A table with `PORTS` in it.
pub(crate) fn with_ports() -> Nft {
    let mut nft = Nft::new();
    let mut batch = cni_nftables::Batch::default();
    batch.add_table(&TABLE).add_set(&PORTS);
    nft.commit(&batch).unwrap();
    nft
}

/// Runs a test on a thread of its own in a fresh network namespace, or says why not.
pub(crate) fn in_netns(test: impl FnOnce() + Send + 'static) {
    let worker = thread::Builder::new().name(thread::current().name().unwrap_or("test").to_string());
    let worker = worker.spawn(move || match unshare_net() {
        Ok(()) => test(),
        Err(errno) => skipped(&format!("needs root to make a network namespace ({errno}): sudo cargo test")),
    });
    if let Err(panic) = worker.unwrap().join() {
        std::panic::resume_unwind(panic);
    }
}

/// Likewise, for a test that asks nft.
pub(crate) fn in_netns_with_nft(test: impl FnOnce() + Send + 'static) {
    in_netns(|| match program("nft").arg("--version").output() {
        Ok(_) => test(),
        Err(error) => skipped(&format!("needs nft ({error}): sudo apt install nftables")),
    });
}

/// Says that a test did not run, past the test harness, which keeps what passing tests print to itself.
pub(crate) fn skipped(why: &str) {
    let line = format!("skipped: {} {why}\n", thread::current().name().unwrap_or("a test"));
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

#[allow(clippy::disallowed_methods, reason = "the test's own thread, which ends with the test")]
pub(crate) fn unshare_net() -> nix::Result<()> {
    nix::sched::unshare(CloneFlags::CLONE_NEWNET)
}

/// A program that runs in the calling thread's namespace.
#[allow(clippy::disallowed_methods, reason = "nft and ip are what is compared with")]
pub(crate) fn program(name: impl AsRef<std::ffi::OsStr>) -> Command {
    Command::new(name)
}

/// Runs a command line without quotes; its output.
#[track_caller]
pub(crate) fn run(line: &str) -> String {
    let mut words = line.split_whitespace();
    let output = program(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// `nft -f` with this script.
#[track_caller]
pub(crate) fn nft(script: &str) {
    let mut child =
        program("nft").args(["-f", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// What `nft list ruleset` prints, priorities as numbers, each run of white space as one space.
pub(crate) fn listed() -> String {
    words(&run("nft -y list ruleset"))
}

/// White space normalised.
pub(crate) fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
