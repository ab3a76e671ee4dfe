//! Reading matches in nft's syntax, for conditions that users write.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use crate::compile::Compiler;
use crate::lex::{Token, tokens};
use crate::uapi::IPPROTO_ICMPV6;
use crate::value::{ADDR_TYPES, bits_of, protocols};
use crate::{DataType, Family, Op, Selector, Statement, Value};

/// What was not understood, and where. `token` is empty when the text ends too early.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot understand {token:?} in {text:?}: {reason}")]
#[non_exhaustive]
pub struct ParseError {
    /// The word that is not understood; empty when the text ends too early.
    pub token: String,
    /// All that was to be read.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Reads one or more matches, as in `iifname != "eth0" ip saddr { 10.0.0.0/8, 192.168.0.0/16 } tcp dport 1024-65535`.
/// Anything else, a verdict for one, is refused, and so are matches that exclude each other: `udp dport 53 tcp dport 53`.
///
/// What can be looked at: `iifname`, `oifname`, `meta mark`, `meta nfproto`, `meta l4proto`, `ip` and `ip6` `saddr` and
/// `daddr`, `ip protocol`, `ether saddr`, `sport` and `dport` of `tcp`, `udp`, `sctp` and `th`, `fib daddr type`, `ct state`,
/// `ct status`. Values are single ones, ranges, prefixes and sets of them; a mark may be compared under a mask. Ports
/// and hosts have no names here.
pub fn parse_matches(text: &str) -> std::result::Result<Vec<Statement>, ParseError> {
    let error = |(token, reason): Failure| ParseError { token, text: text.to_string(), reason };
    let mut parser = Parser { tokens: tokens(text).map_err(error)?, at: 0 };
    let mut compiler = Compiler::new(Family::Inet);
    let mut statements = Vec::new();
    loop {
        let first = parser.peek();
        let statement = parser.statement().map_err(error)?;
        // What could not become a rule is refused here, where the text is at hand.
        compiler.statement(&statement).map_err(|reason| error((shown(first), reason)))?;
        statements.push(statement);
        if parser.peek().is_none() {
            return Ok(statements);
        }
    }
}

/// The token at fault, and why.
pub(crate) type Failure = (String, String);
type Parsed<T> = std::result::Result<T, Failure>;

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
}

fn shown(token: Option<Token<'_>>) -> String {
    token.map(|token| token.to_string()).unwrap_or_default()
}

