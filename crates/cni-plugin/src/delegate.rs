//! Running the IPAM plugin: same environment, same standard input, as section 4 of the specification has it.

use cni_exec::ExecError;
use cni_types::{CniResult, ErrorCode, PluginType};

use crate::{Call, Error, Request, Result, log, process, several};

/// What host-local says to a second ADD of an attachment that has its lease already.
const DUPLICATE: &str = "duplicate allocation is not allowed";

impl<C> Request<C> {
    /// Runs the IPAM plugin's ADD. When it fails its DEL is run here, as the specification asks, but not after
    /// host-local's refusal of a second ADD for the same attachment: that DEL would free the lease in use. After success
    /// the caller arms its [`crate::Undo`] with [`Request::ipam_del`].
    pub fn ipam_add(&self) -> Result<CniResult> {
        self.ipam_add_and(None)
    }
    /// The same, and other work while the IPAM plugin does its own: done whenever there is a result, and not where the
    /// plugin cannot be run.
    pub fn ipam_add_beside(&self, meanwhile: &mut dyn FnMut()) -> Result<CniResult> {
        self.ipam_add_and(Some(meanwhile))
    }
    fn ipam_add_and(&self, meanwhile: Option<&mut dyn FnMut()>) -> Result<CniResult> {
        let Some(ipam) = self.call.ipam()? else {
            return Err(Error::config("required ipam.type is missing"));
        };
        let outcome =
            log::step("run the IPAM plugin's ADD", || self.call.delegate(ipam, "ADD", &[], meanwhile));
        let took_place = match &outcome {
            Ok(_) => true,
            Err(ExecError::NotFound { .. } | ExecError::Spawn { .. }) => false,
            Err(ExecError::Plugin { error, .. }) => !error.msg.contains(DUPLICATE),
            // It crashed, which tells nothing of what it had done by then.
            Err(_) => true,
        };
        let result = outcome.map_err(Error::from).and_then(|stdout| self.call.read_result(ipam, &stdout));
        if result.is_err()
            && took_place
            && let Err(error) = self.ipam_del()
        {
            log::warn(format_args!("cannot take back the failed ADD of {ipam}: {error}"));
        }
        result
    }
    /// Runs the IPAM plugin's CHECK, if there is one.
    pub fn ipam_check(&self) -> Result<()> {
        self.call.forward("run the IPAM plugin's CHECK", "CHECK", &[])
    }
    /// Runs the IPAM plugin's DEL, if there is one.
    pub fn ipam_del(&self) -> Result<()> {
        // A namespace that this plugin may not touch, the delegate may not either.
        let env: &[_] = if self.netns.is_none() { &[("CNI_NETNS", "")] } else { &[] };
        self.call.forward("run the IPAM plugin's DEL", "DEL", env)
    }
}

impl Call {
    /// Whether the configuration names an IPAM plugin; without one, a plugin works at layer 2 only.
    pub fn has_ipam(&self) -> bool {
        self.named_ipam().is_some()
    }
    /// Fails where the IPAM plugin is one that already waits for this plugin's answer: for who makes something before it is asked.
    pub fn expect_ipam_of_others(&self) -> Result<()> {
        self.ipam().map(drop)
    }
    /// Forwards GC to the IPAM plugin, if there is one. One that does not know the command has nothing to collect.
    pub fn ipam_gc(&self) -> Result<()> {
        match self.forward("run the IPAM plugin's GC", "GC", &[]) {
            Err(error) if is_unknown_command(&error) => Ok(()),
            outcome => outcome,
        }
    }
    /// Forwards STATUS to the IPAM plugin, if there is one. One that does not know the command says nothing against an
    /// ADD; one that is not there at all is code 50, since no ADD can succeed.
    pub fn ipam_status(&self) -> Result<()> {
        let Some(ipam) = self.ipam()? else {
            return Ok(());
        };
        cni_exec::find(ipam, &self.path).map_err(Error::unavailable)?;
        match self.forward("run the IPAM plugin's STATUS", "STATUS", &[]) {
            Err(error) if is_unknown_command(&error) => Ok(()),
            outcome => outcome,
        }
    }

    fn named_ipam(&self) -> Option<&PluginType> {
        self.conf.ipam.as_ref()?.plugin.as_ref()
    }

    /// The IPAM plugin, unless it is one that already waits for this plugin's answer.
    fn ipam(&self) -> Result<Option<&PluginType>> {
        let ipam = self.named_ipam();
        let asked = |ipam: &&PluginType| self.delegators.iter().any(|name| name == ipam.as_str());
        if let Some(ipam) = ipam.filter(asked) {
            let ring = self.delegators.join(", ");
            let msg = format!("ipam.type: {ipam} cannot be the IPAM plugin of itself (running: {ring})");
            return Err(Error::config(msg));
        }
        Ok(ipam)
    }

    fn forward(&self, step: &'static str, command: &str, env: &[(&str, &str)]) -> Result<()> {
        let ipam = match self.ipam() {
            Ok(Some(ipam)) => ipam,
            Ok(None) => return Ok(()),
            // No ADD got a lease by it, and what else there is must be removed.
            Err(error) if matches!(command, "DEL" | "GC") => {
                log::warn(format_args!("{command} is not passed on: {error}"));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        log::step(step, || self.delegate(ipam, command, env, None))?;
        Ok(())
    }

    fn delegate(
        &self,
        plugin: &PluginType,
        command: &str,
        env: &[(&str, &str)],
        meanwhile: Option<&mut dyn FnMut()>,
    ) -> Result<Vec<u8>, ExecError> {
        let path = cni_exec::find(plugin, &self.path)?;
        let delegators = self.delegators.join(",");
        let mut all = vec![("CNI_COMMAND", command), (process::DELEGATORS, delegators.as_str())];
        all.extend_from_slice(env);
        match (several::member(plugin, &path), meanwhile) {
            (Some(member), meanwhile) => member.delegated(&path, &all, &self.stdin, meanwhile),
            (None, Some(meanwhile)) => cni_exec::run_beside(&path, &all, &self.stdin, meanwhile),
            (None, None) => cni_exec::run(&path, &all, &self.stdin),
        }
    }

    /// A result without a version is in the configuration's: older plugins leave it out (cni issue 895).
    fn read_result(&self, plugin: &PluginType, stdout: &[u8]) -> Result<CniResult> {
        let unreadable = |reason: String| {
            Error::new(
                ErrorCode::DECODING_FAILURE,
                format!("cannot read the result of plugin {plugin}: {reason}"),
            )
        };
        CniResult::from_slice(stdout, self.conf.cni_version).map_err(|error| unreadable(error.to_string()))
    }
}

/// Plugins made before 1.1.0 answer code 4 to GC and STATUS, in the words of their own skeleton.
fn is_unknown_command(error: &Error) -> bool {
    error.code() == ErrorCode::INVALID_ENVIRONMENT
        && error.to_string().to_ascii_lowercase().contains("unknown")
}

#[cfg(test)]
mod tests;
