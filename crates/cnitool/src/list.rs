//! The attachments in the cache.

use cni_types::{CniResult, SpecVersion};
use libcni::CacheEntry;
use serde_json::{Value, json};

use crate::chain::{Answer, Tool, network_name};
use crate::gc::NetnsState;
use crate::outcome::{Failure, Outcome};

const HEADER: [&str; 6] = ["NETWORK", "CONTAINER", "INTERFACE", "ADDRESSES", "NETNS", "STATE"];

/// A line of the list.
struct Row {
    network: String,
    container_id: String,
    ifname: String,
    addresses: Vec<String>,
    netns: Option<String>,
    state: Option<NetnsState>,
}

impl Tool {
    pub(crate) fn list(&self, network: Option<&str>) -> Answer {
        let network = network.map(network_name).transpose()?;
        let entries = self.runtime.cache().entries().map_err(|error| Failure::new(error.to_string()))?;
        let mut rows = Vec::new();
        let mut notes = Vec::new();
        for entry in entries {
            match entry {
                Ok(entry) if network.as_ref().is_none_or(|network| entry.network == *network) => {
                    rows.push(Row::new(&entry, &mut notes));
                }
                Ok(_) => {}
                Err(error) => notes.push(error.to_string()),
            }
        }
        let json = json!({
            "attachments": rows.iter().map(Row::json).collect::<Vec<_>>(),
            "unusable": notes,
        });
        Ok(Outcome { notes, ..Outcome::both(table(&rows), json) })
    }
}

impl Row {
    fn new(entry: &CacheEntry, notes: &mut Vec<String>) -> Self {
        let attachment = &entry.attachment;
        let addresses = match &entry.result {
            None => Vec::new(),
            Some(result) => match CniResult::from_json(result, SpecVersion::V0_1_0) {
                Ok(result) => result.ips.iter().map(|ip| ip.address.to_string()).collect(),
                Err(error) => {
                    let key = attachment.key();
                    notes.push(format!(
                        "cannot read the result of {} of container {}: {error}",
                        key.ifname, key.container_id
                    ));
                    Vec::new()
                }
            },
        };
        Row {
            network: entry.network.to_string(),
            container_id: attachment.container_id.to_string(),
            ifname: attachment.ifname.to_string(),
            addresses,
            netns: attachment.netns.clone(),
            state: attachment.netns.as_deref().map(NetnsState::of),
        }
    }

    fn json(&self) -> Value {
        json!({
            "network": self.network,
            "containerID": self.container_id,
            "ifname": self.ifname,
            "addresses": self.addresses,
            "netns": self.netns,
            "netnsState": self.state.map(NetnsState::as_str),
        })
    }

    fn cells(&self) -> [String; 6] {
        let or_dash = |text: String| if text.is_empty() { "-".to_string() } else { text };
        [
            self.network.clone(),
            self.container_id.clone(),
            self.ifname.clone(),
            or_dash(self.addresses.join(",")),
            or_dash(self.netns.clone().unwrap_or_default()),
            or_dash(self.state.map(NetnsState::as_str).unwrap_or_default().to_string()),
        ]
    }
}

fn table(rows: &[Row]) -> String {
    let mut lines = vec![HEADER.map(str::to_string)];
    lines.extend(rows.iter().map(Row::cells));
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEADER.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = Row {
            network: "a-long-network".to_string(),
            container_id: "c".to_string(),
            ifname: "eth0".to_string(),
            addresses: vec!["10.1.0.5/16".to_string(), "fd00::5/64".to_string()],
            netns: None,
            state: None,
        };
        let expected = "\
NETWORK         CONTAINER  INTERFACE  ADDRESSES               NETNS  STATE
a-long-network  c          eth0       10.1.0.5/16,fd00::5/64  -      -
";
        assert_eq!(table(&[row]), expected);
    }
}
