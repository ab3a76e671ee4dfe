//! Where in a table which chain is.

use std::ops::Range;

use crate::legacy::kernel::Info;
use crate::legacy::layout::Layout;
use crate::legacy::raw::{Malformed, Raw, until_nul};
use crate::uapi::XT_ERROR_TARGET;

/// A chain, without the entry that is its policy or returns from its end.
pub(super) struct Chain {
    pub(super) name: String,
    /// In bytes from the table's first entry.
    pub(super) rules: Range<usize>,
}

/// A table's chains.
#[derive(Default)]
pub(super) struct Chains {
    /// Those of the kernel.
    hooks: Vec<Chain>,
    /// Those that users made, by where their rules begin.
    users: Vec<Chain>,
}

impl Chains {
    /// Goes through a table once. When it succeeds, all entries of all chains are sound.
    pub(super) fn find(layout: &'static Layout, info: &Info, blob: &[u8]) -> Result<Chains, Malformed> {
        let mut chains = Chains::default();
        // The user's chain that has begun, and the last entry before the current one.
        let mut open: Option<Chain> = None;
        let mut last = 0;
        let (mut at, mut entries, mut found) = (0, 0, 0);
        while at < blob.len() {
            let raw = Raw::read(layout, blob, at)?;
            let target = raw.target();
            // It begins a user's chain, whose name is its structure (struct xt_error_target), and ends a table.
            let is_head = target.name == XT_ERROR_TARGET;
            if is_head || info.hooks.iter().any(|hook| hook.entry == at) {
                chains.users.extend(open.take().map(|chain| close(chain, last)).transpose()?);
            }
            if is_head && raw.end() < blob.len() {
                let name = String::from_utf8_lossy(until_nul(target.info)).into_owned();
                open = Some(Chain { name, rules: raw.end()..raw.end() });
            }
            found += info.hooks.iter().filter(|hook| hook.entry == at).count();
            found += info.hooks.iter().filter(|hook| hook.underflow == at).count();
            entries += 1;
            last = at;
            at = raw.end();
        }
        let malformed = |what| Err(Malformed { at: last, what });
        if open.is_some() {
            return malformed("is the last, within a chain");
        }
        if entries != info.entries || blob.len() != info.bytes {
            return malformed("is the last of fewer or more than there should be");
        }
        if found != 2 * info.hooks.len() || info.hooks.iter().any(|hook| hook.underflow < hook.entry) {
            return malformed("is the last, and those at which a hook begins and ends are not all there");
        }
        let hook_chains = info.hooks.iter().map(|hook| {
            let rules = hook.entry..hook.underflow;
            Chain { name: hook.chain.to_owned(), rules }
        });
        chains.hooks = hook_chains.collect();
        Ok(chains)
    }

    /// The chain of that name.
    pub(super) fn named(&self, name: &str) -> Option<&Chain> {
        self.all().find(|chain| chain.name == name)
    }

    /// The user's chain that a jump to that byte leads to.
    pub(super) fn beginning_at(&self, at: usize) -> Option<&Chain> {
        let index = self.users.binary_search_by_key(&at, |chain| chain.rules.start).ok()?;
        self.users.get(index)
    }

    /// The kernel's, then the users'.
    pub(super) fn all(&self) -> impl Iterator<Item = &Chain> {
        self.hooks.iter().chain(&self.users)
    }
}

/// Ends a chain before its last entry, which returns from it.
fn close(chain: Chain, last: usize) -> Result<Chain, Malformed> {
    let rules = chain.rules.start..last;
    if rules.end < rules.start {
        return Err(Malformed { at: last, what: "begins a chain that has nothing in it, not even its end" });
    }
    Ok(Chain { rules, ..chain })
}
