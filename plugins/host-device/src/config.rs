//! The configuration: its form on the wire, and which device of the host it names.
//!
//! DEL and GC judge nothing here: what an ADD was refused for must not keep a DEL from giving the device back.

use std::path::{Component, Path, PathBuf};

use cni_plugin::{Call, Error, Result};
use serde::Deserialize;

use crate::sysfs::Sysfs;

/// ALTIFNAMSIZ of linux/if.h without the terminating zero: a device can be named by an alternative name, too.
const NAME_MAX: usize = 127;
/// What the kernel's documentation calls the device's path begins here.
const DEVICES: &str = "/sys/devices";
/// Lengths of hardware addresses that the reference takes: Ethernet, EUI-64, IP over InfiniBand.
const ADDRESS_LENGTHS: [usize; 3] = [6, 8, 20];

/// The plugin's keys of the network configuration, read but not yet validated. Empty is unset.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Wire {
    device: Option<String>,
    hwaddr: Option<String>,
    kernelpath: Option<String>,
    #[serde(rename = "pciBusID")]
    pci_bus_id: Option<String>,
    #[serde(rename = "runtimeConfig")]
    runtime_config: WireRuntime,
    #[serde(rename = "useInterfaceNetwork")]
    use_interface_network: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireRuntime {
    #[serde(rename = "deviceID")]
    device_id: Option<String>,
}

/// By what the device is found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Selector {
    /// Its name, or an alternative name.
    Name(String),
    /// Its hardware address, of any of [`ADDRESS_LENGTHS`].
    Address(Vec<u8>),
    /// Its folder below /sys/devices, relative to /sys; no part of it leads elsewhere.
    KernelPath(PathBuf),
    /// Its address on the PCI bus.
    Pci(String),
    /// Its name on the auxiliary bus.
    Auxiliary(String),
}

/// A device that is named.
#[derive(Debug, PartialEq, Eq)]
pub struct Config {
    pub(crate) selector: Selector,
    /// `pciBusID`, or `runtimeConfig.deviceID` when it is one; the driver that counts is this device's, even when the
    /// interface is chosen otherwise.
    pub(crate) pci: Option<String>,
    /// The device's addresses, routes and rules go with it.
    pub(crate) with_network: bool,
}

impl Wire {
    /// Reads the keys. An error names the key that has the wrong type.
    pub(crate) fn read(call: &Call) -> Result<Self> {
        call.read()
    }

    /// `device`, whatever else is there.
    pub(crate) fn device(&self) -> Option<&str> {
        set(&self.device)
    }

    /// Whether the device comes with each request from the runtime, and so is unknown to STATUS.
    pub(crate) fn names_no_device(&self) -> bool {
        let runtime = &self.runtime_config.device_id;
        [&self.device, &self.hwaddr, &self.kernelpath, &self.pci_bus_id, runtime].map(set) == [None; 5]
    }
}

/// The error of an ADD without a device.
pub(crate) fn unnamed() -> Error {
    Error::config("no device is named: set device, hwaddr, kernelpath, pciBusID or runtimeConfig.deviceID")
}

impl Config {
    /// Validates the keys. `device` goes before `hwaddr`, `kernelpath`, and the buses; `runtimeConfig.deviceID` replaces
    /// `pciBusID`. The file system tells which bus it is on.
    pub(crate) fn new(wire: &Wire, sysfs: &Sysfs) -> Result<Self> {
        let mut pci = set(&wire.pci_bus_id).map(pci_bus_id).transpose()?;
        let mut auxiliary = None;
        if let Some(id) = set(&wire.runtime_config.device_id) {
            pci = pci_address(id).filter(|id| sysfs.has_pci(id));
            if pci.is_none() {
                auxiliary = Some(auxiliary_id(id, sysfs)?);
            }
        }
        let selector = if let Some(name) = wire.device() {
            Selector::Name(device_name(name)?)
        } else if let Some(address) = set(&wire.hwaddr) {
            Selector::Address(hardware_address(address)?)
        } else if let Some(path) = set(&wire.kernelpath) {
            Selector::KernelPath(kernel_path(path)?)
        } else if let Some(address) = &pci {
            Selector::Pci(address.clone())
        } else if let Some(id) = auxiliary {
            Selector::Auxiliary(id)
        } else {
            return Err(unnamed());
        };
        Ok(Config { selector, pci, with_network: wire.use_interface_network })
    }
}

