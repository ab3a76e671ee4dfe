//! A call of the daemon: one connection, one question, one answer.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use cni_dhcp::rpc::{Client, CmdArgs, HELLO, RpcError, Step};
use cni_types::CniResult;

/// Methods that the reference's daemon does not have.
pub(crate) const CHECK: &str = "DHCP.Check";
pub(crate) const GC: &str = "DHCP.GC";

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// Nobody listens.
    #[error("cannot connect to the DHCP daemon at {path}: {source}")]
    Dial { path: String, source: io::Error },
    /// The connection broke, or it takes too long.
    #[error("cannot talk to the DHCP daemon at {path}: {source}")]
    Talk { path: String, source: io::Error },
    /// It is something else that listens there.
    #[error("cannot understand the DHCP daemon at {path}: {source}")]
    Protocol { path: String, source: RpcError },
    /// The daemon's own error.
    #[error("the DHCP daemon at {path} says: {text}")]
    Daemon { path: String, text: String },
}

impl CallError {
    /// Whether no daemon is there.
    pub(crate) fn is_dial(&self) -> bool {
        matches!(self, CallError::Dial { .. })
    }

    /// Whether the daemon does not know the method.
    pub(crate) fn is_unknown_method(&self) -> bool {
        matches!(self, CallError::Daemon { text, .. } if cni_dhcp::rpc::is_unknown_method(text))
    }
}

/// Whether a daemon listens.
pub(crate) fn dial(socket: &Path) -> Result<UnixStream, CallError> {
    let path = socket.display().to_string();
    UnixStream::connect(socket).map_err(|source| CallError::Dial { path, source })
}

/// Calls a method. Without `patience` the answer is waited for as long as the daemon tries.
pub(crate) fn call(
    socket: &Path,
    method: &str,
    args: &CmdArgs,
    patience: Option<Duration>,
) -> Result<CniResult, CallError> {
    let mut stream = dial(socket)?;
    let path = || socket.display().to_string();
    let talk = |source| CallError::Talk { path: path(), source };
    let until = patience.map(|patience| Instant::now() + patience);
    stream.set_write_timeout(patience).map_err(talk)?;
    stream.write_all(HELLO).map_err(talk)?;

    let mut client = Client::new(method, args);
    let mut buffer = [0; 8192];
    loop {
        if let Some(until) = until {
            let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            stream.set_read_timeout(Some(left)).map_err(talk)?;
        }
        let length = match stream.read(&mut buffer) {
            Ok(0) => return Err(talk(io::Error::new(ErrorKind::UnexpectedEof, "it hung up"))),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err(talk(io::Error::new(ErrorKind::TimedOut, "it does not answer")));
            }
            Err(error) => return Err(talk(error)),
        };
        let step = client.received(&buffer[..length]);
        match step.map_err(|source| CallError::Protocol { path: path(), source })? {
            Step::More => {}
            Step::Send(request) => stream.write_all(&request).map_err(talk)?,
            Step::Done(Ok(result)) => return Ok(result),
            Step::Done(Err(text)) => return Err(CallError::Daemon { path: path(), text }),
        }
    }
}
