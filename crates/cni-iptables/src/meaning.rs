//! What a rule means, whatever its spelling: options by their short names, values as the kernel keeps them, in one order.
//!
//! Covers what the reference's plugins write and what the usual matches in users' conditions look like when they are read
//! back. Checked against both iptables in tests/programs.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::protocol;

/// One option: negated or not, its name, its values.
pub(crate) type Part = (bool, String, Vec<String>);

/// The options of a rule, sorted.
pub(crate) fn of(words: &[String]) -> Vec<Part> {
    let mut parts = in_order(words);
    parts.sort();
    parts
}

/// The same in the order of the words.
pub(crate) fn in_order(words: &[String]) -> Vec<Part> {
    let mut parts: Vec<Part> = options(words).into_iter().filter_map(normalize).collect();
    let protocols: Vec<String> =
        parts.iter().filter(|part| part.1 == "-p").flat_map(|part| part.2.clone()).collect();
    // `-p tcp` implies `-m tcp`, options of an extension its `-m`.
    parts.retain(|(_, name, values)| name != "-m" || !values.iter().all(|m| is_implied(m, &protocols)));
    parts
}

/// Options with their values: all words up to the next option.
fn options(words: &[String]) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut negated = false;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "!" {
            negated = true;
        } else if word == "--comment" {
            // Its text may read like an option.
            parts.push((
                std::mem::take(&mut negated),
                word.clone(),
                words.next().cloned().into_iter().collect(),
            ));
        } else if word.len() > 1 && word.starts_with('-') {
            parts.push((std::mem::take(&mut negated), word.clone(), Vec::new()));
        } else if let Some(part) = parts.last_mut() {
            // The old spelling, `-o ! br0`.
            part.0 |= std::mem::take(&mut negated);
            part.2.push(word.clone());
        }
    }
    parts
}

/// Brings names and values to one form; `None` for what says nothing, such as `-s 0.0.0.0/0`.
fn normalize((negated, name, mut values): Part) -> Option<Part> {
    let name = match name.as_str() {
        "--source" | "--src" => "-s",
        "--destination" | "--dst" => "-d",
        "--in-interface" => "-i",
        "--out-interface" => "-o",
        "--protocol" | "--proto" => "-p",
        "--jump" => "-j",
        "--goto" => "-g",
        "--match" => "-m",
        "--destination-port" => "--dport",
        "--source-port" => "--sport",
        "--destination-ports" => "--dports",
        "--source-ports" => "--sports",
        other => other,
    };
    for value in &mut values {
        match name {
            "-s" | "-d" => *value = network(value),
            "-p" => *value = protocol(value),
            "--mark" | "--set-xmark" => *value = mark(value),
            "--ctstate" | "--state" | "--ctstatus" | "--dst-type" => *value = list(value),
            "--to-destination" => {
                *value = value.parse().map_or_else(|_| value.clone(), |to: SocketAddr| to.to_string());
            }
            _ => {}
        }
    }
    let says_nothing = match (name, values.first().map(String::as_str)) {
        ("-s" | "-d", Some("0.0.0.0/0" | "::/0")) | ("-p", Some("all")) => !negated,
        _ => false,
    };
    (!says_nothing).then(|| (negated, name.to_owned(), values))
}

/// `10.1.0.5/16`, `10.1.0.5/255.255.0.0` and `10.1.0.0/16` are one network, `10.1.0.5` is its own.
fn network(text: &str) -> String {
    let net = match text.split_once('/') {
        None => text.parse::<IpAddr>().ok().map(IpNet::from),
        Some((address, mask)) => text.parse().ok().or_else(|| {
            let (address, mask) = (address.parse().ok()?, mask.parse().ok()?);
            IpNet::with_netmask(address, mask).ok()
        }),
    };
    net.map_or_else(|| text.to_owned(), |net| net.trunc().to_string())
}

/// The one name of a protocol.
fn protocol(text: &str) -> String {
    let name = text.to_ascii_lowercase();
    match name.as_str() {
        "icmpv6" | "icmp6" => "ipv6-icmp".to_owned(),
        other => protocol::number(other).map_or_else(|| other.to_owned(), protocol::name),
    }
}

/// `8192`, `0x2000` and `0x2000/0xffffffff` are one mark.
fn mark(text: &str) -> String {
    let (value, mask) = text.split_once('/').unwrap_or((text, "0xffffffff"));
    match (number(value), number(mask)) {
        (Some(value), Some(mask)) => format!("{value:#x}/{mask:#x}"),
        _ => text.to_owned(),
    }
}

/// As strtoul(3) reads it with base 0.
fn number(text: &str) -> Option<u32> {
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return u32::from_str_radix(hex, 16).ok();
    }
    match text.strip_prefix('0') {
        Some(octal) if !octal.is_empty() => u32::from_str_radix(octal, 8).ok(),
        _ => text.parse().ok(),
    }
}

/// A list whose order says nothing.
fn list(text: &str) -> String {
    let mut items: Vec<String> = text.split(',').map(str::to_ascii_uppercase).collect();
    items.sort_unstable();
    items.dedup();
    items.join(",")
}

