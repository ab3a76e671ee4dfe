//! Deleting attachments that nobody uses any more.

use cni_host::NetNs;
use cni_types::{ContainerId, GcAttachment, IfName};
use libcni::{GcReport, Network};
use serde_json::{Value, json};

use crate::chain::{Answer, Tool};
use crate::cli::Gc;
use crate::outcome::{Failure, Outcome};

/// The word that stands for an empty list.
const NONE: &str = "none";

impl Tool {
    pub(crate) fn gc(&self, gc: &Gc) -> Answer {
        let valid = parse_valid(&gc.valid)?;
        let network = self.network(&gc.network)?;
        let report = match gc.stale {
            true => self.del_stale(&network),
            false => self.runtime.gc(&network, valid.as_deref()),
        };

        let mut outcome = Outcome::both(
            report
                .removed
                .iter()
                .map(|gone| format!("deleted {} of container {}\n", gone.ifname, gone.container_id))
                .collect(),
            json!({ "network": network.name.as_str(), "removed": report.removed.iter().map(to_json).collect::<Vec<_>>() }),
        );
        if network.disable_gc {
            outcome.notes.push(format!("network {} sets disableGC, so nothing was done", network.name));
        }
        outcome.failures = report.errors.iter().flat_map(|error| self.failures(error)).collect();
        Ok(outcome)
    }

    /// Deletes the cached attachments of which the namespace is gone. Plugins are sent no GC: the cache is no list of all
    /// that is in use, since an attachment comes into it only after its ADD.
    fn del_stale(&self, network: &Network) -> GcReport {
        let mut report = GcReport::default();
        if network.disable_gc {
            return report;
        }
        let entries = match self.runtime.cache().entries() {
            Ok(entries) => entries,
            Err(error) => {
                report.errors.push(error.into());
                return report;
            }
        };
        for entry in entries.into_iter().flatten().filter(|entry| entry.network == network.name) {
            let gone = entry
                .attachment
                .netns
                .as_ref()
                .is_some_and(|netns| NetnsState::of(netns) == NetnsState::Gone);
            if !gone {
                continue;
            }
            match self.runtime.del(network, &entry.attachment) {
                Ok(()) => report.removed.push(entry.attachment.key()),
                Err(error) => report.errors.push(error),
            }
        }
        report
    }
}

/// Whether a namespace is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NetnsState {
    Present,
    Gone,
    /// It cannot be told: something else lies there, or it may not be looked at.
    Unknown,
}

impl NetnsState {
    pub(crate) fn of(path: &str) -> Self {
        match NetNs::open(path) {
            Ok(_) => NetnsState::Present,
            Err(error) if error.is_netns_gone() => NetnsState::Gone,
            Err(_) => NetnsState::Unknown,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            NetnsState::Present => "present",
            NetnsState::Gone => "gone",
            NetnsState::Unknown => "unknown",
        }
    }
}

/// `None` when no list is given, which is not the same as an empty one.
fn parse_valid(texts: &[String]) -> Result<Option<Vec<GcAttachment>>, Failure> {
    match texts {
        [] => return Ok(None),
        [none] if none == NONE => return Ok(Some(Vec::new())),
        _ => {}
    }
    let parse = |text: &String| {
        let unusable = |reason: &str| Failure::usage(format!("cannot use --valid {text}: {reason}"));
        let (id, ifname) = text.split_once('/').ok_or_else(|| unusable("it is not CONTAINERID/IFNAME"))?;
        let container_id = ContainerId::new(id).map_err(|error| unusable(&error.to_string()))?.to_string();
        let ifname = IfName::new(ifname).map_err(|error| unusable(&error.to_string()))?.to_string();
        Ok(GcAttachment { container_id, ifname })
    };
    texts.iter().map(parse).collect::<Result<_, _>>().map(Some)
}

fn to_json(attachment: &GcAttachment) -> Value {
    json!({ "containerID": attachment.container_id, "ifname": attachment.ifname })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(texts: &[&str]) -> Result<Option<Vec<GcAttachment>>, Failure> {
        parse_valid(&texts.iter().map(|text| text.to_string()).collect::<Vec<_>>())
    }

    #[test]
    fn no_list_an_empty_list_and_a_list_differ() {
        assert_eq!(parse(&[]).unwrap(), None);
        assert_eq!(parse(&["none"]).unwrap(), Some(Vec::new()));
        let web = GcAttachment { container_id: "web".to_string(), ifname: "eth0".to_string() };
        assert_eq!(parse(&["web/eth0"]).unwrap(), Some(vec![web]));
    }

    #[test]
    fn what_is_no_attachment_is_refused_rather_than_left_out() {
        for wrong in
            [&["web"] as &[&str], &["none", "web/eth0"], &["web/"], &["/eth0"], &["web/eth0/x"], &[""]]
        {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_namespace_is_present_gone_or_something_else() {
        assert_eq!(NetnsState::of("/proc/self/ns/net"), NetnsState::Present);
        assert_eq!(NetnsState::of("/run/netns/no-such-namespace"), NetnsState::Gone);
        assert_eq!(NetnsState::of("/proc/self/status"), NetnsState::Unknown);
    }
}
