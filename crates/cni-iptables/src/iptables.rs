//! Reading and changing, wherever the rules are.

use std::time::{Duration, Instant};

use cni_nftables::{Batch, Nft};

use crate::change::{self, Command};
use crate::programs::{Programs, Restored, variant};
use crate::table::{Source, Table};
use crate::{Error, Family, Result, Rule, Variant, legacy, lock};

/// How long a change by a program waits for other programs' changes.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a change is made again because another program changed the same in between.
const TRIES: usize = 5;

/// The iptables of this host, for some families.
#[derive(Clone, Debug)]
pub struct Iptables {
    places: Vec<Programs>,
    /// Whether rules are put here, or only looked for.
    is_found: bool,
}

impl Iptables {
    /// The variant that `iptables` (`ip6tables`) is, in the folders of `path` (`PATH`) and the usual ones: where new rules go.
    pub fn find(families: &[Family], path: &str) -> Result<Self> {
        let place = |family: &Family| Ok(Programs::new(*family, variant(*family, path)?, path));
        Ok(Iptables { places: families.iter().map(place).collect::<Result<_>>()?, is_found: true })
    }

    /// Both variants, for whoever looks for rules that were made before: kubelet, docker and the owner may have had different ones
    /// in their `PATH`. Nothing need be installed, and where the kernel has neither there are no rules.
    pub fn wherever(families: &[Family], path: &str) -> Self {
        let both = |family: &Family| {
            [Variant::Nft, Variant::Legacy].map(|variant| Programs::new(*family, variant, path))
        };
        Iptables { places: families.iter().flat_map(both).collect(), is_found: false }
    }

