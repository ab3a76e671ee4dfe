//! From statements to expressions, as nft 1.0.6 does it: what a header field needs is matched first, prefixes become shorter
//! comparisons or masks, lists become anonymous sets.

use nix::libc::ARPHRD_ETHER;

use crate::element::check_name;
use crate::expr::{Cmp, Expr, SetRef, register};
use crate::interval::{AnonymousSet, intervals, singles};
use crate::select::{Needs, Source};
use crate::uapi::*;
use crate::value::Unfit;
use crate::{DataType, Family, NatFamily, Op, Selector, Statement, Value, Verdict};

/// A rule in the kernel's form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Compiled {
    pub(crate) sets: Vec<AnonymousSet>,
    pub(crate) exprs: Vec<Expr>,
    pub(crate) comment: Option<String>,
}

/// A rule being compiled: what is known of the packet at this point of it.
pub(crate) struct Compiler {
    family: Family,
    network: Option<u8>,
    transport: Option<u8>,
    ether: bool,
    compiled: Compiled,
}

/// The expressions of a rule in a table of this family.
pub(crate) fn compile(family: Family, rule: &[Statement]) -> Result<Compiled, Unfit> {
    let mut compiler = Compiler::new(family);
    for statement in rule {
        compiler.statement(statement)?;
    }
    if compiler.compiled.exprs.len() > NFT_RULE_MAXEXPRS {
        return Err(format!("the rule has more than {NFT_RULE_MAXEXPRS} expressions"));
    }
    Ok(compiler.compiled)
}

impl Compiler {
    pub(crate) fn new(family: Family) -> Self {
        let network = match family {
            Family::Ip => Some(NFPROTO_IPV4),
            Family::Ip6 => Some(NFPROTO_IPV6),
            Family::Inet | Family::Bridge => None,
        };
        Self { family, network, transport: None, ether: false, compiled: Compiled::default() }
    }

    pub(crate) fn statement(&mut self, statement: &Statement) -> Result<(), Unfit> {
        if self.compiled.comment.is_some() {
            return Err("a comment ends the rule".into());
        }
        match statement {
            Statement::Match { selector, op, value } => self.compare(*selector, *op, value)?,
            Statement::InSet { key, op, set } => self.lookup(key, set, *op == Op::Ne, None)?,
            Statement::VerdictMap { key, map } => self.lookup(key, map, false, Some(NFT_REG_VERDICT))?,
            Statement::DnatMap { family, key, map } => {
                self.lookup(key, map, false, Some(NFT_REG_1))?;
                let (family, address) = match family {
                    NatFamily::Ip => (NFPROTO_IPV4, DataType::Ipv4Addr),
                    NatFamily::Ip6 => (NFPROTO_IPV6, DataType::Ipv6Addr),
                };
                let port = register(address.registers());
                self.push(Expr::Dnat { family, address: NFT_REG_1, port });
            }
            Statement::Masquerade => self.push(Expr::Masquerade),
            Statement::Reject => self.push(match self.family {
                Family::Ip => Expr::Reject { kind: NFT_REJECT_ICMP_UNREACH, code: ICMP_PORT_UNREACH },
                Family::Ip6 => Expr::Reject { kind: NFT_REJECT_ICMP_UNREACH, code: ICMPV6_PORT_UNREACH },
                Family::Inet | Family::Bridge => {
                    Expr::Reject { kind: NFT_REJECT_ICMPX_UNREACH, code: NFT_REJECT_ICMPX_PORT_UNREACH }
                }
            }),
            Statement::Counter => self.push(Expr::Counter),
            Statement::OrMark(bits) => {
                self.push(Expr::Meta { key: NFT_META_MARK, register: NFT_REG_1 });
                let (mask, xor) = ((!bits).to_ne_bytes().to_vec(), bits.to_ne_bytes().to_vec());
                self.push(Expr::Bitwise { mask, xor });
                self.push(Expr::SetMark);
            }
            Statement::Verdict(verdict) => {
                if let Verdict::Jump(chain) | Verdict::Goto(chain) = verdict {
                    check_name(chain)?;
                }
                self.push(Expr::Verdict(verdict.clone()));
            }
            Statement::Comment(text) => {
                crate::element::check_comment(text)?;
                self.compiled.comment = Some(text.clone());
            }
        }
        Ok(())
    }

