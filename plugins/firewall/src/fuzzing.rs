//! For the fuzz targets: what an ADD works out before it touches the host.

use cni_plugin::{Request, Result};

use crate::config::Config;
use crate::{bridge, pod};

/// Validates the configuration and finds the container's part in prevResult.
pub fn plan(req: &Request<Config>) -> Result<()> {
    let config = &req.config;
    let result = req.prev_result()?;
    let _ = pod(req, Some(result));
    bridge(result, config.policy).map(drop)
}
