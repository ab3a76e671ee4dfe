//! The opt-in log: JSON lines.
