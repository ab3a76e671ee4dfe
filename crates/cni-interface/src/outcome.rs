//! Putting together the outcomes of steps that must all be tried.

use cni_plugin::{Error, Result};

/// Somebody else may have removed it in between.
pub fn absent_is_fine(result: cni_netlink::Result<()>) -> Result<()> {
    match result {
        Err(error) if !error.is_not_found() => Err(error.into()),
        _ => Ok(()),
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
    use cni_types::ErrorCode;

    use super::*;

    #[test]
    fn every_error_is_told_with_the_code_of_the_first() {
        let busy = || Err(Error::new(ErrorCode::TRY_AGAIN_LATER, "busy"));
        let error = all([Ok(()), busy(), Err(Error::failed("broken"))]).unwrap_err();
        assert_eq!((error.code(), error.to_string().as_str()), (ErrorCode::TRY_AGAIN_LATER, "busy; broken"));
        all([Ok(()), Ok(())]).unwrap();
    }
}
