//! Putting together the outcomes of steps that must all be tried.

use cni_plugin::{Error, Result};
use cni_types::ErrorCode;

/// Somebody else may have removed it in between.
pub fn absent_is_fine(result: cni_netlink::Result<()>) -> Result<()> {
    match result {
        Err(error) if !error.is_not_found() => Err(error.into()),
        _ => Ok(()),
    }
}

/// A file of the plugin's own that could not be read, written or removed has a code of its own, [`ErrorCode::IO_FAILURE`];
/// every other failure of the host has the code it has anyway.
pub fn io_failure(error: cni_host::Error) -> Error {
    match error {
        cni_host::Error::Io { .. } => Error::new(ErrorCode::IO_FAILURE, error.to_string()),
        error => error.into(),
    }
}

/// All errors as one, with the first one's code, so that no step keeps another from being tried.
pub fn all(outcomes: impl IntoIterator<Item = Result<()>>) -> Result<()> {
    let errors: Vec<Error> = outcomes.into_iter().filter_map(Result::err).collect();
    match &errors[..] {
        [] => Ok(()),
        [first, ..] => {
            let text: Vec<String> = errors.iter().map(ToString::to_string).collect();
            Err(Error::new(first.code(), text.join("; ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn only_a_file_has_the_code_of_a_file() {
        let full = |op| {
            io_failure(cni_host::Error::Io {
                op,
                path: PathBuf::from("/run/x"),
                source: io::ErrorKind::StorageFull.into(),
            })
        };
        assert_eq!(full("write").code(), ErrorCode::IO_FAILURE);
        assert!(full("write").to_string().starts_with("cannot write /run/x: "));
        let gone =
            || cni_host::Error::NetNsGone { path: PathBuf::from("/run/x"), reason: "it does not exist" };
        assert_eq!(io_failure(gone()).code(), Error::from(gone()).code());
        assert_ne!(io_failure(gone()).code(), ErrorCode::IO_FAILURE);
    }

    #[test]
    fn every_error_is_told_with_the_code_of_the_first() {
        let busy = || Err(Error::new(ErrorCode::TRY_AGAIN_LATER, "busy"));
        let error = all([Ok(()), busy(), Err(Error::failed("broken"))]).unwrap_err();
        assert_eq!((error.code(), error.to_string().as_str()), (ErrorCode::TRY_AGAIN_LATER, "busy; broken"));
        all([Ok(()), Ok(())]).unwrap();
    }
}
