//! The error that a plugin's functions return, and its way to the specification's error object.

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
            ConfError::Name(_) => ErrorCode::INVALID_NETWORK_CONFIG,
        });
    }
    if error.is::<UnknownVersion>() {
        return Some(ErrorCode::INCOMPATIBLE_CNI_VERSION);
    }
    if error.is::<InvalidName>() {
        return Some(ErrorCode::INVALID_NETWORK_CONFIG);
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
