//! Taking back what a failed ADD has done.

use crate::Result;

/// Steps to take back, run from the last to the first when dropped before [`Undo::commit`], also while panicking.
/// A step that fails is reported on standard error and the rest still run.
#[derive(Default)]
pub struct Undo<'a> {
    #[allow(dead_code, clippy::type_complexity)]
    steps: Vec<(&'static str, Box<dyn FnOnce() -> Result<()> + 'a>)>,
}

impl<'a> Undo<'a> {
    /// Adds a step; `what` completes the sentence "cannot ...", as in "release the IPAM lease".
    pub fn push(&mut self, what: &'static str, step: impl FnOnce() -> Result<()> + 'a) {
        let _ = (what, step);
        todo!()
    }
    /// All went well: forgets the steps.
    pub fn commit(self) {
        todo!()
    }
}
