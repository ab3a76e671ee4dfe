//! The connection to the kernel's nf_tables.

use cni_netlink::raw::{Acknowledgement, Attrs, Connection, Protocol, Writer, be32, be64, string};
use nix::libc;

use crate::element::{all_expire, encode, read_comment, read_list, write_key};
use crate::encode::{NFGENMSG, Removal, header, message_type};
use crate::grace_period;
use crate::object::key_text;
use crate::pause::pause;
use crate::request::Request;
use crate::uapi::*;
use crate::{Batch, Element, Error, Expr, FoundRule, Result, Set, Table, Value};

mod names;

#[cfg(feature = "fuzzing")]
pub(crate) use names::{read_chain, read_set};

/// How often a change is planned again because the ruleset changed meanwhile. All processes of a network namespace share
/// one generation, so with many of them at work several tries are usual.
const TRIES: u32 = 100;

/// How often a change is planned again because an element that it deletes has expired meanwhile.
const EXPIRED: u32 = 10;

/// How often a dump is made again, each time with the ten tries of its connection.
const READS: u32 = 10;

/// A netlink socket for nf_tables, opened with the first request in the network namespace of the thread that makes it, which it then
/// belongs to for life. Whoever asks several things does well to ask them through one: closing takes the lock of all transactions.
pub struct Nft {
    connection: Option<Connection>,
    /// How [`Batch::remove_element`] is carried out: by deletion once the kernel has turned out not to do better.
    removal: Removal,
    /// Whether something was deleted that the kernel may not have freed yet.
    has_deleted: bool,
}

impl Drop for Nft {
    fn drop(&mut self) {
        if self.has_deleted {
            grace_period::wait();
        }
    }
}

impl Nft {
    /// A socket that is not open yet.
    #[allow(clippy::new_without_default, reason = "there is one way to make it")]
    pub const fn new() -> Self {
        Self { connection: None, removal: Removal::Expiry, has_deleted: false }
    }

    fn connection(&mut self) -> Result<&mut Connection> {
        match &mut self.connection {
            Some(connection) => Ok(connection),
            none => Ok(none.insert(Connection::open(Protocol::Netfilter)?)),
        }
    }

    /// Commits a batch; an empty one is nothing. What it removes is deleted.
    pub fn commit(&mut self, batch: &Batch) -> Result<()> {
        self.transact(&[batch], None, Removal::Deletion)
    }

    /// Commits `batch`; when the kernel says that a table, chain or set of it is not there, commits `setup` and `batch`
    /// together instead. `setup` must be harmless when done twice: add, flush chain, add rule. Then it is harmless too when two
    /// processes find nothing at the same time: each commits both in one transaction, and the second leaves what the first made.
    pub fn commit_with_setup(&mut self, setup: &Batch, batch: &Batch) -> Result<()> {
        self.with_setup(Some(setup), batch, None, Removal::Deletion)
    }

