//! Taking back what a failed ADD has done.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::{Result, log};

type Step<'a> = Box<dyn FnOnce() -> Result<()> + 'a>;

/// Steps to take back, run from the last to the first when dropped before [`Undo::commit`], also while panicking.
/// A step that fails is reported on standard error and the rest still run.
///
/// A step may borrow what lives longer than the `Undo`, and takes by `move` what was made after it:
///
/// ```
/// # fn make() -> cni_plugin::Result<String> { Ok("veth0".into()) }
/// # fn delete(_: &str) -> cni_plugin::Result<()> { Ok(()) }
/// # fn configure(_: &str) -> cni_plugin::Result<()> { Ok(()) }
/// fn add() -> cni_plugin::Result<String> {
///     let mut undo = cni_plugin::Undo::default();
///     let link = make()?;
///     let made = link.clone();
///     undo.push("delete the veth pair", move || delete(&made));
///     configure(&link)?; // a failure here deletes the link again
///     undo.commit();
///     Ok(link)
/// }
/// # add().unwrap();
/// ```
#[derive(Default)]
#[must_use = "dropping it undoes its steps"]
pub struct Undo<'a> {
    steps: Vec<(&'static str, Step<'a>)>,
}

impl<'a> Undo<'a> {
    /// Adds a step; `what` completes the sentence "cannot ...", as in "release the IPAM lease".
    pub fn push(&mut self, what: &'static str, step: impl FnOnce() -> Result<()> + 'a) {
        self.steps.push((what, Box::new(step)));
    }
    /// All went well: forgets the steps.
    pub fn commit(mut self) {
        self.steps.clear();
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        while let Some((what, step)) = self.steps.pop() {
            log::debug(format_args!("undo: {what}"));
            // A panic that left this function while another unwinds would abort the process.
            match catch_unwind(AssertUnwindSafe(step)) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => log::warn(format_args!("cannot {what}: {error}")),
                Err(_) => log::warn(format_args!("cannot {what}: it panicked")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::Error;

    /// Steps that note their names, run by `fail` unless it commits.
    fn undone(fail: impl FnOnce(Undo<'_>)) -> Vec<&'static str> {
        let done = RefCell::new(Vec::new());
        let mut undo = Undo::default();
        for name in ["first", "second", "third"] {
            let done = &done;
            undo.push(name, move || {
                done.borrow_mut().push(name);
                if name == "second" { Err(Error::failed("it is stuck")) } else { Ok(()) }
            });
        }
        let _ = catch_unwind(AssertUnwindSafe(|| fail(undo)));
        done.into_inner()
    }

    #[test]
    fn steps_run_backwards_and_a_failing_one_does_not_stop_the_rest() {
        assert_eq!(undone(|undo| drop(undo)), ["third", "second", "first"]);
    }

    #[test]
    fn commit_forgets_the_steps() {
        assert!(undone(|undo| undo.commit()).is_empty());
    }

    #[test]
    fn steps_run_while_a_panic_unwinds() {
        let fail = |_undo: Undo<'_>| panic!("in the middle of an ADD");
        assert_eq!(undone(fail), ["third", "second", "first"]);
    }

    #[test]
    fn a_panicking_step_does_not_stop_the_rest_even_while_a_panic_unwinds() {
        for panicking in [false, true] {
            let done = RefCell::new(Vec::new());
            let note = |name| {
                done.borrow_mut().push(name);
                Ok(())
            };
            let _ = catch_unwind(AssertUnwindSafe(|| {
                let mut undo = Undo::default();
                undo.push("last", || note("last"));
                undo.push("panic", || panic!("in an undo step"));
                undo.push("first", || note("first"));
                assert!(!panicking, "in the middle of an ADD");
            }));
            assert_eq!(*done.borrow(), ["first", "last"]);
        }
    }
}
