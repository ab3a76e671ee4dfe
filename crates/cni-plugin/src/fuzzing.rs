//! For the fuzz targets: what an ADD goes through before a plugin's function is called.

use cni_types::SpecVersion;

use crate::incoming::{self, Command};
use crate::vars::Vars;
use crate::{Call, Result};

/// Reads `CNI_ARGS` and standard input.
pub fn call(args: &str, mut stdin: &[u8]) -> Result<Call> {
    let vars = Vars { args: args.to_owned(), ..Vars::default() };
    let input = incoming::read_input(&mut stdin)?;
    let conf = incoming::configuration(Command::Add, &input, SpecVersion::ALL)?;
    incoming::negotiate(Command::Add, conf.cni_version, SpecVersion::ALL)?;
    Ok(incoming::call(Command::Add, &vars, "fuzzed", conf, input))
}
