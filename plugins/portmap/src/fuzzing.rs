//! For the fuzz targets: what an ADD works out before it touches the host.

use cni_plugin::{Request, Result};

use crate::config::Config;
use crate::nftables::Wanted;
use crate::{Pod, addresses, forwards, owner};

/// Validates the configuration and makes the elements of the nftables backend.
pub fn plan(req: &Request<Config>) -> Result<()> {
    let config = &req.config;
    let result = req.prev_result()?;
    let pod = Pod { owner: owner(req), addresses: addresses(result, req.attachment.ifname.as_str()) };
    Wanted::new(config, &pod, &forwards(config, &pod)).map(drop)
}
