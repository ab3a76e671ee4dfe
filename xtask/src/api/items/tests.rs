use std::fs;

use super::*;

/// The lines of a crate with these files.
fn lines_of(files: &[(&str, &str)]) -> Result<Vec<String>> {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let lines = lines(&Crate::load(&dir.path().join("lib.rs"))?)?;
    Ok(lines.into_iter().filter(|line| !line.is_empty()).collect())
}

#[test]
fn what_is_public_is_listed_by_the_path_that_others_use() {
    let lines = lines_of(&[
        (
            "lib.rs",
            "mod inner; pub mod open; mod many;
             pub use inner::{Thing, deep::Kind as Sort}; pub use many::*; pub use std::io as io;
             pub(crate) use inner::Hidden;
             #[cfg(test)] pub mod missing; #[doc(hidden)] pub fn fuzz() {}",
        ),
        (
            "inner/mod.rs",
            "pub mod deep;
             /// Text.
             #[derive(Clone, serde::Serialize)] #[non_exhaustive]
             pub struct Thing { pub name: &'static str, pub(crate) own: u8 }
             pub struct Hidden;
             impl Hidden { pub fn is_not_listed() {} }
             pub(crate) trait Own {} impl Own for Thing {}
             impl Thing { pub fn new(mut name: &'static str) -> Self { todo!() } fn own(&self) {}
                 pub fn change(mut self, by: &mut u8) -> Self { self } pub fn set(&mut self) {} }",
        ),
        ("inner/deep.rs", "pub enum Kind { A, B(u8), C { #[from] source: std::io::Error } }"),
        (
            "open.rs",
            "use crate::inner::Thing;
             impl std::fmt::Display for Thing { fn fmt(&self) {} }
             impl<T: Send> From<T> for super::Sort { fn from(_: T) -> Self { todo!() } }
             impl std::str::FromStr for Thing { type Err = String; }
             pub const MOST: u64 = 16 << 20;",
        ),
        (
            "many.rs",
            "pub fn one(x: u8) {} pub(crate) fn two() {} pub trait Ask { fn ask(&self); }
             impl<T> Ask for Option<T> { fn ask(&self) {} }",
        ),
    ])
    .unwrap();
    assert_eq!(
        lines,
        [
            "pub mod open",
            "pub use std::io as io",
            "pub trait Ask",
            "fn Ask::ask(&self)",
            "impl<T> Ask for Option<T>",
            "pub enum Sort",
            "pub Sort::A",
            "pub Sort::B(u8)",
            "pub Sort::C { #[from] source: std::io::Error }",
            "impl<T: Send> From<T> for super::Sort",
            "#[non_exhaustive] pub struct Thing",
            "pub Thing::name: &'static str",
            "Thing has private fields",
            "impl Clone, Serialize for Thing",
            "impl std::fmt::Display for Thing",
            "impl std::str::FromStr for Thing { type Err = String }",
            "pub fn Thing::change(self, by: &mut u8) -> Self",
            "pub fn Thing::new(name: &'static str) -> Self",
            "pub fn Thing::set(&mut self)",
            "pub fn one(x: u8)",
            "pub const open::MOST: u64",
        ]
    );
}

#[test]
fn a_name_that_leads_nowhere_is_an_error() {
    let error = lines_of(&[("lib.rs", "pub use crate::inner::Thing; mod inner {}")]).unwrap_err();
    assert_eq!(error, "cannot find crate::inner::Thing");
}
