//! `cnitool validate`: a configuration key by key, and whether its plugins are there and speak its version.

mod finding;
mod keys;
mod walk;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cni_types::{ConfError, NetworkName, PluginType, SpecVersion, json};
use libcni::{ConfigError, Network};
use serde_json::{Map, Value};

use crate::chain::{Answer, Tool, network_name};
use crate::outcome::{Failure, Outcome};
use finding::{Finding, Severity};
use walk::{Walker, join, type_of};

/// A plugin that the configuration runs.
struct Use {
    file: PathBuf,
    /// Where it is named.
    path: String,
    plugin_type: String,
}

impl Tool {
    pub(crate) fn validate(&self, what: &str) -> Answer {
        let file = self.file_of(what)?;
        let (mut findings, uses) = check_file(&file)?;
        let network = Network::from_file(&file);
        let version = network.as_ref().ok().map(|network| network.cni_version);
        if let Err(error) = &network
            && !findings.iter().any(|finding| finding.severity == Severity::Error)
        {
            findings.push(of_config_error(&file, error));
        }
        findings.extend(self.check_plugins(&file, &uses, version));
        Ok(answer(&file, network.ok().as_ref(), &findings))
    }

    fn file_of(&self, what: &str) -> Result<PathBuf, Vec<Failure>> {
        let is_file =
            what.contains('/') || [".conflist", ".conf", ".json"].iter().any(|end| what.ends_with(end));
        if is_file {
            return Ok(what.into());
        }
        let file = Network::find_file(&self.environment.net_dir(), &network_name(what)?);
        file.map_err(|error| Failure::new(error.to_string()).into())
    }

    /// Each plugin is run once, however often it is used. Without a version only its presence is looked at.
    fn check_plugins(&self, file: &Path, uses: &[Use], version: Option<SpecVersion>) -> Vec<Finding> {
        if self.runtime.plugin_dirs().is_empty() {
            let message = "CNI_PATH is not set, so no plugin was looked for".to_string();
            return vec![Finding {
                severity: Severity::Warning,
                file: file.to_path_buf(),
                path: String::new(),
                message,
            }];
        }
        let mut faults: BTreeMap<&str, Option<String>> = BTreeMap::new();
        let mut findings = Vec::new();
        for used in uses {
            let fault =
                faults.entry(&used.plugin_type).or_insert_with(|| self.fault_of(&used.plugin_type, version));
            if let Some(message) = fault {
                findings.push(Finding {
                    severity: Severity::Error,
                    file: used.file.clone(),
                    path: used.path.clone(),
                    message: message.clone(),
                });
            }
        }
        findings
    }

    fn fault_of(&self, plugin_type: &str, version: Option<SpecVersion>) -> Option<String> {
        // A name that is none was found already.
        let plugin = PluginType::new(plugin_type).ok()?;
        let checked = match version {
            Some(version) => self.runtime.validate_plugin(&plugin, version),
            None => self.runtime.version(&plugin).map(drop),
        };
        checked.err().map(|error| error.to_string())
    }
}

/// What is wrong in a file and in those of its folder, and the plugins that they name.
fn check_file(file: &Path) -> Result<(Vec<Finding>, Vec<Use>), Failure> {
    let mut walker = Walker::new(file);
    let mut uses = Vec::new();
    let Some(value) = parse(file, &mut walker)? else { return Ok((walker.findings, uses)) };
    let is_list = file.extension().is_some_and(|extension| extension == "conflist");
    let Value::Object(object) = &value else {
        walker.error("", "must be an object");
        return Ok((walker.findings, uses));
    };
    check_name(object.get("name"), &mut walker);
    if !is_list {
        check_version(&value, &mut walker);
        check_plugin(file, "", &value, &mut walker, &mut uses);
        return Ok((walker.findings, uses));
    }

    walker.list(object);
    check_version(&value, &mut walker);
    for (index, plugin) in object.get("plugins").and_then(Value::as_array).into_iter().flatten().enumerate() {
        check_plugin(file, &format!("plugins[{index}]"), plugin, &mut walker, &mut uses);
    }
    let mut findings = walker.findings;
    for file in folder_of(file, object) {
        let mut walker = Walker::new(&file);
        if let Some(plugin) = parse(&file, &mut walker)? {
            check_plugin(&file, "", &plugin, &mut walker, &mut uses);
        }
        findings.append(&mut walker.findings);
    }
    Ok((findings, uses))
}

