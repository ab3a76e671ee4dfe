//! A panic is a fault of ours: one line on standard error, and an error object like any other failure.

use std::any::Any;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Mutex;

use crate::{Error, Result};

/// Messages of the panics so far and where they were: the payload that `caught` gets has no place.
static PLACES: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

/// Replaces the standard hook, whose text of several lines and hints is not for a runtime's log.
pub(crate) fn install_hook() {
    std::panic::set_hook(Box::new(|info: &PanicHookInfo<'_>| {
        let message = message(info.payload());
        let place = info.location().map(|at| format!(" at {}:{}", at.file(), at.line())).unwrap_or_default();
        crate::log::warn(format_args!("panic: {message}{place}"));
        if let Ok(mut places) = PLACES.lock() {
            places.push((message.to_owned(), place));
        }
    }));
}

/// Runs `function`; its panic, after unwinding has run all [`crate::Undo`], is an error of code 999.
pub(crate) fn caught<T>(function: impl FnOnce() -> Result<T>) -> Result<T> {
    // Nothing that `function` has left half done is looked at afterwards: the process only reports and ends.
    catch_unwind(AssertUnwindSafe(function)).unwrap_or_else(|payload| {
        let message = message(&*payload);
        let place = place_of(message);
        Err(Error::failed(format!("internal error: panic: {message}{place}")))
    })
}

fn place_of(message: &str) -> String {
    let places = PLACES.lock().ok();
    let found = places.as_ref().and_then(|places| places.iter().find(|(text, _)| text == message));
    found.map(|(_, place)| place.clone()).unwrap_or_default()
}

fn message(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use std::panic::resume_unwind;

    use super::*;

    #[test]
    fn a_panic_is_an_error_that_says_what_and_where() {
        install_hook();
        let error = caught(|| -> Result<()> { panic!("the {} is gone", "bridge") }).unwrap_err();
        let (text, line) =
            error.to_string().rsplit_once(':').map(|(t, l)| (t.to_owned(), l.to_owned())).unwrap();
        let expected = "internal error: panic: the bridge is gone at ";
        assert!(text.starts_with(expected) && text.ends_with("src/panic.rs"), "{error}");
        assert!(line.parse::<u32>().is_ok(), "{error}");
        assert_eq!(error.code(), cni_types::ErrorCode::INTERNAL);

        // As a function that runs in another namespace does.
        let on_a_thread =
            || std::thread::scope(|scope| scope.spawn(|| panic!("inside the namespace")).join());
        let error =
            caught(|| -> Result<()> { on_a_thread().unwrap_or_else(|payload| resume_unwind(payload)) });
        let text = error.unwrap_err().to_string();
        assert!(text.starts_with("internal error: panic: inside the namespace at "), "{text}");

        assert_eq!(caught(|| Ok(7)).unwrap(), 7);
    }
}