    /// Reads and changes without a race: `plan` reads through the socket it is given and returns what to do, which is
    /// committed only if the ruleset is still that of before `plan` (NFNL_BATCH_GENID); else `plan` runs again, a bounded
    /// number of times with growing pauses. An empty batch ends it. With `setup`, as in [`Nft::commit_with_setup`].
    ///
    /// Any change in the namespace makes a plan outdated, so let it read little: elements by their keys, a chain's rules.
    pub fn update(
        &mut self,
        op: &str,
        setup: Option<&Batch>,
        mut plan: impl FnMut(&mut Nft) -> Result<Batch>,
    ) -> Result<()> {
        for tries in 1..=TRIES {
            let generation = self.generation()?;
            let done = plan(self).and_then(|batch| self.carry_out(setup, &batch, generation, tries));
            match done {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) if error.is_outdated() || error.is_interrupted() => pause(tries),
                Err(error) => return Err(error),
            }
        }
        Err(Error::Changing { op: op.to_string(), tries: TRIES })
    }

    /// Commits what was planned; false when it has to be planned again.
    fn carry_out(
        &mut self,
        setup: Option<&Batch>,
        batch: &Batch,
        generation: u32,
        tries: u32,
    ) -> Result<bool> {
        let done = self.with_setup(setup, batch, Some(generation), self.removal);
        // Time changes no generation: what was there when it was read may have expired before it was deleted.
        let may_have_expired = batch.deletes_elements() && tries <= EXPIRED;
        if may_have_expired && done.as_ref().is_err_and(Error::is_not_found) {
            return Ok(false);
        }
        let Some((set, element)) = batch.removed().next().filter(|_| self.removal == Removal::Expiry) else {
            return done.map(|()| true);
        };
        let expires = match done {
            Ok(()) => self.expires(set, element)?,
            // The set is one whose elements stay, made by a release before expiry.
            Err(error) if error.is_invalid() => false,
            Err(error) => return Err(error),
        };
        if !expires {
            self.removal = Removal::Deletion;
        }
        Ok(expires)
    }

    /// Whether an element is about to go. Linux before 6.12 takes a new timeout for one that is there and ignores it
    /// (net/netfilter/nf_tables_api.c, nft_add_set_elem).
    fn expires(&mut self, set: &Set, element: &Element) -> Result<bool> {
        Ok(!self.answers_to(set, &element.key, all_expire)?.contains(&false))
    }

    /// One element by its key, without reading the set; `None` also when the set or table is not there.
    pub fn element(&mut self, set: &Set, key: &[Value]) -> Result<Option<Element>> {
        let found = self.answers_to(set, key, |payload| read_list(payload, set))?;
        Ok(found.into_iter().flatten().next())
    }

    fn answers_to<T>(&mut self, set: &Set, key: &[Value], parse: impl Fn(&[u8]) -> T) -> Result<Vec<T>> {
        let op = || format!("get element {} {} {{ {} }}", set.table, set.name, key_text(key, set.key));
        let bytes = encode(key, set.key).map_err(|reason| Error::Invalid { op: op(), reason })?;
        self.read(&mut element_request(set, &bytes), &op, |payload| Some(parse(payload)))
    }

    /// All elements; none when the set or table is not there. The kernel's work grows faster than their number (10 ms for ten
    /// thousand, 170 ms for fifty thousand), so this is for lists and garbage collection.
    pub fn elements(&mut self, set: &Set) -> Result<Vec<Element>> {
        let op = || format!("list {} {} {}", set.kind(), set.table, set.name);
        let mut request = request(NFT_MSG_GETSETELEM, NLM_F_DUMP, &set.table, |writer| {
            writer.string(NFTA_SET_ELEM_LIST_SET, &set.name)
        });
        let found = self.read(&mut request, &op, |payload| Some(read_list(payload, set)))?;
        Ok(found.into_iter().flatten().collect())
    }

    /// The rules of one chain, in order, which the kernel picks out; none when the chain or table is not there. Also of
    /// tables that belong to other programs.
    pub fn rules(&mut self, table: &Table, chain: &str) -> Result<Vec<FoundRule>> {
        let op = || format!("list chain {table} {chain}");
        self.read(&mut rules_request(table, chain), &op, |payload| read_rule(payload, table, chain))
    }

    /// The number of the ruleset's generation, which each transaction changes.
    fn generation(&mut self) -> Result<u32> {
        let op = || "read the ruleset's generation".to_string();
        let mut writer = Writer::default();
        writer.message(message_type(NFT_MSG_GETGEN), NLM_F_REQUEST, 0, &header(0, 0), |_| {});
        let found = self.connection()?.read(&mut writer.into_bytes(), &op, |payload| {
            Attrs::after(payload, NFGENMSG).find(NFTA_GEN_ID).and_then(be32)
        });
        let found = found.map_err(|error| without_subsystem(error, op()))?;
        found.first().copied().ok_or_else(|| malformed(op()))
    }

    fn with_setup(
        &mut self,
        setup: Option<&Batch>,
        batch: &Batch,
        generation: Option<u32>,
        removal: Removal,
    ) -> Result<()> {
        match (self.transact(&[batch], generation, removal), setup) {
            // A transaction that failed leaves the generation as it was.
            (Err(error), Some(setup)) if error.is_not_found() => {
                self.transact(&[setup, batch], generation, removal)
            }
            (done, _) => done,
        }
    }

    /// One transaction. The kernel has answered it by the time that sending returns (net/netlink/af_netlink.c,
    /// netlink_unicast_kernel), so nothing is waited for and nothing can hang.
    fn transact(&mut self, batches: &[&Batch], generation: Option<u32>, removal: Removal) -> Result<()> {
        if batches.iter().all(|batch| batch.is_empty()) {
            return Ok(());
        }
        let connection = self.connection()?;
        let first = connection.sequences(1);
        let request = Request::new(batches, first, generation, removal)?;
        connection.sequences(request.count() - 1);
        connection.send(&request.bytes, &|| request.describe())?;
        let (mut failed, mut ended, mut lost) = (None, false, false);
        while !ended {
            match connection.receive_waiting(&|| request.describe()) {
                Ok(None) => break,
                Ok(Some(messages)) => {
                    for message in messages.flatten() {
                        let number = message.sequence.wrapping_sub(first);
                        if number >= request.count() {
                            continue; // Left over from a request that was given up.
                        }
                        let answer = Acknowledgement::read(&message, request.message(number));
                        let answer = answer.ok_or_else(|| malformed(request.describe()))?;
                        ended |= number == request.last();
                        if answer.errno != 0 && failed.is_none() {
                            // What follows is a consequence more often than not.
                            failed = Some((number, answer));
                        }
                    }
                }
                Err(error) if is_overflow(&error) && !lost => lost = true,
                Err(error) => return Err(error.into()),
            }
        }
        match failed {
            Some((number, answer)) => Err(request.refusal(number, answer)),
            None if ended => {
                self.has_deleted |= batches.iter().any(|batch| batch.deletes(removal));
                Ok(())
            }
            None => Err(malformed(request.describe())),
        }
    }

    /// Reads objects, none when what they belong to is not there; again and with pauses when changes keep interrupting.
    fn read<T>(
        &mut self,
        request: &mut [u8],
        op: &dyn Fn() -> String,
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.connection()?.read(request, op, &parse).map_err(Error::from) {
                Err(error) if error.is_not_found() => return Ok(Vec::new()),
                Err(error) if error.is_interrupted() && tries < READS => pause(tries),
                Err(error) if error.is_invalid() => return Err(self.generation().err().unwrap_or(error)),
                found => return found,
            }
        }
    }
}