fn set(key: &Option<String>) -> Option<&str> {
    key.as_deref().filter(|value| !value.is_empty())
}

fn device_name(name: &str) -> Result<String> {
    if name.len() > NAME_MAX || name.contains(['/', '\0']) {
        return Err(Error::config(format!("device: {name:?} cannot be the name of an interface")));
    }
    Ok(name.to_owned())
}

/// `02:00:00:00:00:01`, also with `-`, or in groups of four digits with `.`, as Go's net.ParseMAC has it.
fn hardware_address(text: &str) -> Result<Vec<u8>> {
    let invalid = || Error::config(format!("hwaddr: {text:?} is not a hardware address"));
    let (separator, digits) = match text {
        _ if text.contains('.') => ('.', 4),
        _ if text.contains('-') => ('-', 2),
        _ => (':', 2),
    };
    let mut octets = Vec::new();
    for group in text.split(separator) {
        if group.len() != digits || !group.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(invalid());
        }
        let number = u16::from_str_radix(group, 16).map_err(|_| invalid())?;
        octets.extend(&number.to_be_bytes()[2 - digits / 2..]);
    }
    if ADDRESS_LENGTHS.contains(&octets.len()) { Ok(octets) } else { Err(invalid()) }
}

fn kernel_path(text: &str) -> Result<PathBuf> {
    let invalid = || Error::config(format!("kernelpath: {text:?} is not a path below {DEVICES}"));
    let below = Path::new(text).strip_prefix(DEVICES).map_err(|_| invalid())?;
    // Path drops `.` and doubled separators by itself.
    let plain = below.components().all(|part| matches!(part, Component::Normal(_)));
    if !plain || below.as_os_str().is_empty() || text.contains('\0') {
        return Err(invalid());
    }
    Ok(Path::new("devices").join(below))
}

fn pci_bus_id(text: &str) -> Result<String> {
    let example = "such as 0000:03:00.0";
    pci_address(text).ok_or_else(|| {
        Error::config(format!("pciBusID: {text:?} is not an address on the PCI bus {example}"))
    })
}

/// `<domain>:<bus>:<device>.<function>` as the kernel writes it (pci_setup_device in drivers/pci/probe.c): four or more
/// digits, two, two, and one; capitals become small.
fn pci_address(text: &str) -> Option<String> {
    let hex = |part: &str, at_least: usize, at_most: usize| {
        (at_least..=at_most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let (rest, function) = text.split_once('.')?;
    let parts: Vec<&str> = rest.split(':').collect();
    let [domain, bus, device] = parts[..] else { return None };
    let valid = hex(domain, 4, 8) && hex(bus, 2, 2) && hex(device, 2, 2) && hex(function, 1, 1);
    valid.then(|| text.to_ascii_lowercase())
}

/// Any name of one path component is a name on the auxiliary bus (`mlx5_core.sf.2`).
fn auxiliary_id(text: &str, sysfs: &Sysfs) -> Result<String> {
    let invalid = |why: &str| Error::config(format!("runtimeConfig.deviceID: {text:?} {why}"));
    if !Path::new(text).components().eq([Component::Normal(text.as_ref())]) || text.contains('\0') {
        return Err(invalid("cannot be the name of a device"));
    }
    if !sysfs.has_auxiliary(text) {
        return Err(invalid("is neither on the PCI bus nor on the auxiliary bus of this host"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
