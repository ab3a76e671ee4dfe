//! The one image of the cluster, since it reaches no registry: a program that sleeps, for sandboxes and containers alike.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::cargo::run;
use crate::{Result, tools};

pub(super) const NAME: &str = "localhost/pause:1";

/// Makes an archive that `ctr image import` reads, in a folder. In Docker's format, which takes one hash where OCI's takes three.
pub(super) fn make(folder: &Path) -> Result<PathBuf> {
    let (source, program) = (folder.join("pause.rs"), folder.join("pause"));
    write(&source, b"fn main() { loop { std::thread::park() } }\n")?;
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let flags = ["-O", "-C", "target-feature=+crt-static", "-C", "strip=symbols", "-o"];
    run(Command::new(rustc).args(flags).arg(&program).arg(&source))?;

    let layer = folder.join("layer.tar");
    archive(&layer, &[("pause", &program)])?;
    let bytes = fs::read(&layer).map_err(|error| tools::cannot("read", &layer, error))?;
    let hash: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        // A namespace's first process is deaf to a signal that it does not handle, and would be waited for.
        "config": {"Entrypoint": ["/pause"], "StopSignal": "SIGKILL"},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{hash}")]},
    });
    let manifest = json!([{"Config": "config.json", "RepoTags": [NAME], "Layers": ["layer.tar"]}]);
    let (config_path, manifest_path) = (folder.join("config.json"), folder.join("manifest.json"));
    write(&config_path, config.to_string().as_bytes())?;
    write(&manifest_path, manifest.to_string().as_bytes())?;
    let image = folder.join("image.tar");
    archive(
        &image,
        &[("manifest.json", &manifest_path), ("config.json", &config_path), ("layer.tar", &layer)],
    )?;
    Ok(image)
}

fn archive(to: &Path, files: &[(&str, &Path)]) -> Result<()> {
    let cannot = |error| tools::cannot("write", to, error);
    let mut builder = tar::Builder::new(File::create(to).map_err(cannot)?);
    for (name, path) in files {
        builder.append_path_with_name(path, name).map_err(cannot)?;
    }
    builder.finish().map_err(cannot)
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    fs::write(path, content).map_err(|error| tools::cannot("write", path, error))
}