    fn push(&mut self, expr: Expr) {
        self.compiled.exprs.push(expr);
    }

    fn lookup(
        &mut self,
        key: &[Selector],
        set: &str,
        inverted: bool,
        into: Option<u32>,
    ) -> Result<(), Unfit> {
        check_name(set)?;
        crate::element::check_types(&key.iter().map(|part| part.data_type()).collect::<Vec<_>>())?;
        key.iter().try_for_each(|part| self.need(*part))?;
        let mut at = 0;
        for part in key {
            self.load(*part, part.data_type().size(), register(at));
            at += part.data_type().registers();
        }
        self.push(Expr::Lookup { set: SetRef::Named(set.to_string()), inverted, into });
        Ok(())
    }

    fn load(&mut self, selector: Selector, size: usize, register: u32) {
        self.push(match selector.source() {
            Source::Meta(key) => Expr::Meta { key, register },
            Source::Ct(key) => Expr::Ct { key, direction: None, register },
            Source::CtOriginal(key) => Expr::Ct { key, direction: Some(IP_CT_DIR_ORIGINAL), register },
            Source::FibDaddrType => Expr::FibDaddrType { register },
            Source::Payload(base, offset) => Expr::Payload { base, offset, size, register },
        });
    }

    /// Matches what must hold for `selector` to be where it is read, unless the rule has done so already.
    fn need(&mut self, selector: Selector) -> Result<(), Unfit> {
        match selector.needs() {
            Needs::Nothing if selector == Selector::NfProto && self.family != Family::Inet => {
                return Err("meta nfproto is only useful in the inet family".into());
            }
            Needs::Nothing => {}
            Needs::Network(protocol) => {
                if !known(&mut self.network, protocol, selector)? {
                    self.need_network(protocol);
                }
            }
            Needs::Transport(protocol) => {
                if !known(&mut self.transport, protocol, selector)? {
                    self.push(Expr::Meta { key: NFT_META_L4PROTO, register: NFT_REG_1 });
                    self.push(Expr::Cmp(Cmp::Eq, vec![protocol]));
                }
            }
            Needs::Ether => {
                if self.family != Family::Bridge && !self.ether {
                    self.push(Expr::Meta { key: NFT_META_IIFTYPE, register: NFT_REG_1 });
                    self.push(Expr::Cmp(Cmp::Eq, ARPHRD_ETHER.to_ne_bytes().to_vec()));
                    self.ether = true;
                }
            }
        }
        Ok(())
    }

    fn need_network(&mut self, protocol: u8) {
        let ether_type = if protocol == NFPROTO_IPV4 { ETH_P_IP } else { ETH_P_IPV6 };
        let ether_type = ether_type.to_be_bytes().to_vec();
        if self.family == Family::Bridge {
            self.push(Expr::Meta { key: NFT_META_PROTOCOL, register: NFT_REG_1 });
            self.push(Expr::Cmp(Cmp::Eq, ether_type));
        } else if self.ether {
            let (base, register) = (NFT_PAYLOAD_LL_HEADER, NFT_REG_1);
            self.push(Expr::Payload { base, offset: 12, size: 2, register });
            self.push(Expr::Cmp(Cmp::Eq, ether_type));
        } else {
            self.push(Expr::Meta { key: NFT_META_NFPROTO, register: NFT_REG_1 });
            self.push(Expr::Cmp(Cmp::Eq, vec![protocol]));
        }
    }

