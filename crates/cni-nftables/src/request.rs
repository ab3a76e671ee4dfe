//! A batch as netlink messages, and which command each came from, so that an error names its command.

use cni_netlink::raw::Acknowledgement;
use nix::libc;

use crate::batch::Command;
use crate::encode::{Encoder, NFGENMSG, Removal, Sent};
use crate::{Batch, Error, Result};

/// Length of both headers, behind which attributes begin.
const HEADERS: usize = size_of::<libc::nlmsghdr>() + NFGENMSG;

/// A batch ready to be sent.
pub(crate) struct Request<'a> {
    pub(crate) bytes: Vec<u8>,
    commands: Vec<&'a Command>,
    messages: Vec<Sent>,
}

impl<'a> Request<'a> {
    /// The messages of these batches, one transaction, numbered from `sequence` on. With a generation, the kernel takes it only
    /// when the ruleset is of that generation.
    pub(crate) fn new(
        batches: &[&'a Batch],
        sequence: u32,
        generation: Option<u32>,
        removal: Removal,
    ) -> Result<Self> {
        let commands: Vec<&Command> = batches.iter().flat_map(|batch| &batch.commands).collect();
        let mut encoder = Encoder::new(sequence, generation, removal);
        let mut at = 0;
        while let Some(command) = commands.get(at) {
            let done = encoder.command(at, &commands[at..]);
            at += done.map_err(|(failed, reason)| Error::Invalid {
                op: commands.get(at + failed).unwrap_or(command).to_string(),
                reason,
            })?;
        }
        let (bytes, messages) = encoder.finish();
        Ok(Self { bytes, commands, messages })
    }

    /// How many messages, and sequence numbers.
    pub(crate) fn count(&self) -> u32 {
        self.messages.len() as u32
    }

    /// The number among the messages of the one that is acknowledged.
    pub(crate) fn last(&self) -> u32 {
        self.count() - 2
    }

    /// The bytes of a message.
    pub(crate) fn message(&self, number: u32) -> &[u8] {
        self.messages.get(number as usize).map_or(&[], |sent| &self.bytes[sent.bytes.clone()])
    }

    /// The error for what the kernel answered to a message.
    pub(crate) fn refusal(&self, number: u32, answer: Acknowledgement) -> Error {
        let sent = self.messages.get(number as usize).filter(|sent| !sent.commands.is_empty());
        let commands = sent.map(|sent| &self.commands[sent.commands.clone()]).unwrap_or_default();
        let errno = match commands.first() {
            // To a base chain that is there with another hook or priority newer kernels say EOPNOTSUPP
            // (net/netfilter/nf_tables_api.c, nft_chain_parse_hook), older ones EEXIST; the former would read as if
            // nf_tables were missing.
            Some(Command::AddChain { base: Some(_), .. }) if answer.errno == libc::EOPNOTSUPP => libc::EEXIST,
            _ => answer.errno,
        };
        // The kernel has no sentence for most refusals, but points at the name at fault: the table's is the first attribute.
        let table = (errno, answer.offset) == (libc::ENOENT, Some(HEADERS));
        let text = match answer.sentence {
            text if text.is_empty() && table => "there is no such table".to_string(),
            text => text,
        };
        let before = |offset: usize| sent?.offsets.iter().rposition(|start| *start <= offset);
        let op = match (commands, answer.offset.and_then(before)) {
            ([], _) => self.describe(),
            ([only], _) => only.to_string(),
            (_, Some(at)) => commands[at].to_string(),
            ([first, rest @ ..], None) => format!("{first} and {} more", rest.len()),
        };
        Error::Kernel { op, source: std::io::Error::from_raw_os_error(errno), text }
    }

    /// What the whole does.
    pub(crate) fn describe(&self) -> String {
        match &self.commands[..] {
            [only] => only.to_string(),
            [first, rest @ ..] => format!("{first} and {} more", rest.len()),
            [] => "change nothing".to_string(),
        }
    }
}

#[cfg(test)]
mod tests;
