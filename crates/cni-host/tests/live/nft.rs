//! What the tests of nf_tables share: the ruleset as nft lists it, and an attachment.

use std::process::Command;

use cni_host::Owner;

/// `nft list ruleset` of the calling thread's namespace, without counters.
#[allow(clippy::disallowed_methods, reason = "an independent reader of what was made")]
pub(crate) fn ruleset() -> String {
    let output = Command::new("/usr/sbin/nft").args(["--stateless", "list", "ruleset"]).output();
    let output = output.expect("needs nft (apt-get install nftables)");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Loads a script in nft's syntax.
#[allow(clippy::disallowed_methods, reason = "an independent writer")]
pub(crate) fn load(script: &str) {
    let output = Command::new("/usr/sbin/nft").arg(script).output();
    let output = output.expect("needs nft (apt-get install nftables)");
    assert!(output.status.success(), "{script}: {output:?}");
}

pub(crate) fn owner(network: &str, container_id: &str, ifname: &str) -> Owner {
    Owner { network: network.into(), container_id: container_id.into(), ifname: ifname.into() }
}
