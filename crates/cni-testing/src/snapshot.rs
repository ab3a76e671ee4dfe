//! What is there, to be compared before and after.

/// Lines that tell links, addresses, routes, rules and files, sorted; compares and prints as text. Interface indices and
/// counters are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot(pub Vec<String>);
