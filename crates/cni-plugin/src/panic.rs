//! A panic is a fault of ours: one line on standard error, and an error object like any other failure.

use std::any::Any;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Mutex;

use crate::{Error, Result};

/// The first panic's message and place; later ones are mostly its consequences on other threads.
static FIRST: Mutex<Option<String>> = Mutex::new(None);

/// Replaces the standard hook, whose text of several lines and hints is not for a runtime's log.
pub(crate) fn install_hook() {
    std::panic::set_hook(Box::new(|info: &PanicHookInfo<'_>| {
        let mut text = message(info.payload()).to_owned();
        if let Some(place) = info.location() {
            text.push_str(&format!(" at {}:{}", place.file(), place.line()));
        }
        crate::log::warn(format_args!("panic: {text}"));
        if let Ok(mut first) = FIRST.lock() {
            first.get_or_insert(text);
        }
    }));
}

/// Runs `function`; its panic, after unwinding has run all [`crate::Undo`], is an error of code 999.
pub(crate) fn caught<T>(function: impl FnOnce() -> Result<T>) -> Result<T> {
    // Nothing that `function` has left half done is looked at afterwards: the process only reports and ends.
    catch_unwind(AssertUnwindSafe(function)).unwrap_or_else(|payload| {
        let recorded = FIRST.lock().ok().and_then(|mut first| first.take());
        let text = recorded.unwrap_or_else(|| message(&*payload).to_owned());
        Err(Error::failed(format!("internal error: panic: {text}")))
    })
}

fn message(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
