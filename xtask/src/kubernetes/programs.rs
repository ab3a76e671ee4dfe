//! The programs of a cluster: Kubernetes' own and etcd built by Go, the rest Debian's.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::cargo::Metadata;
use crate::go::{self, Module, Program};
use crate::{Result, debian, tools};

/// Names the folder of programs that are there already. Who has set it has chosen.
const VARIABLE: &str = "CNI_KUBERNETES_TOOLS";

/// The release of Kubernetes, and the version of the modules that it publishes apart and has below `staging` itself.
const KUBERNETES: &str = "v1.37.2";
const STAGING: &str = "v0.37.2";
const MODULE: &str = "k8s.io/kubernetes";
/// Debian's 3.4 is too old: its watches do not tell their progress, which the API server's lists wait for.
const ETCD: &str = "v3.7.3";
const ETCD_PACKAGE: &str = "go.etcd.io/etcd/server/v3";

/// Those of Kubernetes. The first takes half of the time and compiles most of what the others are made of.
const PROGRAMS: [&str; 6] =
    ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"];

/// Debian's programs, and their packages.
const INSTALLED: &[(&str, &str)] = &[
    ("/usr/bin/containerd", "containerd"),
    ("/usr/sbin/runc", "runc"),
    ("/usr/sbin/iptables-save", "iptables"),
    ("/usr/sbin/nft", "nftables"),
    ("/usr/bin/ip", "iproute2"),
    ("/usr/bin/nsenter", "util-linux"),
];

/// The folder of a cluster's programs.
pub(crate) struct Tools(PathBuf);

impl Tools {
    /// Those in `target/kubernetes-tools`, built the first time, and what Debian has installed. It wants the internet.
    pub(super) fn get() -> Result<Self> {
        let missing = INSTALLED.iter().filter(|(path, _)| !Path::new(path).exists());
        let missing: Vec<&str> = missing.map(|(_, package)| *package).collect();
        if !missing.is_empty() {
            debian::install(&missing)?;
        }
        let chosen = env::var_os(VARIABLE).map(PathBuf::from);
        let folder = chosen.map_or_else(
            || Metadata::load().map(|meta| meta.target_directory.join("kubernetes-tools")),
            Ok,
        )?;
        let tools = Tools(folder);
        if !tools.are_there() {
            go::is_there().map_err(|error| format!("a cluster's programs are built by Go: {error}"))?;
            tools.build()?;
        }
        Ok(tools)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn are_there(&self) -> bool {
        PROGRAMS.iter().chain(&["etcd"]).all(|name| self.path(name).exists())
    }

    /// What is there already stays, so that a build that was stopped goes on.
    fn build(&self) -> Result<()> {
        fs::create_dir_all(&self.0).map_err(|error| tools::cannot("create", &self.0, error))?;
        println!(
            "building Kubernetes {KUBERNETES} into {}, once; this takes a quarter of an hour",
            self.0.display()
        );
        if !self.path("etcd").exists() {
            let etcd = Program { package: ETCD_PACKAGE, version: ETCD, linking: "-s -w" };
            Module::new(&self.path("source/etcd"))?.build(&etcd, &self.path("etcd"))?;
        }
        let module = Module::new(&self.path("source/kubernetes"))?;
        module.replace(&staged(&module.manifest_of(MODULE, KUBERNETES)?), STAGING)?;
        // kubelet and API server compare their versions, and would be 0.0.0 otherwise.
        let version = "k8s.io/component-base/version";
        let (major, minor) = (1, KUBERNETES.split('.').nth(1).unwrap_or_default());
        let linking = format!(
            "-s -w -X {version}.gitVersion={KUBERNETES} -X {version}.gitMajor={major} -X {version}.gitMinor={minor}"
        );
        for name in PROGRAMS.iter().filter(|name| !self.path(name).exists()) {
            println!("building {name}");
            let package = format!("{MODULE}/cmd/{name}");
            let program = Program { package: &package, version: KUBERNETES, linking: &linking };
            module.build(&program, &self.path(name))?;
        }
        Ok(())
    }
}

/// The modules that a manifest looks for in its own folder `staging`, where only a clone has them:
/// `k8s.io/api => ./staging/src/k8s.io/api`.
fn staged(manifest: &str) -> Vec<String> {
    let lines = manifest.lines().filter_map(|line| line.trim().split_once(" => ./staging/"));
    lines.map(|(module, _)| module.trim_start_matches("replace ").to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_of_the_staging_folder_are_found_in_a_manifest() {
        let manifest = "module k8s.io/kubernetes\n\nreplace (\n\tk8s.io/api => ./staging/src/k8s.io/api\n\
                        \tk8s.io/kubelet => ./staging/src/k8s.io/kubelet\n\tx => y v1.0.0\n)\n";
        assert_eq!(staged(manifest), ["k8s.io/api", "k8s.io/kubelet"]);
    }
}
