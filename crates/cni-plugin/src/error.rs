//! The error that a plugin's functions return, and its way to the specification's error object.

use std::io;

use cni_exec::ExecError;
use cni_types::{ArgsError, CniError, ConfError, ErrorCode, InvalidName, UnknownVersion};

/// A plugin's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure with the code it has on standard output. Any `std::error::Error` becomes one through `?` with code
/// [`ErrorCode::INTERNAL`] and its chain of sources in the message; errors of `cni_types` and of a delegate keep the code that fits.
#[derive(Debug)]
pub struct Error(pub(crate) Box<CniError>);

impl Error {
    /// An error with a code of the specification or one of docs/errors.md.
    pub fn new(code: ErrorCode, msg: impl Into<String>) -> Self {
        Error(Box::new(CniError { code, msg: msg.into(), details: String::new() }))
    }
    /// The configuration asks for what cannot be: code 7.
    pub fn config(msg: impl Into<String>) -> Self {
        Error::new(ErrorCode::INVALID_NETWORK_CONFIG, msg)
    }
    /// What CHECK found wrong, and other faults without a code of their own: code 999 as the reference answers.
    pub fn failed(msg: impl Into<String>) -> Self {
        Error::new(ErrorCode::INTERNAL, msg)
    }
    /// No ADD can succeed now, for this reason: code 50, which is STATUS's.
    pub fn unavailable(reason: impl std::fmt::Display) -> Self {
        Error::new(ErrorCode::PLUGIN_NOT_AVAILABLE, reason.to_string())
    }
    /// Details for the error object, such as the kernel's text.
    #[must_use]
    pub fn details(mut self, details: impl Into<String>) -> Self {
        self.0.details = details.into();
        self
    }
    /// The code it will have.
    pub fn code(&self) -> ErrorCode {
        self.0.code
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.msg)
    }
}

/// `Error` itself is no `std::error::Error`, which is what lets this be for all that are.
impl<E: std::error::Error + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        let top: &(dyn std::error::Error + 'static) = &error;
        if let Some(answer) = as_answer(top) {
            return Error(Box::new(answer.clone()));
        }
        let mut msg = top.to_string();
        let mut code = code_of(top);
        let mut details = String::new();
        let mut source = top.source();
        while let Some(cause) = source {
            // Many errors, all of ours among them, have their source's text in their own already.
            let part = cause.to_string();
            if !msg.contains(&part) {
                msg = format!("{msg}: {part}");
            }
            if let Some(answer) = as_answer(cause) {
                code = code.or(Some(answer.code));
                details.clone_from(&answer.details);
            }
            code = code.or_else(|| code_of(cause));
            source = cause.source();
        }
        Error(Box::new(CniError { code: code.unwrap_or(ErrorCode::INTERNAL), msg, details }))
    }
}

type DynError = dyn std::error::Error + 'static;

/// The error object that a delegate answered with, which is passed on as it is.
fn as_answer(error: &DynError) -> Option<&CniError> {
    match error.downcast_ref::<ExecError>() {
        Some(ExecError::Plugin { error, .. }) => Some(error),
        Some(_) => None,
        None => error.downcast_ref::<CniError>(),
    }
}

/// The code that docs/errors.md gives an error of `cni_types`.
fn code_of(error: &DynError) -> Option<ErrorCode> {
    if let Some(error) = error.downcast_ref::<ConfError>() {
        return Some(match error {
            ConfError::Syntax(_) | ConfError::Field { .. } => ErrorCode::DECODING_FAILURE,
            ConfError::Version(_) => ErrorCode::INCOMPATIBLE_CNI_VERSION,
            // A name, and whatever else says what cannot be.
            _ => ErrorCode::INVALID_NETWORK_CONFIG,
        });
    }
    if error.is::<UnknownVersion>() {
        return Some(ErrorCode::INCOMPATIBLE_CNI_VERSION);
    }
    if error.is::<InvalidName>() {
        return Some(ErrorCode::INVALID_NETWORK_CONFIG);
    }
    // A lock that others hold, for one: it passes.
    if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut) {
        return Some(ErrorCode::TRY_AGAIN_LATER);
    }
    error.is::<ArgsError>().then_some(ErrorCode::INVALID_ENVIRONMENT)
}

