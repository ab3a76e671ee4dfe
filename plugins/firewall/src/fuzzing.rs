//! For the fuzz targets: what an ADD works out before it touches the host.

use cni_plugin::{Request, Result};

use crate::config::{Config, Wire};
use crate::{bridge, pod};

/// Validates the configuration and finds the container's part in prevResult.
pub fn plan(req: &Request<Wire>) -> Result<()> {
    let config = Config::new(&req.config)?;
    let result = req.prev_result()?;
    let _ = pod(req, Some(result));
    bridge(result, config.policy).map(drop)
}
