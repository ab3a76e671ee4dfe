//! Kernel settings of a private namespace.

use cni_host::{sysctl_read, sysctl_write};

use crate::{fresh_netns, make_proc_sys_read_only, on_private_host};

const KEY: &str = "net/ipv4/conf/lo/arp_notify";

#[test]
fn a_setting_is_read_and_written_in_the_threads_namespace() {
    on_private_host(|| {
        let netns = fresh_netns();
        netns.run(|| sysctl_write(KEY, "1")).unwrap().unwrap();
        assert_eq!(netns.run(|| sysctl_read(KEY)).unwrap().unwrap(), "1");
        assert_eq!(sysctl_read(KEY).unwrap(), "0");
    });
}

#[test]
fn a_setting_that_can_only_be_written_is_written() {
    on_private_host(|| sysctl_write("net/ipv4/route/flush", "1").unwrap());
}

#[test]
fn a_value_that_the_kernel_refuses_is_an_error_that_names_the_file() {
    on_private_host(|| {
        let error = sysctl_write(KEY, "often").unwrap_err().to_string();
        assert_eq!(error, format!("cannot write /proc/sys/{KEY}: Invalid argument (os error 22)"));
    });
}

/// moby#47751: some hosts have /proc/sys read-only.
#[test]
fn moby_47751_a_read_only_proc_sys_serves_where_nothing_needs_changing() {
    on_private_host(|| {
        make_proc_sys_read_only();
        sysctl_write(KEY, "0").unwrap();
        let error = sysctl_write(KEY, "1").unwrap_err().to_string();
        assert_eq!(error, format!("cannot write /proc/sys/{KEY}: Read-only file system (os error 30)"));
    });
}
