//! iptables rules for the backends that users choose for their visible rules: one `iptables-save` to see what is there,
//! one `iptables-restore --noflush` for the change, a family. Works with iptables-nft and iptables-legacy.

mod error;
mod restore;
mod rule;
mod tables;

pub use error::{Error, Result};
pub use restore::{Change, Iptables};
pub use rule::Rule;
pub use tables::{Family, Saved};
