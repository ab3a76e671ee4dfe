//! The `ipvlan` plugin's executable; all of it is in the library beside it.

fn main() -> std::process::ExitCode {
    cni_plugin::main(&cni_ipvlan::PLUGIN)
}