/// `.context("cannot set up bridge cni0")?`: what was being done, put before the cause. Keeps the code.
pub trait Context<T> {
    /// With a fixed text.
    fn context(self, what: &str) -> Result<T>;
    /// With a text made only on failure.
    fn with_context(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, what: &str) -> Result<T> {
        self.with_context(|| what.to_owned())
    }
    fn with_context(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| {
            let mut error = error.into();
            error.0.msg = format!("{}: {}", what(), error.0.msg);
            error
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use cni_types::{CniArgs, NetworkName, PluginConf, PluginType};

    use super::*;

    fn converted(error: impl std::error::Error + Send + Sync + 'static) -> (u32, String) {
        let error = Error::from(error);
        (error.code().0, error.to_string())
    }

    #[derive(Debug, thiserror::Error)]
    enum Layer<E: std::error::Error + 'static> {
        #[error("cannot set up cni0: {0}")]
        Telling(#[source] E),
        #[error("cannot set up cni0")]
        Silent(#[source] E),
    }

    #[test]
    fn the_chain_of_sources_is_told_once() {
        let denied = || io::Error::other("permission denied");
        let expected = (999, "cannot set up cni0: permission denied".to_owned());
        assert_eq!(converted(Layer::Telling(denied())), expected);
        assert_eq!(converted(Layer::Silent(denied())), expected);
        assert_eq!(
            converted(Layer::Silent(Layer::Telling(denied()))).1,
            format!("cannot set up cni0: {}", expected.1)
        );
    }

    #[test]
    fn errors_of_the_types_have_the_codes_of_the_specification() {
        let conf = |json: &str| converted(PluginConf::from_slice(json.as_bytes()).unwrap_err()).0;
        assert_eq!(conf("{"), 6);
        assert_eq!(conf(r#"{"name": 5}"#), 6);
        assert_eq!(conf("{}"), 7);
        assert_eq!(conf(r#"{"name": "../etc"}"#), 7);
        assert_eq!(conf(r#"{"name": "a", "ipam": {"type": "../sh"}}"#), 7);
        assert_eq!(conf(r#"{"name": "a", "cniVersion": "9.9.9"}"#), 1);
        assert_eq!(converted(NetworkName::new("a/b").unwrap_err()).0, 7);
        assert_eq!(converted(CniArgs::parse("MAC").expect_only(&[]).unwrap_err()).0, 4);
        assert_eq!(converted("9.9.9".parse::<cni_types::SpecVersion>().unwrap_err()).0, 1);
    }

    #[test]
    fn a_code_is_found_below_other_errors() {
        let inner = CniArgs::parse("MAC").expect_only(&[]).unwrap_err();
        assert_eq!(
            converted(Layer::Silent(inner)),
            (4, "cannot set up cni0: invalid pair \"MAC\" in CNI_ARGS".into())
        );
    }

    #[test]
    fn a_delegates_error_keeps_code_message_and_details() {
        let answer =
            CniError { code: ErrorCode(11), msg: "pool is busy".into(), details: "try later".into() };
        let failed = || ExecError::Plugin { path: "/bin/ipam".into(), error: answer.clone() };
        assert_eq!(*Error::from(failed()).0, answer);
        assert_eq!(*Error::from(answer.clone()).0, answer);

        let wrapped = Error::from(Layer::Silent(failed()));
        assert_eq!((wrapped.code().0, &*wrapped.0.details), (11, "try later"));
        assert!(wrapped.to_string().starts_with("cannot set up cni0: plugin /bin/ipam failed: pool is busy"));
    }

    #[test]
    fn a_missing_delegate_is_named_with_the_path() {
        let plugin = PluginType::new("ipam").unwrap();
        let error = ExecError::NotFound { plugin, paths: vec![PathBuf::from("/opt/cni/bin")] };
        assert_eq!(converted(error), (999, "cannot find plugin ipam in /opt/cni/bin".to_owned()));
    }

    #[test]
    fn context_goes_before_the_cause_and_keeps_code_and_details() {
        let error = Err::<(), _>(Error::config("mtu: -1").details("at least 68"))
            .context("cannot read mtu")
            .unwrap_err();
        assert_eq!(error.to_string(), "cannot read mtu: mtu: -1");
        assert_eq!((error.code(), &*error.0.details), (ErrorCode::INVALID_NETWORK_CONFIG, "at least 68"));
    }
}
