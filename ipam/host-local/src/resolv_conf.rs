//! The settings of a file in the form of resolv.conf(5).

use std::path::Path;

use cni_types::Dns;

use crate::error::Error;

/// Longer than any that a resolver reads.
const MAX_LEN: u64 = 1 << 20;

/// Reads the file that `ipam.resolvConf` names.
pub(crate) fn read(path: &Path) -> Result<Dns, Error> {
    let text = cni_host::read_regular(path, MAX_LEN).map_err(Error::io("read ipam.resolvConf", path))?;
    Ok(parse(&String::from_utf8_lossy(&text)))
}

/// Takes `nameserver`, `domain` (the last one wins), `search` and `options` (all lines together, as the reference has it); other lines say nothing here.
pub(crate) fn parse(text: &str) -> Dns {
    let mut dns = Dns::default();
    for line in text.lines().map(str::trim) {
        if line.starts_with(['#', ';']) {
            continue;
        }
        let mut words = line.split_whitespace();
        let Some(key) = words.next() else { continue };
        let mut words = words.map(str::to_owned).peekable();
        if words.peek().is_none() {
            continue;
        }
        match key {
            "nameserver" => dns.nameservers.extend(words.next()),
            "domain" => dns.domain = words.next(),
            "search" => dns.search.extend(words),
            "options" => dns.options.extend(words),
            _ => {}
        }
    }
    dns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_collected_and_everything_else_is_skipped() {
        let dns = parse(
            "# by hand\n; also a comment\n\nnameserver 192.0.2.3 extra\n  nameserver 2001:db8::53\nnameserver\n\
             domain one.example\ndomain two.example\nsearch a.example b.example\nsearch c.example\n\
             options ndots:5\toptions2\nsortlist 10.0.0.0\n",
        );
        assert_eq!(dns.nameservers, ["192.0.2.3", "2001:db8::53"]);
        assert_eq!(dns.domain.as_deref(), Some("two.example"));
        assert_eq!(dns.search, ["a.example", "b.example", "c.example"]);
        assert_eq!(dns.options, ["ndots:5", "options2"]);
    }

    #[test]
    fn a_missing_file_is_an_error_with_its_path() {
        let error = read(Path::new("/nonexistent/resolv.conf")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot read ipam.resolvConf /nonexistent/resolv.conf: No such file or directory (os error 2)"
        );
    }
}
