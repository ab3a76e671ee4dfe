//! Which release of the reference's plugins runs beside ours: Debian's 1.9.1, or 1.10.0, which does some things otherwise.

use std::io::Write;

use cni_testing::Host;
use serde_json::json;

use crate::bridge::net::theirs;

/// Whether it is 1.10.0 or later, by what it does: Debian's does not know its version. From then on host-local refuses a gateway
/// outside the subnet.
pub(crate) fn is_1_10(host: &Host) -> bool {
    let conf = json!({
        "cniVersion": "1.0.0", "name": "which-release", "type": "bridge",
        "ipam": {
            "type": "host-local", "dataDir": host.dir().with_file_name("which-release"),
            "subnet": "10.1.2.0/24", "gateway": "10.1.3.1",
        },
    });
    let container = host.container("which-release");
    let outcome = theirs("host-local", "ADD", &container, &conf);
    if outcome.code == Some(0) {
        theirs("host-local", "DEL", &container, &conf).ok();
        return false;
    }
    assert!(outcome.stdout.contains("gateway 10.1.3.1 not in network 10.1.2.0/24"), "{}", outcome.stdout);
    true
}

/// The same for a test of what came with 1.10.0, which with an older release counts as skipped.
pub(crate) fn is_1_10_or_skip(host: &Host, test: &str) -> bool {
    let is_1_10 = is_1_10(host);
    if !is_1_10 {
        let why =
            format!("skipped: {test} needs the reference's plugins of 1.10.0 or later in $CNI_REFERENCE_DIR");
        // Past the harness, for xtask to count.
        let mut stderr = std::io::stderr();
        writeln!(stderr, "{why}").unwrap();
    }
    is_1_10
}
