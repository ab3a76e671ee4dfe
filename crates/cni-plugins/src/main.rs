//! `cni-plugins`: every plugin in one executable. It is the plugin by whose name it is called, as a hard or a symbolic link;
//! or the one that its first argument names, `cni-plugins bridge`. Called otherwise it has commands of its own, of which
//! `install` makes the links.
//!
//! What a plugin's call passes through before it is that plugin is here, and is little: the command line's parser is only
//! reached by the commands.

mod cli;
mod install;
mod plugins;

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let called = args.next().unwrap_or_default();
    let called = Path::new(&called).file_name().unwrap_or_default();
    let first = args.next();
    let plugin = |name: &OsStr| plugins::find(name.to_str()?);
    let texts = |args: Vec<OsString>| args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    if let Some(plugin) = plugin(called) {
        return plugin.main(plugins::PLUGINS, texts(first.into_iter().chain(args).collect()));
    }
    if let Some(plugin) = first.as_deref().and_then(plugin) {
        return plugin.main(plugins::PLUGINS, texts(args.collect()));
    }

    let name = called.to_string_lossy();
    // A runtime is calling, and reads nothing but the specification's answers.
    if let Some(code) = cni_plugin::refuse(&unknown(&name, first.as_ref())) {
        return code;
    }
    if first.is_none() {
        // Some runtimes run every file of the plugins' folder like this, and take the first version that is printed.
        let _ = writeln!(std::io::stderr(), "{}", about());
        return ExitCode::SUCCESS;
    }
    cli::run()
}

fn unknown(called: &str, first: Option<&OsString>) -> String {
    let name = first.map_or(called.into(), |first| first.to_string_lossy());
    let names: Vec<&str> = plugins::names().collect();
    format!("cannot be plugin {name:?}: this executable has only {}", names.join(", "))
}

/// What it says without arguments, in the form of a plugin's banner.
fn about() -> String {
    let names: Vec<&str> = plugins::names().collect();
    format!("CNI plugins v{} in one executable: {}", cni_plugin::VERSION, names.join(", "))
}
