//! The runtime's side of CNI.