/// A request to read.
fn request(kind: u16, flags: u16, table: &Table, attributes: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::default();
    let header = header(table.family.number(), 0);
    writer.message(message_type(kind), NLM_F_REQUEST | flags, 0, &header, |writer| {
        // The first attribute of questions about anything else in a table too.
        writer.string(NFTA_TABLE_NAME, &table.name);
        attributes(writer);
    });
    writer.into_bytes()
}

/// Asks for the element with this key.
fn element_request(set: &Set, key: &[u8]) -> Vec<u8> {
    request(NFT_MSG_GETSETELEM, 0, &set.table, |writer| {
        writer.string(NFTA_SET_ELEM_LIST_SET, &set.name);
        writer.nest(NFTA_SET_ELEM_LIST_ELEMENTS, |writer| write_key(writer, key));
    })
}

/// Asks for the rules of one chain.
fn rules_request(table: &Table, chain: &str) -> Vec<u8> {
    request(NFT_MSG_GETRULE, NLM_F_DUMP, table, |writer| writer.string(NFTA_RULE_CHAIN, chain))
}

pub(crate) fn read_rule(payload: &[u8], table: &Table, chain: &str) -> Option<FoundRule> {
    let find = |kind| Attrs::after(payload, NFGENMSG).find(kind);
    let here = find(NFTA_RULE_TABLE).is_some_and(|name| string(name) == table.name)
        && find(NFTA_RULE_CHAIN).is_some_and(|name| string(name) == chain);
    let handle = here.then(|| find(NFTA_RULE_HANDLE).and_then(be64)).flatten()?;
    let comment = find(NFTA_RULE_USERDATA).and_then(read_comment);
    let expressions = Attrs(find(NFTA_RULE_EXPRESSIONS).unwrap_or_default());
    let exprs = expressions.map(|(_, expression)| Expr::read(expression)).collect();
    Some(FoundRule { handle, comment, exprs })
}