    fn compare(&mut self, selector: Selector, op: Op, value: &Value) -> Result<(), Unfit> {
        self.need(selector)?;
        let data_type = selector.data_type();
        let cmp = if op == Op::Eq { Cmp::Eq } else { Cmp::Ne };
        match value {
            Value::AnyOf(values) => return self.any_of(selector, op, values),
            Value::Net(_) if value.is_interval() => return self.prefix(selector, cmp, value),
            Value::Range(..) => {
                let (first, last) = value.interval(data_type)?;
                self.load(selector, data_type.size(), NFT_REG_1);
                self.turn(data_type);
                if op == Op::Eq {
                    self.push(Expr::Cmp(Cmp::Gte, first));
                    self.push(Expr::Cmp(Cmp::Lte, last));
                } else {
                    self.push(Expr::NotInRange(first, last));
                }
            }
            Value::MaskedMark { value, mask } if data_type == DataType::Mark => {
                self.load(selector, 4, NFT_REG_1);
                self.mask(mask.to_ne_bytes().to_vec());
                self.push(Expr::Cmp(cmp, value.to_ne_bytes().to_vec()));
            }
            Value::Bits(bits) => {
                let bytes = value.bytes(data_type)?;
                if op == Op::Ne && !bits.is_power_of_two() {
                    let text = value.text(data_type);
                    return Err(format!("{selector} != {text} holds always: write != {{ {text} }}"));
                }
                self.load(selector, 4, NFT_REG_1);
                if op == Op::Eq {
                    self.mask(bytes);
                    self.push(Expr::Cmp(Cmp::Ne, vec![0; 4]));
                } else {
                    self.push(Expr::Cmp(Cmp::Ne, bytes));
                }
            }
            _ => {
                let bytes = match value.if_name_prefix()? {
                    Some(prefix) if data_type == DataType::IfName => prefix.to_vec(),
                    _ => value.whole_if_name().bytes(data_type)?,
                };
                self.load(selector, data_type.size(), NFT_REG_1);
                self.push(Expr::Cmp(cmp, bytes));
            }
        }
        self.learn(selector, op, value)
    }

    /// A network: a shorter comparison when it ends with a byte, else a mask.
    fn prefix(&mut self, selector: Selector, cmp: Cmp, value: &Value) -> Result<(), Unfit> {
        let (network, last) = value.interval(selector.data_type())?;
        let Value::Net(net) = value else { return Ok(()) };
        let whole = usize::from(net.prefix_len() / 8);
        if whole > 0 && net.prefix_len().is_multiple_of(8) {
            self.load(selector, whole, NFT_REG_1);
            self.push(Expr::Cmp(cmp, network[..whole].to_vec()));
        } else {
            self.load(selector, network.len(), NFT_REG_1);
            self.mask(network.iter().zip(&last).map(|(first, last)| !(first ^ last)).collect());
            self.push(Expr::Cmp(cmp, network));
        }
        Ok(())
    }

    fn any_of(&mut self, selector: Selector, op: Op, values: &[Value]) -> Result<(), Unfit> {
        let data_type = selector.data_type();
        let set = match values {
            [] => return Err(format!("{selector} is compared with an empty set")),
            [only] => return self.compare(selector, op, only),
            _ if values.iter().any(Value::is_interval) => intervals(data_type, values)?,
            _ => singles(data_type, values)?,
        };
        self.load(selector, data_type.size(), NFT_REG_1);
        if set.interval {
            self.turn(data_type);
        }
        let number = self.compiled.sets.len();
        self.push(Expr::Lookup { set: SetRef::Anonymous(number), inverted: op == Op::Ne, into: None });
        self.compiled.sets.push(set);
        Ok(())
    }

    /// Numbers of the machine's order compare by size only in the network's.
    fn turn(&mut self, data_type: DataType) {
        if data_type.is_host_number() {
            self.push(Expr::HostToNetwork);
        }
    }

    fn mask(&mut self, mask: Vec<u8>) {
        let xor = vec![0; mask.len()];
        self.push(Expr::Bitwise { mask, xor });
    }

    /// What a match of one protocol tells about the rest of the rule.
    fn learn(&mut self, selector: Selector, op: Op, value: &Value) -> Result<(), Unfit> {
        match (selector, op, value) {
            (Selector::NfProto, Op::Eq, Value::Proto(number)) => {
                known(&mut self.network, *number, selector)?;
            }
            (Selector::L4Proto | Selector::IpProtocol, Op::Eq, Value::Proto(number)) => {
                known(&mut self.transport, *number, selector)?;
            }
            _ => {}
        }
        Ok(())
    }
}

/// Whether the protocol is known already, and from now on it is. Another one makes a rule that no packet matches.
fn known(protocol: &mut Option<u8>, wanted: u8, selector: Selector) -> Result<bool, Unfit> {
    match protocol.replace(wanted) {
        Some(before) if before != wanted => {
            Err(format!("{selector} needs another protocol than what is before it"))
        }
        before => Ok(before.is_some()),
    }
}

#[cfg(test)]
mod tests;