fn refuse<T>(token: Option<Token<'_>>, reason: impl Into<String>) -> Parsed<T> {
    Err((shown(token), reason.into()))
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<Token<'a>> {
        self.tokens.get(self.at).copied()
    }

    fn next(&mut self) -> Option<Token<'a>> {
        let token = self.peek();
        self.at += 1;
        token
    }

    /// Goes past this word when it is the next.
    fn skip(&mut self, word: &str) -> bool {
        let found = self.peek() == Some(Token::Word(word));
        self.at += usize::from(found);
        found
    }

    /// `SELECTOR [& MASK] [== | !=] VALUE`
    fn statement(&mut self) -> Parsed<Statement> {
        let selector = self.selector()?;
        let data_type = selector.data_type();
        if data_type == DataType::Mark && (self.skip("&") || self.skip("and")) {
            let mask = self.number()?;
            let op = self.op().unwrap_or(Op::Eq);
            let value = Value::MaskedMark { value: self.number()?, mask };
            return Ok(Statement::Match { selector, op, value });
        }
        let (at, op) = (self.peek(), self.op());
        let value = match self.peek() {
            Some(Token::Word("{")) => self.set(data_type)?,
            _ => self.value(data_type)?,
        };
        if op == Some(Op::Eq) && !equals(data_type, &value) {
            return refuse(at, format!("{selector} has several bits: leave the == out to match any of them"));
        }
        Ok(Statement::Match { selector, op: op.unwrap_or(Op::Eq), value })
    }

    fn selector(&mut self) -> Parsed<Selector> {
        let first = self.next();
        let Some(Token::Word(word)) = first else {
            return refuse(first, "a match begins with what is looked at");
        };
        match word {
            "iifname" => return Ok(Selector::IifName),
            "oifname" => return Ok(Selector::OifName),
            "mark" => return Ok(Selector::Mark),
            "meta" | "ip" | "ip6" | "ether" | "tcp" | "udp" | "sctp" | "th" | "ct" | "fib" => {}
            _ => return refuse(first, "no match that is known here begins with it"),
        }
        let second = self.next();
        let Some(Token::Word(field)) = second else {
            return refuse(second, format!("the field of {word} is missing"));
        };
        Ok(match (word, field) {
            ("meta", "iifname") => Selector::IifName,
            ("meta", "oifname") => Selector::OifName,
            ("meta", "mark") => Selector::Mark,
            ("meta", "nfproto") => Selector::NfProto,
            ("meta", "l4proto") => Selector::L4Proto,
            ("ip", "saddr") => Selector::IpSaddr,
            ("ip", "daddr") => Selector::IpDaddr,
            ("ip", "protocol") => Selector::IpProtocol,
            ("ip6", "saddr") => Selector::Ip6Saddr,
            ("ip6", "daddr") => Selector::Ip6Daddr,
            ("ether", "saddr") => Selector::EtherSaddr,
            ("tcp", "sport") => Selector::TcpSport,
            ("tcp", "dport") => Selector::TcpDport,
            ("udp", "sport") => Selector::UdpSport,
            ("udp", "dport") => Selector::UdpDport,
            ("sctp", "sport") => Selector::SctpSport,
            ("sctp", "dport") => Selector::SctpDport,
            ("th", "sport") => Selector::ThSport,
            ("th", "dport") => Selector::ThDport,
            ("ct", "state") => Selector::CtState,
            ("ct", "status") => Selector::CtStatus,
            ("fib", "daddr") if self.skip("type") => Selector::FibDaddrType,
            ("fib", "daddr") => return refuse(self.peek(), "only fib daddr type is known here"),
            _ => return refuse(second, format!("this field of {word} is not known here")),
        })
    }

    fn op(&mut self) -> Option<Op> {
        if self.skip("==") || self.skip("eq") {
            Some(Op::Eq)
        } else if self.skip("!=") || self.skip("ne") {
            Some(Op::Ne)
        } else {
            None
        }
    }

    /// `{ VALUE, VALUE }`; one alone is not a set, as in nft, and a comma may be before the end.
    fn set(&mut self, data_type: DataType) -> Parsed<Value> {
        self.at += 1;
        let mut values = vec![self.range(data_type)?];
        while !self.skip("}") {
            if !self.skip(",") {
                return refuse(self.peek(), "a comma or } belongs here");
            }
            if self.peek() != Some(Token::Word("}")) {
                values.push(self.range(data_type)?);
            }
        }
        Ok(if values.len() == 1 { values.remove(0) } else { Value::AnyOf(values) })
    }

    /// What follows a selector without braces: bits may be several.
    fn value(&mut self, data_type: DataType) -> Parsed<Value> {
        let mut value = self.range(data_type)?;
        if let Value::Bits(bits) = &mut value {
            while self.skip(",") || self.skip("|") {
                if let Value::Bits(more) = self.single(data_type)? {
                    *bits |= more;
                }
            }
        }
        Ok(value)
    }

    /// A value, a prefix or a range.
    fn range(&mut self, data_type: DataType) -> Parsed<Value> {
        let token = self.peek();
        let (first, last) = match token {
            Some(Token::Word(word)) if data_type.has_ranges() && word.len() > 1 && word.contains('-') => {
                match word.split_once('-') {
                    // "ipv6-icmp" is a name, "80-" goes on behind a space.
                    _ if read(word, data_type).is_some() => return self.single(data_type),
                    Some((first, "")) => {
                        self.at += 1;
                        (read(first, data_type), self.single(data_type).ok())
                    }
                    Some((first, last)) => {
                        self.at += 1;
                        (read(first, data_type), read(last, data_type))
                    }
                    None => return self.single(data_type),
                }
            }
            _ => {
                let first = self.single(data_type)?;
                match self.peek() {
                    Some(Token::Word(word)) if data_type.has_ranges() && word.starts_with('-') => {
                        self.at += 1;
                        let last = match &word[1..] {
                            "" => Some(self.single(data_type)?),
                            last => read(last, data_type),
                        };
                        (Some(first), last)
                    }
                    _ => return Ok(first),
                }
            }
        };
        let single = |value: &Value| !value.is_interval();
        match (first.filter(single), last.filter(single)) {
            (Some(first), Some(last)) => Ok(Value::Range(Box::new(first), Box::new(last))),
            _ => refuse(token, format!("it is not a range of {data_type}")),
        }
    }

    fn single(&mut self, data_type: DataType) -> Parsed<Value> {
        let token = self.next();
        let value = match token {
            None => return refuse(None, format!("the text ends where {} belongs", expected(data_type))),
            Some(Token::Word(word)) => read(word, data_type),
            Some(Token::Quoted(name)) if data_type == DataType::IfName => Some(Value::IfName(name.into())),
            Some(Token::Quoted(_)) => None,
        };
        match value {
            Some(value) => Ok(value),
            None if shown(token).starts_with('@') => refuse(token, "named sets are not known here"),
            None => refuse(token, format!("it is not {}", expected(data_type))),
        }
    }

    fn number(&mut self) -> Parsed<u32> {
        match self.single(DataType::Mark)? {
            Value::Mark(number) => Ok(number),
            _ => refuse(self.peek(), "a number belongs here"),
        }
    }
}

