//! The daemon's side.

use cni_types::CniResult;

use super::messages::{self, CmdArgs, Definitions};
use super::stream::Stream;
use super::{CONNECTED, HELLO, RpcError};

/// A connection of a plugin's.
#[derive(Debug)]
pub struct Server {
    stream: Stream,
    greeted: bool,
    /// A request's header whose arguments are still to come.
    header: Option<messages::Request>,
    defined: Definitions,
}

/// What a plugin wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// [`super::ALLOCATE`], [`super::RELEASE`], or one that came later.
    pub method: String,
    /// Its number on the connection.
    pub seq: u64,
    /// What with.
    pub args: CmdArgs,
}

/// What a daemon answers.
#[derive(Clone, Copy, Debug)]
pub enum Answer<'a> {
    /// Of [`super::ALLOCATE`].
    Result(&'a CniResult),
    /// Of [`super::RELEASE`].
    Empty,
    /// What could not be done. An empty text would be taken for success, so it becomes one that says as much.
    Error(&'a str),
}

impl Server {
    /// A connection on which nothing has arrived yet.
    pub fn new() -> Self {
        Server { stream: Stream::new(), greeted: false, header: None, defined: Definitions::default() }
    }

    /// Takes what arrived, and returns what is to be sent at once: the answer to a greeting. Calls are then
    /// [`Server::next_call`]'s.
    pub fn received(&mut self, bytes: &[u8]) -> Result<Vec<u8>, RpcError> {
        self.stream.push(bytes)?;
        if self.greeted {
            return Ok(Vec::new());
        }
        let Some(line) = self.stream.greeting()? else { return Ok(Vec::new()) };
        // Method and path; the version of HTTP is of no interest.
        let asked = |line: &str| line.split(' ').take(2).map(str::to_owned).collect::<Vec<_>>();
        if asked(&line) != asked(&String::from_utf8_lossy(HELLO)) {
            return Err(RpcError::Greeting(line));
        }
        self.greeted = true;
        Ok(CONNECTED.to_vec())
    }

    /// The next call that is there whole. A plugin may send another before the first is answered.
    pub fn next_call(&mut self) -> Result<Option<Call>, RpcError> {
        if !self.greeted {
            return Ok(None);
        }
        if self.header.is_none() {
            let Some(value) = self.stream.value()? else { return Ok(None) };
            self.header = Some(messages::Request::read(&value)?);
        }
        let Some(body) = self.stream.value()? else { return Ok(None) };
        let args = CmdArgs::read(&body)?;
        Ok(self.header.take().map(|messages::Request { method, seq }| Call { method, seq, args }))
    }

    /// What is to be sent as the answer to a call.
    pub fn answer(&mut self, call: &Call, answer: Answer<'_>) -> Vec<u8> {
        messages::encode_answer(&mut self.defined, &call.method, call.seq, answer)
    }
}

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}
