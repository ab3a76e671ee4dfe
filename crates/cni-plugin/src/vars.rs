//! The environment as one value, so that all else can be tested without touching the process's own.

use std::ffi::OsString;

/// The variables that a plugin reads; an absent one is empty, as the reference takes it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Vars {
    /// `CNI_COMMAND`
    pub(crate) command: String,
    /// `CNI_CONTAINERID`
    pub(crate) container_id: String,
    /// `CNI_NETNS`
    pub(crate) netns: String,
    /// `CNI_IFNAME`
    pub(crate) ifname: String,
    /// `CNI_ARGS`
    pub(crate) args: String,
    /// `CNI_PATH`; folders need not be UTF-8.
    pub(crate) path: OsString,
    /// `CNI_NETNS_OVERRIDE`
    pub(crate) netns_override: String,
    /// `CNI_DELEGATORS`, our own: the plugins that wait for this one's answer, with commas between.
    pub(crate) delegators: String,
    /// `CNI_LOG_LEVEL`
    pub(crate) log_level: String,
    /// `CNI_LOG_FILE`
    pub(crate) log_file: OsString,
    /// `TRACEPARENT`, which libcni sets when it is traced.
    pub(crate) traceparent: String,
}

impl Vars {
    /// Whether a CNI_NETNS that is the plugin's own namespace is meant so.
    pub(crate) fn allows_own_netns(&self) -> bool {
        self.netns_override == "1" || self.netns_override.eq_ignore_ascii_case("true")
    }
}
