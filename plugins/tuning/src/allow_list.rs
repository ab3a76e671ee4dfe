//! The host's say in which settings containers may change: /etc/cni/tuning/allowlist.conf.
//!
//! As the reference reads it: a regular expression a line, white space around it removed, and a key is allowed when one of
//! them matches any part of it, as the key is written in the configuration. Without the file every key is allowed.

use std::fs;
use std::io::ErrorKind;

use cni_plugin::{Error, Result};
use cni_types::ErrorCode;
use regex_lite::Regex;

use crate::sysctl::Sysctl;

const FILE: &str = "/etc/cni/tuning/allowlist.conf";

/// Refuses settings that the host does not allow. Returns what its owner should know of those that it does.
pub(crate) fn check(sysctls: &[Sysctl]) -> Result<Vec<String>> {
    if sysctls.is_empty() {
        return Ok(Vec::new());
    }
    let text = match fs::read_to_string(FILE) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::new(ErrorCode::IO_FAILURE, format!("cannot read {FILE}: {error}"))),
    };
    let remarks: Result<Vec<_>> = sysctls.iter().map(|sysctl| expect_allowed(&sysctl.key, &text)).collect();
    Ok(remarks?.into_iter().flatten().collect())
}

fn expect_allowed(key: &str, text: &str) -> Result<Option<String>> {
    let entries = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    for (line, pattern) in entries.filter(|(_, pattern)| !pattern.is_empty()) {
        if !compile(pattern, line)?.is_match(key) {
            continue;
        }
        let is_whole = compile(&format!("^(?:{pattern})$"), line)?.is_match(key);
        return Ok((!is_whole).then(|| {
            format!("sysctl {key} is allowed for a part of it by {pattern}, which lacks ^ or $ ({FILE}, line {line})")
        }));
    }
    Err(Error::config(format!("sysctl {key}: {FILE} does not allow it")))
}

fn compile(pattern: &str, line: usize) -> Result<Regex> {
    Regex::new(pattern).map_err(|error| {
        Error::config(format!("cannot read the pattern {pattern:?} of {FILE}, line {line}: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_allowed(key: &str, text: &str) -> bool {
        expect_allowed(key, text).is_ok()
    }

    #[test]
    fn a_pattern_matches_any_part_of_a_key_unless_it_says_otherwise() {
        let key = "net.ipv4.conf.IFNAME.arp_filter";
        for text in [
            "net.ipv4.conf.IFNAME.arp_filter",
            "arp_",
            "\n  ^net\\.ipv4\\.conf\\.[A-Z]+\\.arp_(filter|ignore)$\t\n",
            "kernel\nnet",
            "(?i)ifname",
            "conf.[[:upper:]]{6}.",
        ] {
            assert!(is_allowed(key, text), "{text}");
        }
        for text in ["", "\n \n", "^ipv4", "arp$", "net/ipv4", "# all of them: .*z"] {
            assert!(!is_allowed(key, text), "{text}");
        }
    }

    #[test]
    fn a_pattern_that_is_none_is_an_error_only_when_it_is_asked() {
        let error = expect_allowed("net.b", "net.a\n(net\n").unwrap_err().to_string();
        assert!(error.contains("\"(net\" of /etc/cni/tuning/allowlist.conf, line 2"), "{error}");
        assert!(is_allowed("net.a", "net.a\n(net\n"));
    }

    #[test]
    fn a_pattern_that_allows_more_than_it_seems_to_is_remarked_on() {
        let remark = |text: &str| expect_allowed("net.ipv4.ip_forward", text).unwrap();
        assert_eq!(
            remark("\nipv4").unwrap(),
            "sysctl net.ipv4.ip_forward is allowed for a part of it by ipv4, which lacks ^ or $ \
             (/etc/cni/tuning/allowlist.conf, line 2)"
        );
        for text in ["^net\\.ipv4\\.ip_forward$", "net.ipv4.ip_forward", "^a|net.*"] {
            assert_eq!(remark(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_refused_is_named() {
        let error = expect_allowed("net.b", "net.a").unwrap_err();
        assert_eq!(error.to_string(), "sysctl net.b: /etc/cni/tuning/allowlist.conf does not allow it");
        assert_eq!(error.code().0, 7);
    }
}
