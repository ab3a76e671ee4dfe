//! Runs the corpus of every fuzz target: what has once been wrong stays right.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::fs;
use std::path::{Path, PathBuf};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/fuzz")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn nothing_in_the_corpus_makes_a_reader_panic() {
    for (name, target) in cni_fuzz::TARGETS {
        let inputs = files(&corpus().join(name));
        assert!(!inputs.is_empty(), "{name} has no corpus");
        for path in inputs {
            let data = fs::read(&path).unwrap();
            if std::panic::catch_unwind(|| target(&data)).is_err() {
                panic!("{name} panics over {}", path.display());
            }
        }
    }
}

#[test]
fn every_target_has_an_executable_and_a_corpus_and_nothing_else_has() {
    let mut targets: Vec<String> = cni_fuzz::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    targets.sort();
    let names = |folder: &Path| {
        let stem = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut names: Vec<String> = files(folder).iter().map(stem).collect();
        names.sort();
        names
    };
    assert_eq!(names(&corpus()), targets);
    assert_eq!(names(&Path::new(env!("CARGO_MANIFEST_DIR")).join("targets")), targets);
}
