//! The configuration: its form on the wire, and the token buckets that it asks for.
//!
//! DEL and GC need none of it but whether there are limits at all: what an ADD was refused for must not keep a DEL from
//! cleaning up.

use cni_netlink::Tbf;
use cni_plugin::{Call, Error, Result};
use serde::Deserialize;

/// How long a packet waits at most behind what the bucket holds, as with the reference.
const LATENCY_MICROS: f64 = 25_000.0;

/// The plugin's keys of the network configuration, read but not yet judged.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Wire {
    ingress_rate: u64,
    ingress_burst: u64,
    egress_rate: u64,
    egress_burst: u64,
    runtime_config: WireRuntime,
    /// Whether one of the four keys is there, `null` too.
    #[serde(skip)]
    at_top: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WireRuntime {
    bandwidth: WireLimits,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WireLimits {
    ingress_rate: u64,
    ingress_burst: u64,
    egress_rate: u64,
    egress_burst: u64,
}

/// What the container may receive and send; `None` for as much as it likes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) ingress: Option<Limit>,
    pub(crate) egress: Option<Limit>,
}

/// A limit of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    /// The configuration's key of the rate.
    pub(crate) key: &'static str,
    /// Bytes that pass at once after a pause.
    pub(crate) burst: u32,
    pub(crate) tbf: Tbf,
    /// The same as the reference has it where the numbers are too large for the kernel's: without the bits beyond the 32nd.
    wrapped: Tbf,
}

impl Wire {
    /// Reads the keys. An error names the key that has the wrong type.
    pub(crate) fn read(call: &Call) -> Result<Self> {
        let mut wire: Wire = call.read()?;
        let keys = ["ingressRate", "ingressBurst", "egressRate", "egressBurst"];
        wire.at_top = call.conf.raw.has_any(&keys);
        Ok(wire)
    }

    /// One key at the top and nothing of what the runtime says counts.
    fn limits(&self) -> (&'static str, WireLimits) {
        if !self.at_top {
            return ("runtimeConfig.bandwidth.", self.runtime_config.bandwidth);
        }
        let Wire { ingress_rate, ingress_burst, egress_rate, egress_burst, .. } = *self;
        ("", WireLimits { ingress_rate, ingress_burst, egress_rate, egress_burst })
    }

    /// Whether there may be a limit, however wrong.
    pub(crate) fn has_limits(&self) -> bool {
        let (_, limits) = self.limits();
        limits.ingress_rate != 0 || limits.egress_rate != 0
    }
}

impl Limits {
    /// Judges the keys.
    pub(crate) fn new(wire: &Wire) -> Result<Self> {
        let (place, limits) = wire.limits();
        let limit = |keys, rate, burst| {
            Limit::new(keys, rate, burst).map_err(|reason| Error::config(format!("{place}{reason}")))
        };
        Ok(Limits {
            ingress: limit(("ingressRate", "ingressBurst"), limits.ingress_rate, limits.ingress_burst)?,
            egress: limit(("egressRate", "egressBurst"), limits.egress_rate, limits.egress_burst)?,
        })
    }

    pub(crate) fn is_none(&self) -> bool {
        self.ingress.is_none() && self.egress.is_none()
    }
}

impl Limit {
    /// From bits per second and bits.
    fn new(
        (rate_key, burst_key): (&'static str, &str),
        rate: u64,
        burst: u64,
    ) -> std::result::Result<Option<Self>, String> {
        match (rate, burst) {
            (0, 0) => return Ok(None),
            (0, _) => return Err(format!("{burst_key}: is set without {rate_key}")),
            (_, 0) => return Err(format!("{rate_key}: is set without {burst_key}")),
            (..8, _) => return Err(format!("{rate_key}: {rate} bits per second are less than a byte")),
            (_, ..8) => return Err(format!("{burst_key}: {burst} bits are less than a byte")),
            _ => {}
        }
        let bytes = u32::try_from(burst / 8).ok().filter(|bytes| *bytes != u32::MAX);
        let bytes = bytes.ok_or_else(|| format!("{burst_key}: {burst} bits are more than 4 GB"))?;
        // Rust's conversion of what is too large gives the largest number.
        let tbf = bucket(rate / 8, bytes, |number| number as u32);
        if tbf.buffer == 0 {
            let micro = format!("{burst_key}: {burst} bits are less than what passes in a microsecond");
            return Err(format!("{micro} at {rate} bits per second ({rate_key})"));
        }
        // Go's cuts bits off, on amd64.
        let wrapped = bucket(rate / 8, bytes, |number| number as i64 as u32);
        Ok(Some(Limit { key: rate_key, burst: bytes, tbf, wrapped }))
    }

    /// Whether this is the limit's bucket, be it the reference's.
    pub(crate) fn is(&self, found: &Tbf) -> bool {
        *found == self.tbf || *found == self.wrapped
    }
}

/// The bucket to the last unit as the reference has it, for its CHECK to hold. It goes by whole microseconds, in floating point.
fn bucket(rate: u64, burst: u32, to_u32: impl Fn(f64) -> u32) -> Tbf {
    let micros = to_u32(f64::from(burst) * 1e6 / rate as f64);
    Tbf {
        rate,
        buffer: to_u32(f64::from(micros) * 1000.0 / f64::from(Tbf::TICK_NANOS)),
        limit: to_u32(rate as f64 * LATENCY_MICROS / 1e6 + f64::from(burst)),
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
