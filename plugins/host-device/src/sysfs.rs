//! Devices as /sys shows them: which driver has one, and which interface is its own. What is joined to a path here has been
//! checked to lead nowhere else ([`crate::config`]), and what is found is only a name, to be asked for over netlink.

use std::fs;
use std::path::{Path, PathBuf};

use cni_plugin::{Error, Result};
use cni_types::IfName;

/// Drivers that hand the device to a program: it has no interface then. The reference's list.
const USERSPACE: [&str; 3] = ["vfio-pci", "uio_pci_generic", "igb_uio"];

/// A tree like /sys.
#[derive(Debug)]
pub(crate) struct Sysfs {
    root: PathBuf,
}

impl Sysfs {
    /// The host's.
    pub(crate) fn host() -> Self {
        Sysfs { root: PathBuf::from("/sys") }
    }

    /// Whether a device of this address is on the PCI bus.
    pub(crate) fn has_pci(&self, address: &str) -> bool {
        self.pci(address).exists()
    }

    /// Whether a device of this name is on the auxiliary bus.
    pub(crate) fn has_auxiliary(&self, id: &str) -> bool {
        self.auxiliary(id).exists()
    }

    /// Whether there is a device in this folder, relative to /sys.
    pub(crate) fn has_path(&self, path: &Path) -> bool {
        self.root.join(path).exists()
    }

    /// Whether the device on the PCI bus belongs to a driver of [`USERSPACE`]. One without a driver is an error.
    pub(crate) fn is_in_userspace(&self, address: &str) -> Result<bool> {
        let path = self.pci(address).join("driver");
        let driver = fs::read_link(&path).map_err(|error| {
            Error::failed(format!("cannot tell the driver of {address}: {}: {error}", path.display()))
        })?;
        Ok(USERSPACE.iter().any(|name| driver.file_name().is_some_and(|driver| driver == *name)))
    }

    /// The interface of a device on the PCI bus; a virtio device has it one level deeper.
    pub(crate) fn interface_of_pci(&self, address: &str) -> Result<String> {
        let device = self.pci(address);
        if device.join("net").exists() {
            return first_interface(&device, address);
        }
        let virtio = entries(&device).into_iter().find(|name| name.starts_with("virtio"));
        match virtio {
            Some(virtio) => first_interface(&device.join(virtio), address),
            None => first_interface(&device, address),
        }
    }

    /// The interface of a device on the auxiliary bus.
    pub(crate) fn interface_of_auxiliary(&self, id: &str) -> Result<String> {
        first_interface(&self.auxiliary(id), id)
    }

    /// The interface of the device in this folder, relative to /sys.
    pub(crate) fn interface_of_path(&self, path: &Path) -> Result<String> {
        first_interface(&self.root.join(path), &Path::new("/sys").join(path).to_string_lossy())
    }

    fn pci(&self, address: &str) -> PathBuf {
        self.root.join("bus/pci/devices").join(address)
    }

    fn auxiliary(&self, id: &str) -> PathBuf {
        self.root.join("bus/auxiliary/devices").join(id)
    }
}

/// The first by name, where a device has several. The kernel shows only those of the namespace that /sys was mounted in, so
/// that one which is in a container is not there.
fn first_interface(device: &Path, what: &str) -> Result<String> {
    entries(&device.join("net")).into_iter().find(|name| IfName::new(name.as_str()).is_ok()).ok_or_else(
        || {
            Error::failed(format!(
                "device {what} has no interface on the host: there is none in {}",
                device.join("net").display()
            ))
        },
    )
}

/// Names in a folder, in order; none in one that cannot be read.
fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// A tree of a test's own.
#[cfg(test)]
pub(crate) mod fake {
    use std::os::unix::fs::symlink;

    use super::*;

    pub(crate) struct Fake {
        pub(crate) sysfs: Sysfs,
        root: tempfile::TempDir,
    }

    impl Fake {
        pub(crate) fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            Fake { sysfs: Sysfs { root: root.path().to_owned() }, root }
        }

        /// A folder, such as `bus/pci/devices/0000:03:00.0/net/ens3`.
        pub(crate) fn folder(&self, path: &str) {
            fs::create_dir_all(self.root.path().join(path)).unwrap();
        }

        pub(crate) fn driver(&self, address: &str, driver: &str) {
            self.folder(&format!("bus/pci/devices/{address}"));
            let link = self.root.path().join("bus/pci/devices").join(address).join("driver");
            symlink(format!("../../../drivers/{driver}"), link).unwrap();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fake::Fake;

    const ADDRESS: &str = "0000:03:00.0";

    #[test]
    fn the_interface_of_a_pci_device_is_the_first_by_name() {
        let fake = Fake::new();
        for name in ["ens3f1", "ens3f0", "a-name-longer-than-15"] {
            fake.folder(&format!("bus/pci/devices/{ADDRESS}/net/{name}"));
        }
        assert_eq!(fake.sysfs.interface_of_pci(ADDRESS).unwrap(), "ens3f0");
    }

    #[test]
    fn a_virtio_device_has_its_interface_one_level_deeper() {
        let fake = Fake::new();
        fake.folder(&format!("bus/pci/devices/{ADDRESS}/msi_irqs"));
        fake.folder(&format!("bus/pci/devices/{ADDRESS}/virtio7/net/ens3"));
        assert_eq!(fake.sysfs.interface_of_pci(ADDRESS).unwrap(), "ens3");
    }

    #[test]
    fn a_device_whose_interface_is_away_is_named() {
        let fake = Fake::new();
        fake.folder(&format!("bus/pci/devices/{ADDRESS}/net"));
        fake.folder("bus/auxiliary/devices/mlx5_core.sf.2");
        for error in [
            fake.sysfs.interface_of_pci(ADDRESS).unwrap_err(),
            fake.sysfs.interface_of_auxiliary("mlx5_core.sf.2").unwrap_err(),
            fake.sysfs.interface_of_path("devices/pci0000:00".as_ref()).unwrap_err(),
        ] {
            assert!(error.to_string().contains("has no interface on the host"), "{error}");
        }
    }

    #[test]
    fn auxiliary_devices_and_paths_have_interfaces() {
        let fake = Fake::new();
        fake.folder("bus/auxiliary/devices/mlx5_core.sf.2/net/sf2");
        fake.folder("devices/pci0000:00/0000:00:03.0/net/ens3");
        assert_eq!(fake.sysfs.interface_of_auxiliary("mlx5_core.sf.2").unwrap(), "sf2");
        let path = "devices/pci0000:00/0000:00:03.0".as_ref();
        assert_eq!(fake.sysfs.interface_of_path(path).unwrap(), "ens3");
    }

    #[test]
    fn drivers_of_programs_are_told_from_others() {
        let fake = Fake::new();
        for (device, driver, userspace) in [
            ("0000:03:00.0", "vfio-pci", true),
            ("0000:03:00.1", "uio_pci_generic", true),
            ("0000:03:00.2", "igb_uio", true),
            ("0000:03:00.3", "ixgbe", false),
            ("0000:03:00.4", "mlx5_core", false),
        ] {
            fake.driver(device, driver);
            assert_eq!(fake.sysfs.is_in_userspace(device).unwrap(), userspace, "{driver}");
        }
    }

    #[test]
    fn a_pci_device_without_a_driver_is_an_error() {
        let fake = Fake::new();
        fake.folder(&format!("bus/pci/devices/{ADDRESS}"));
        let error = fake.sysfs.is_in_userspace(ADDRESS).unwrap_err().to_string();
        assert!(error.starts_with("cannot tell the driver of 0000:03:00.0"), "{error}");
    }
}
