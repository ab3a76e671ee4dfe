//! Tests of the crate from outside: the specification's examples, the reference's answers, and what holds for any input.

mod properties;
mod reference;
mod specification;

use serde_json::Value;

/// Reads a file of testdata/cni-types.
fn testdata(name: &str) -> Value {
    let path = format!("{}/../../testdata/cni-types/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {path}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("cannot parse {path}: {error}"))
}

/// A list in the data.
fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}