    /// Lets `plan` look at a table and say what is to be done to it, for each family, and does it. When another program has changed
    /// the same meanwhile, it is planned again, a bounded number of times.
    ///
    /// By `nft`, with iptables-nft, that is one transaction for both families, and no program is run but for rules that only iptables itself
    /// understands. With iptables-legacy it is one `iptables-restore` per family, while other plugins that do so wait.
    pub fn update(
        &self,
        nft: &mut Nft,
        table: &str,
        mut plan: impl FnMut(&mut Table<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut outcome = self.update_nft(nft, table, &mut plan);
        for programs in self.places.iter().filter(|place| place.variant == Variant::Legacy) {
            // What fails in one place is done in the others all the same.
            outcome = outcome.and(self.update_legacy(programs, table, &mut plan));
        }
        outcome
    }

    /// What `look` finds in a table of one family, in the first place where it finds something.
    pub fn look<T>(
        &self,
        nft: &mut Nft,
        family: Family,
        table: &str,
        mut look: impl FnMut(&mut Table<'_>) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        for programs in self.places.iter().filter(|place| place.family == family) {
            let found = match programs.variant {
                Variant::Nft => match look(&mut Table::new(table, programs, Source::Nft(nft))) {
                    Err(Error::Nftables(error)) if error.is_unsupported() && !self.is_found => None,
                    found => found?,
                },
                Variant::Legacy => {
                    let read = self.read_legacy(family, table)?;
                    look(&mut Table::new(table, programs, Source::Legacy(read.as_ref())))?
                }
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The first rule that is missing of these, chain by chain; `None` when all of them are in one place. Of two places where one is
    /// missing, that where its chain is tells more.
    pub fn first_missing<'w>(
        &self,
        nft: &mut Nft,
        family: Family,
        table: &str,
        wanted: &'w [(&'w str, Vec<Rule>)],
    ) -> Result<Option<(&'w str, &'w Rule)>> {
        let mut missing = None;
        let complete = self.look(nft, family, table, |table| {
            for (chain, rules) in wanted {
                if let Some(rule) = table.first_missing(chain, rules)? {
                    if missing.is_none() || table.has_chain(chain)? {
                        missing = Some((*chain, rule));
                    }
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })?;
        Ok(missing.filter(|_| complete.is_none()))
    }

    fn update_nft(
        &self,
        nft: &mut Nft,
        table: &str,
        plan: &mut impl FnMut(&mut Table<'_>) -> Result<()>,
    ) -> Result<()> {
        let places: Vec<&Programs> =
            self.places.iter().filter(|place| place.variant == Variant::Nft).collect();
        if places.is_empty() {
            return Ok(());
        }
        let (mut left, mut failed) = (Vec::new(), None);
        let done = nft.update(&format!("change table {table}"), None, |nft| {
            left.clear();
            let mut batch = Batch::default();
            for programs in &places {
                match planned(nft, programs, table, plan) {
                    Ok((of_family, rest)) => {
                        batch.append(of_family);
                        left.push((*programs, rest));
                    }
                    Err(Error::Nftables(error)) => return Err(error),
                    // Not the kernel's: it ends here, with nothing done.
                    Err(error) => {
                        failed = Some(error);
                        return Ok(Batch::default());
                    }
                }
            }
            Ok(batch)
        });
        match done {
            // Nothing can be there.
            Err(error) if error.is_unsupported() && !self.is_found => return Ok(()),
            done => done?,
        }
        if let Some(error) = failed {
            return Err(error);
        }
        for (programs, commands) in left.into_iter().filter(|(_, commands)| !commands.is_empty()) {
            programs.restore(table, &change::script(table, &commands)?)?;
        }
        Ok(())
    }

    fn update_legacy(
        &self,
        programs: &Programs,
        table: &str,
        plan: &mut impl FnMut(&mut Table<'_>) -> Result<()>,
    ) -> Result<()> {
        if self.is_found && !legacy::is_in_use(programs.family, table)? {
            // Whether there can be such a table at all only shows when it is made.
            programs.save(table)?;
        }
        let deadline = Instant::now() + PATIENCE;
        let mut tried: Vec<String> = Vec::new();
        loop {
            // Looked at without a turn first: mostly there is nothing to be done, and no other to be waited for.
            if !self.is_found && self.planned_legacy(programs, table, plan)?.is_empty() {
                return Ok(());
            }
            let turn = lock::take()?;
            if lock::is_held_by_others() {
                // No other plugin is to wait for this one while it waits for another program.
                drop(turn);
                lock::wait_for_others(deadline)?;
                continue;
            }
            let commands = self.planned_legacy(programs, table, plan)?;
            if commands.is_empty() {
                return Ok(());
            }
            let script = change::script(table, &commands)?;
            match programs.restore(table, &script) {
                Ok(Restored::Done) => return Ok(()),
                // In the instant after it was free.
                Ok(Restored::Busy) => {
                    drop(turn);
                    lock::wait_for_others(deadline)?;
                }
                // Another program was faster, unless the same fails again.
                Err(Error::Failed { .. }) if tried.len() < TRIES && !tried.contains(&script) => {
                    tried.push(script);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn planned_legacy(
        &self,
        programs: &Programs,
        table: &str,
        plan: &mut impl FnMut(&mut Table<'_>) -> Result<()>,
    ) -> Result<Vec<Command>> {
        let read = self.read_legacy(programs.family, table)?;
        if read.is_none() && !self.is_found {
            return Ok(Vec::new());
        }
        let mut view = Table::new(table, programs, Source::Legacy(read.as_ref()));
        plan(&mut view)?;
        let commands = view.into_commands();
        let is_unknown =
            |command: &Command| matches!(command, Command::Delete(_, found) if found.rule().is_none());
        if !commands.iter().any(is_unknown) {
            return Ok(commands);
        }
        // iptables-restore wants the words of what is to be deleted.
        let saved = programs.save(table)?;
        let mut view = Table::new(table, programs, Source::Saved(&saved));
        plan(&mut view)?;
        Ok(view.into_commands())
    }

    fn read_legacy(&self, family: Family, table: &str) -> Result<Option<legacy::Table>> {
        if self.is_found {
            legacy::Table::read(family, table)
        } else {
            legacy::Table::read_of_plugins(family, table)
        }
    }
}

/// What is to be done in one family's nf_tables.
fn planned(
    nft: &mut Nft,
    programs: &Programs,
    table: &str,
    plan: &mut impl FnMut(&mut Table<'_>) -> Result<()>,
) -> Result<(Batch, Vec<Command>)> {
    let mut view = Table::new(table, programs, Source::Nft(nft));
    plan(&mut view)?;
    let commands = view.into_commands();
    change::batch(nft, table, programs.family, commands)
}
