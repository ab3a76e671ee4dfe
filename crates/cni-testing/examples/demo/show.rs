//! Telling what the plugins did, in few lines.

use std::collections::HashMap;

use cni_types::{CniResult, Interface, SpecVersion};
use serde_json::Value;

use crate::Result;
use crate::watch::{Seen, Watch};

/// The teller, who knows what has been told already.
pub(crate) struct Show {
    watch: Watch,
    steps: usize,
    /// Requests shown in full, and in which step.
    told: HashMap<String, usize>,
}

impl Show {
    pub(crate) fn new(watch: Watch) -> Self {
        Show { watch, steps: 0, told: HashMap::new() }
    }

    /// Begins a step.
    pub(crate) fn step(&mut self, title: &str) {
        self.steps += 1;
        println!("\n{}. {title}", self.steps);
    }

    /// Shows each plugin that ran since the last time, delegates below the plugin that ran them.
    pub(crate) fn plugins(&mut self) -> Result<()> {
        let all = self.watch.take()?;
        for seen in &all {
            let depth = all.iter().filter(|other| other.start < seen.start && seen.end < other.end).count();
            let indent = "  ".repeat(depth + 1);
            let millis = (seen.end - seen.start).as_secs_f64() * 1000.0;
            let Seen { plugin, command, container, .. } = seen;
            println!(
                "{indent}{plugin} {command} {container}{}{millis:.1} ms",
                if container.is_empty() { "" } else { " " }
            );
            println!("{indent}  request  {}", self.request(&seen.request));
            println!("{indent}  answer   {}", answer(&seen.request, &seen.answer)?);
        }
        Ok(())
    }

    fn request(&mut self, request: &Value) -> String {
        let mut rest = request.clone();
        let previous = rest.as_object_mut().and_then(|fields| fields.remove("prevResult"));
        let with = if previous.is_some() { ", with prevResult" } else { "" };
        let (text, step) = (rest.to_string(), self.steps);
        if let Some(told) = self.told.get(&text) {
            let when = if *told == step { String::new() } else { format!(" as in step {told}") };
            return format!("the same{when}{with}");
        }
        self.told.insert(text.clone(), step);
        format!("{text}{with}")
    }
}

fn answer(request: &Value, answer: &Value) -> Result<String> {
    if answer.is_null() {
        return Ok("nothing to say, so all is well".to_owned());
    }
    if request.get("prevResult") == Some(answer) {
        return Ok("prevResult, passed on".to_owned());
    }
    if answer.get("code").is_some() {
        return Ok(answer.to_string());
    }
    let result = CniResult::from_json(answer, SpecVersion::V1_1_0)?;
    let side = |interface: &Interface| if interface.sandbox.is_some() { "inside" } else { "on the host" };
    let interfaces =
        result.interfaces.iter().map(|interface| format!("{} {}", interface.name, side(interface)));
    let ips = result.ips.iter().map(|ip| match ip.gateway {
        Some(gateway) => format!("{} (gateway {gateway})", ip.address),
        None => ip.address.to_string(),
    });
    let routes = result.routes.iter().map(|route| format!("route {}", route.dst));
    Ok(interfaces.chain(ips).chain(routes).collect::<Vec<_>>().join(", "))
}
