//! `demo`: builds what is shipped, and lets it connect two containers. The demo itself is an example of cni-testing,
//! where the private host and the containers come from.

use crate::cargo::{self, cargo};
use crate::{Result, binaries, namespaces};

/// Builds, then runs the demo in namespaces that this process enters for good.
pub(crate) fn run() -> Result<()> {
    println!("building the plugins");
    let bin = binaries::installed()?;
    cargo::run(cargo().args(["build", "--quiet", "--package", "cni-testing", "--example", "demo"]))?;
    namespaces::enter()?;
    let mut demo = cargo();
    demo.args(["run", "--quiet", "--offline", "--package", "cni-testing", "--example", "demo"]);
    cargo::run(demo.env("CNI_TESTING_BIN", bin))
}