fn parse(file: &Path, walker: &mut Walker<'_>) -> Result<Option<Value>, Failure> {
    let bytes =
        fs::read(file).map_err(|error| Failure::new(format!("cannot read {}: {error}", file.display())))?;
    let value = serde_json::from_slice(&bytes);
    if let Err(error) = &value {
        walker.error("", format!("not JSON: {error}"));
    }
    Ok(value.ok())
}

fn check_name(name: Option<&Value>, walker: &mut Walker<'_>) {
    match name {
        None => walker.error("name", "missing"),
        Some(Value::String(name)) => {
            if let Err(error) = NetworkName::new(name.as_str()) {
                walker.error("name", error.to_string());
            }
        }
        // Reported as a wrong type.
        Some(_) => {}
    }
}

fn check_version(value: &Value, walker: &mut Walker<'_>) {
    // With `cniVersions`, those that are not known are passed over.
    if value.get("cniVersions").is_none()
        && let Some(version) = value.get("cniVersion").and_then(Value::as_str)
        && let Err(error) = version.parse::<SpecVersion>()
    {
        walker.error("cniVersion", error.to_string());
    }
}

fn check_plugin(file: &Path, path: &str, plugin: &Value, walker: &mut Walker<'_>, uses: &mut Vec<Use>) {
    walker.plugin(path, plugin);
    let Value::Object(object) = plugin else { return };
    // One that is no string is reported as a wrong type.
    if matches!(json::get(object, "type"), None | Some(Value::String(_))) && type_of(object).is_none() {
        walker.error(&join(path, "type"), "missing");
    }
    let ipam = json::get(object, "ipam").and_then(Value::as_object);
    let places = [(Some(object), join(path, "type")), (ipam, join(&join(path, "ipam"), "type"))];
    for (object, place) in places {
        let Some(name) = object.and_then(type_of) else { continue };
        if let Err(error) = PluginType::new(name) {
            walker.error(&place, error.to_string());
        }
        uses.push(Use { file: file.to_path_buf(), path: place, plugin_type: name.to_string() });
    }
}

/// The files of the plugins that lie beside a list, as libcni finds them.
fn folder_of(list: &Path, object: &Map<String, Value>) -> Vec<PathBuf> {
    let only_inlined = match object.get("loadOnlyInlinedPlugins") {
        Some(Value::Bool(only)) => *only,
        Some(Value::String(only)) => only.eq_ignore_ascii_case("true"),
        _ => false,
    };
    let name = object.get("name").and_then(Value::as_str).and_then(|name| NetworkName::new(name).ok());
    match name {
        // A folder that cannot be read is reported by what loads the network.
        Some(name) if !only_inlined => Network::plugin_files(list, &name).unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// What libcni refuses that the tables let pass.
fn of_config_error(file: &Path, error: &ConfigError) -> Finding {
    let (file, path, message) = match error {
        ConfigError::File { path: file, source: ConfError::Field { path, reason } } => {
            (file.as_path(), path.clone(), reason.clone())
        }
        ConfigError::File { path: file, source } => (file.as_path(), String::new(), source.to_string()),
        other => (file, String::new(), other.to_string()),
    };
    Finding { severity: Severity::Error, file: file.to_path_buf(), path, message }
}

fn answer(file: &Path, network: Option<&Network>, findings: &[Finding]) -> Outcome {
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let mut text: String = findings.iter().map(|finding| format!("{finding}\n")).collect();
    text += &match network {
        Some(network) if errors == 0 => format!(
            "{}: network {}, CNI {}, {}: no errors, {}\n",
            file.display(),
            network.name,
            network.cni_version,
            counted(network.plugins.len(), "plugin"),
            counted(warnings, "warning"),
        ),
        _ => format!("{}: {}, {}\n", file.display(), counted(errors, "error"), counted(warnings, "warning")),
    };
    let json = serde_json::json!({
        "file": file.display().to_string(),
        "network": network.map(|network| network.name.as_str()),
        "cniVersion": network.map(|network| network.cni_version.as_str()),
        "valid": errors == 0,
        "findings": findings.iter().map(Finding::json).collect::<Vec<_>>(),
    });
    Outcome { negative: errors > 0, ..Outcome::both(text, json) }
}

fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}
