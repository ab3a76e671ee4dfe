//! The real containerd with runc, over our plugins alone, asked as kubelet asks it: through the Container Runtime Interface.
//! Debian's containerd 1.6, which speaks up to version 1.0.0 of the specification and has neither GC nor STATUS.
//!
//! These tests are marked as ignored, since they need root and Debian's packages; `cargo xtask test` runs them where both
//! are there, and says so where not. By hand, as root:
//!
//! ```sh
//! apt-get install containerd runc busybox-static iptables
//! cargo build --workspace --bins
//! unshare -n -m cargo test -p cni-runtime-tests --test containerd -- --ignored
//! ```
//!
//! Everything that containerd keeps lies in the host's folder; what it insists on, /run and /var/lib, is hidden under empty
//! file systems. It, its shims and the containers' processes live in a process namespace that ends with the test.

#![allow(clippy::unwrap_used, reason = "what panics here is a test that fails")]

mod cri;
mod killed;
mod life;
mod many;
mod node;
mod shell;