/// nfnetlink knows no request for a subsystem that the kernel lacks (net/netfilter/nfnetlink.c, nfnetlink_rcv_msg), and nothing
/// else can be wrong with this one.
fn without_subsystem(error: cni_netlink::Error, op: String) -> Error {
    match Error::from(error) {
        error if error.is_invalid() => Error::Kernel {
            op,
            source: std::io::Error::from_raw_os_error(libc::EOPNOTSUPP),
            text: "the kernel has no nf_tables".into(),
        },
        error => error,
    }
}

/// More answers than the socket holds: a batch with hundreds of errors. The first are there.
fn is_overflow(error: &cni_netlink::Error) -> bool {
    matches!(error, cni_netlink::Error::Socket { source, .. } if source.raw_os_error() == Some(libc::ENOBUFS))
}

fn malformed(op: String) -> Error {
    cni_netlink::Error::Malformed { op, reason: "no acknowledgement" }.into()
}

#[cfg(test)]
mod tests {
    use cni_netlink::raw::Messages;
    use proptest::prelude::*;

    use super::*;
    use crate::{DataType, Family};

    const TABLE: Table = Table::new(Family::Inet, "t");
    static SET: Set = Set::new(TABLE, "s", &[DataType::InetService]);

    #[test]
    fn kernel_without_nf_tables_is_told_from_a_wrong_request() {
        let refused = |errno| cni_netlink::Error::Kernel {
            op: "read the ruleset's generation".into(),
            source: std::io::Error::from_raw_os_error(errno),
            text: String::new(),
        };
        let error = without_subsystem(refused(libc::EINVAL), "read".into());
        assert!(error.is_unsupported());
        assert!(error.to_string().ends_with("(os error 95): the kernel has no nf_tables"), "{error}");
        assert!(!without_subsystem(refused(libc::EPERM), "read".into()).is_unsupported());
    }

    #[test]
    fn single_elements_and_chains_are_asked_for_by_name() {
        let request = element_request(&SET, &[0, 80]);
        let message = Messages(&request).next().flatten().unwrap();
        assert_eq!((message.kind, message.flags), (0xa0d, NLM_F_REQUEST), "no NLM_F_DUMP");
        let list = Attrs::after(message.payload, 4).find(3).unwrap();
        let key = Attrs(Attrs(list).find(1).unwrap()).find(1).unwrap();
        assert_eq!(Attrs(key).find(1), Some(&[0, 80][..]));

        let request = rules_request(&TABLE, "x");
        let message = Messages(&request).next().flatten().unwrap();
        let mut attributes = Attrs::after(message.payload, 4).map(|(kind, value)| (kind, string(value)));
        assert_eq!(attributes.next(), Some((1, "t".into())));
        assert_eq!(attributes.next(), Some((2, "x".into())), "NFTA_RULE_CHAIN, by which the kernel filters");
    }

    proptest! {
        #[test]
        fn no_bytes_panic_a_reader(payload: Vec<u8>) {
            let _ = read_rule(&payload, &TABLE, "x");
        }

        #[test]
        fn no_user_data_panics_a_reader(user: Vec<u8>, handle: Vec<u8>) {
            let request = request(NFT_MSG_GETRULE, 0, &TABLE, |writer| {
                writer.string(2, "x");
                writer.attr(3, &handle);
                writer.attr(7, &user);
            });
            let found = read_rule(&request[16..], &TABLE, "x");
            prop_assert_eq!(found.is_some(), handle.len() >= 8);
        }
    }
}