/// What a word should have been.
fn expected(data_type: DataType) -> &'static str {
    match data_type {
        DataType::Ipv4Addr => "an IPv4 address or network",
        DataType::Ipv6Addr => "an IPv6 address or network",
        DataType::EtherAddr => "a hardware address",
        DataType::InetProto | DataType::NfProto => "a protocol",
        DataType::InetService => "a port's number",
        DataType::Mark => "a number",
        DataType::IfName => "an interface name",
        DataType::FibAddrType => "a type of address",
        DataType::CtState => "a state of a connection",
        DataType::CtStatus => "a status of a connection",
        DataType::Verdict => "a verdict",
    }
}

/// Whether == means the same as no operator.
fn equals(data_type: DataType, value: &Value) -> bool {
    match (data_type, value) {
        // A packet has exactly one state, a connection several bits of status.
        (DataType::CtState, Value::Bits(bits)) => bits.is_power_of_two(),
        (DataType::CtStatus, Value::Bits(_)) => false,
        _ => true,
    }
}

/// A word as a value of this type.
fn read(word: &str, data_type: DataType) -> Option<Value> {
    let named = |names: crate::value::Names| {
        let known = names.iter().find(|(_, name)| *name == word);
        known.map(|(number, _)| *number).or_else(|| number(word))
    };
    Some(match data_type {
        DataType::Ipv4Addr => address(word, IpAddr::is_ipv4)?,
        DataType::Ipv6Addr => address(word, IpAddr::is_ipv6)?,
        DataType::EtherAddr => Value::Mac(mac(word)?),
        // The name that newer versions of nft print.
        DataType::InetProto if word == "icmpv6" => Value::Proto(IPPROTO_ICMPV6),
        DataType::InetProto | DataType::NfProto => {
            Value::Proto(named(protocols(data_type))?.try_into().ok()?)
        }
        DataType::InetService => Value::Port(number(word)?.try_into().ok()?),
        DataType::Mark => Value::Mark(number(word)?),
        DataType::IfName => Value::IfName(if_name(word)?),
        DataType::FibAddrType => Value::AddrType(named(ADDR_TYPES)?),
        DataType::CtState | DataType::CtStatus => Value::Bits(named(bits_of(data_type))?),
        DataType::Verdict => return None,
    })
}

/// Decimal, or hexadecimal behind 0x.
fn number(word: &str) -> Option<u32> {
    match word.strip_prefix("0x") {
        Some(digits) if digits.chars().all(|digit| digit.is_ascii_hexdigit()) => {
            u32::from_str_radix(digits, 16).ok()
        }
        _ if word.chars().all(|digit| digit.is_ascii_digit()) => word.parse().ok(),
        _ => None,
    }
}

/// An address or, with a length, a network without the bits of the host.
fn address(word: &str, of_family: fn(&IpAddr) -> bool) -> Option<Value> {
    if let Ok(addr) = IpAddr::from_str(word) {
        return of_family(&addr).then_some(Value::Addr(addr));
    }
    let net = IpNet::from_str(word).ok()?.trunc();
    of_family(&net.addr()).then(|| match net.prefix_len() == net.max_prefix_len() {
        true => Value::Addr(net.addr()),
        false => Value::Net(net),
    })
}

fn mac(word: &str) -> Option<[u8; 6]> {
    let mut bytes = [0; 6];
    let mut parts = word.split(':');
    for byte in &mut bytes {
        let part = parts.next().filter(|part| matches!(part.len(), 1 | 2) && !part.starts_with('+'))?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(bytes)
}

/// A name without quotes: nothing that has a meaning in nft.
fn if_name(word: &str) -> Option<String> {
    let first = word.chars().next()?;
    (first.is_alphanumeric() || matches!(first, '_' | '.' | '*')).then(|| word.to_string())
}

#[cfg(test)]
mod tests;
