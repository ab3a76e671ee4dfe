//! The daemon's flags, in the forms of Go's package flag: `-x value`, `-x=value`, `--x`, and durations such as `1m30s`.

use std::time::Duration;

use crate::config::SOCKET;

const USAGE: &str = "\
Usage of dhcp daemon:
  -broadcast
    \task servers to answer by broadcast
  -hostprefix string
    \twhere the host's root is, which is put before the socket, the leases and CNI_NETNS
  -pidfile string
    \tan absolute path, which is not prefixed, for the daemon's process ID
  -resendmax duration
    \tthe longest pause between two messages to a server that does not answer (default 1m2s)
  -resendtimeout duration
    \thow long is tried to get a first lease (default 3m28s)
  -socketpath string
    \twhere plugins connect (default /run/cni/dhcp.sock)
  -timeout duration
    \thow long one offer or one stored lease is asked for (default 10s)";

/// What the command line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flags {
    pub(super) pidfile: Option<String>,
    pub(super) hostprefix: String,
    pub(super) socketpath: String,
    pub(super) broadcast: bool,
    pub(super) timeout: Duration,
    pub(super) resend_max: Duration,
    pub(super) resend_timeout: Duration,
}

/// Why there is nothing to run.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Only this was wanted.
    Help(&'static str),
    /// What is wrong, and how it is right.
    Wrong(String),
}

impl Flags {
    /// Reads them up to the first argument that is none; what follows is not looked at.
    pub(super) fn parse(arguments: &[String]) -> Result<Self, Refused> {
        let mut flags = Flags {
            pidfile: None,
            hostprefix: String::new(),
            socketpath: SOCKET.to_owned(),
            broadcast: false,
            timeout: Duration::from_secs(10),
            resend_max: Duration::from_secs(62),
            resend_timeout: Duration::from_secs(208),
        };
        let mut arguments = arguments.iter().map(String::as_str);
        while let Some(argument) = arguments.next() {
            let Some(flag) = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')) else {
                break;
            };
            if argument == "--" || argument == "-" {
                break;
            }
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (flag, None),
            };
            if matches!(name, "h" | "help") {
                return Err(Refused::Help(USAGE));
            }
            if name == "broadcast" {
                flags.broadcast = truth(value.unwrap_or("true")).ok_or_else(|| invalid(argument))?;
                continue;
            }
            flags.set(name, argument, || value.or_else(|| arguments.next()))?;
        }
        if let Some(pidfile) = flags.pidfile.as_deref().filter(|path| !path.starts_with('/')) {
            return Err(Refused::Wrong(format!(
                "cannot write pidfile {pidfile:?}: the path is not absolute"
            )));
        }
        Ok(flags)
    }

    fn set<'a>(
        &mut self,
        name: &str,
        argument: &str,
        value: impl FnOnce() -> Option<&'a str>,
    ) -> Result<(), Refused> {
        let known = ["pidfile", "hostprefix", "socketpath", "timeout", "resendmax", "resendtimeout"];
        if !known.contains(&name) {
            return Err(wrong(format!("flag provided but not defined: -{name}")));
        }
        let value = value().ok_or_else(|| wrong(format!("flag needs an argument: -{name}")))?;
        let duration = || duration(value).ok_or_else(|| invalid(&format!("{argument} {value}")));
        match name {
            "pidfile" => self.pidfile = Some(value.to_owned()).filter(|path| !path.is_empty()),
            "hostprefix" => value.clone_into(&mut self.hostprefix),
            "socketpath" if value.is_empty() => {}
            "socketpath" => value.clone_into(&mut self.socketpath),
            "timeout" => self.timeout = duration()?,
            "resendmax" => self.resend_max = duration()?,
            _ => self.resend_timeout = duration()?,
        }
        Ok(())
    }
}

fn wrong(problem: String) -> Refused {
    Refused::Wrong(format!("{problem}\n{USAGE}"))
}

fn invalid(argument: &str) -> Refused {
    wrong(format!("invalid value of flag: {argument}"))
}

/// Go's strconv.ParseBool.
fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Go's time.ParseDuration, but for negative ones, which mean nothing here: numbers, each with a unit, or `0`.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut sum = 0.0;
    while !rest.is_empty() {
        let unit = rest.find(|char: char| !char.is_ascii_digit() && char != '.')?;
        let number: f64 = rest[..unit].parse().ok()?;
        rest = &rest[unit..];
        let end = rest.find(|char: char| char.is_ascii_digit() || char == '.').unwrap_or(rest.len());
        let seconds = match &rest[..end] {
            "ns" => 1e-9,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        sum += number * seconds;
        rest = &rest[end..];
    }
    Duration::try_from_secs_f64(sum).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &str) -> Result<Flags, Refused> {
        Flags::parse(&arguments.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn flags_have_gos_forms() {
        let flags = parse(
            "-pidfile /run/dhcp.pid --hostprefix=/host -socketpath=/x.sock --broadcast -timeout 1m30s -resendmax=1.5s \
             --resendtimeout 500ms rest -nonsense",
        )
        .unwrap();
        let expected = Flags {
            pidfile: Some("/run/dhcp.pid".into()),
            hostprefix: "/host".into(),
            socketpath: "/x.sock".into(),
            broadcast: true,
            timeout: Duration::from_secs(90),
            resend_max: Duration::from_millis(1500),
            resend_timeout: Duration::from_millis(500),
        };
        assert_eq!(flags, expected);
        let default = parse("-socketpath= -broadcast=false -- -nonsense").unwrap();
        assert_eq!((default.socketpath.as_str(), default.broadcast), ("/run/cni/dhcp.sock", false));
        assert_eq!(parse(""), Ok(default));
    }

    #[test]
    fn what_is_wrong_is_told() {
        let cases = [
            ("-nonsense", "flag provided but not defined: -nonsense\nUsage"),
            ("-pidfile", "flag needs an argument: -pidfile\n"),
            ("-timeout 10", "invalid value of flag: -timeout 10\n"),
            ("-broadcast=maybe", "invalid value of flag: -broadcast=maybe\n"),
            ("-pidfile x", "cannot write pidfile \"x\": the path is not absolute"),
        ];
        for (arguments, expected) in cases {
            let Err(Refused::Wrong(text)) = parse(arguments) else { panic!("{arguments}") };
            assert!(text.starts_with(expected), "{text}");
        }
        assert_eq!(parse("-h"), Err(Refused::Help(USAGE)));
    }

    #[test]
    fn durations_are_gos() {
        let ms = |text| duration(text).map(|duration| duration.as_millis());
        for (text, expected) in [("0", 0), ("1h1m1s", 3_661_000), (".5s", 500), ("2m", 120_000), ("+1us", 0)]
        {
            assert_eq!(ms(text), Some(expected), "{text}");
        }
        for text in ["", "5", "s", "1x", "-1s", "1..2s", "1s2", "99999999999999999999h"] {
            assert_eq!(ms(text), None, "{text}");
        }
    }
}