/// Extensions without a meaning of their own: it is in their options, which are compared.
fn is_implied(module: &str, protocols: &[String]) -> bool {
    const OPTIONS_ONLY: &[&str] =
        &["comment", "multiport", "addrtype", "conntrack", "state", "mark", "tcp", "udp", "sctp", "dccp"];
    OPTIONS_ONLY.contains(&module) || protocols.contains(&protocol(module))
}

#[cfg(test)]
mod tests {
    use crate::{Rule, words};

    fn rule(line: &str) -> Rule {
        Rule(words::split(line))
    }

    /// What the plugins write, and what both iptables-save print for it.
    const SAME: &[(&str, &str)] = &[
        (
            r#"-d 10.1.0.5/16 -j ACCEPT -m comment --comment "name: \"n\" id: \"i\"""#,
            r#"-d 10.1.0.0/16 -m comment --comment "name: \"n\" id: \"i\"" -j ACCEPT"#,
        ),
        (
            "! -d 224.0.0.0/4 -j MASQUERADE -m comment --comment x",
            "! -d 224.0.0.0/4 -m comment --comment x -j MASQUERADE",
        ),
        ("-s 10.1.0.5 -j CNI-a", "-s 10.1.0.5/32 -j CNI-a"),
        ("-s FD00:0::5 -j CNI-a", "-s fd00::5/128 -j CNI-a"),
        ("-s 0.0.0.0/0 -j CNI-a", "-j CNI-a"),
        ("-s ::/0 -j CNI-a", "-j CNI-a"),
        ("-s 10.0.0.1/255.0.0.0", "-s 10.0.0.0/8"),
        (
            "-m comment --comment x -m multiport -p tcp --destination-ports 80,81 -i eth+ ! -s 192.0.2.1/24 -j CNI-DN-x",
            "! -s 192.0.2.0/24 -i eth+ -p tcp -m comment --comment x -m multiport --dports 80,81 -j CNI-DN-x",
        ),
        ("-p tcp --dport 80 -d 1.2.3.4 -j X", "-d 1.2.3.4/32 -p tcp -m tcp --dport 80 -j X"),
        ("-p ICMPV6 -j X", "-p ipv6-icmp -j X"),
        ("-m mark --mark 8192/0x2000 -j MASQUERADE", "-m mark --mark 0x2000/0x2000 -j MASQUERADE"),
        ("-m mark --mark 8192", "-m mark --mark 0x2000"),
        ("-j MARK --set-xmark 1", "-j MARK --set-xmark 0x1/0xffffffff"),
        ("-m conntrack --ctstate RELATED,ESTABLISHED", "-m conntrack --ctstate ESTABLISHED,RELATED"),
        ("-i br0 -o ! br0", "-i br0 ! -o br0"),
        ("--source 1.2.3.4 --jump X", "-s 1.2.3.4/32 -j X"),
    ];

    const DIFFERENT: &[(&str, &str)] = &[
        ("-s 10.1.0.5 -j CNI-a", "-s 10.1.0.5/32 -j CNI-b"),
        ("-s 10.1.0.5 -j CNI-a", "-s 10.1.0.0/16 -j CNI-a"),
        ("-s 10.1.0.5 -j CNI-a", "! -s 10.1.0.5/32 -j CNI-a"),
        ("-s 10.1.0.5 -j CNI-a", "-d 10.1.0.5/32 -j CNI-a"),
        ("! -s 0.0.0.0/0 -j CNI-a", "-j CNI-a"),
        ("-j CNI-a", "-g CNI-a"),
        ("-m comment --comment a -j X", "-m comment --comment b -j X"),
        ("-m comment --comment -j -j X", "-m comment --comment x -j X"),
        ("-p tcp --dport 80 -j X", "-p udp -m udp --dport 80 -j X"),
        ("-p tcp --dport 80 -j X", "-p tcp -m tcp --sport 80 -j X"),
        ("-m mark --mark 0x2000/0x2000", "-m mark --mark 0x2000"),
        ("-m socket -j X", "-j X"),
        ("-m conntrack --ctstate RELATED", "-m conntrack --ctstate ESTABLISHED,RELATED"),
        ("-i br0 -j X", "-o br0 -j X"),
    ];

    #[test]
    fn spellings_of_one_rule_are_the_same() {
        for (ours, found) in SAME {
            assert!(rule(ours).is_same(&rule(found)), "{ours}\n{found}");
            assert!(rule(found).is_same(&rule(ours)), "{ours}\n{found}");
        }
    }

    #[test]
    fn rules_that_differ_in_anything_are_not() {
        for (ours, found) in DIFFERENT {
            assert!(!rule(ours).is_same(&rule(found)), "{ours}\n{found}");
        }
    }

    #[test]
    fn a_comment_that_reads_like_an_option_is_none() {
        let rule = rule("-m comment --comment -j -j X");
        assert_eq!((rule.comment(), rule.target()), (Some("-j"), Some("X")));
    }
}
