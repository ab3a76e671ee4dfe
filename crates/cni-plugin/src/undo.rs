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
            // A second panic while unwinding would abort the process, and with it the other steps.
            match catch_unwind(AssertUnwindSafe(|| log::step(what, step))) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => log::warn(format_args!("cannot {what}: {error}")),
                Err(_) => log::warn(format_args!("cannot {what}: panic")),
            }
        }
    }
}
