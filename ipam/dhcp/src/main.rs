//! The `dhcp` plugin's executable, and its daemon's; all of it is in the library beside it.

fn main() -> std::process::ExitCode {
    cni_plugin::main_with_daemon(&cni_dhcp_plugin::PLUGIN, cni_dhcp_plugin::daemon)
}
