//! The plugin's side.

use cni_types::CniResult;

use super::messages::{self, CmdArgs};
use super::result::read_result;
use super::stream::Stream;
use super::{CONNECTED, RpcError};

/// One call on one connection. [`super::HELLO`] goes first.
#[derive(Debug)]
pub struct Client {
    stream: Stream,
    method: String,
    /// What is sent when the daemon has greeted.
    request: Option<Vec<u8>>,
    /// The error of a response whose empty body is still to come, or none.
    header: Option<Option<String>>,
}

/// How a call goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The rest is still to come.
    More,
    /// Send this.
    Send(Vec<u8>),
    /// The daemon's result, empty for a method without one, or its error.
    Done(Result<CniResult, String>),
}

impl Client {
    /// A call of a method with these arguments.
    pub fn new(method: &str, args: &CmdArgs) -> Self {
        let request = Some(messages::encode_call(method, args));
        Client { stream: Stream::new(), method: method.to_owned(), request, header: None }
    }

    /// Takes what arrived.
    pub fn received(&mut self, bytes: &[u8]) -> Result<Step, RpcError> {
        self.stream.push(bytes)?;
        if self.request.is_some() {
            let Some(line) = self.stream.greeting()? else { return Ok(Step::More) };
            let expected = String::from_utf8_lossy(CONNECTED);
            let status = |line: &str| line.trim_end().split_once(' ').map(|(_, status)| status.to_owned());
            if !line.starts_with("HTTP/") || status(&line) != status(&expected) {
                return Err(RpcError::Greeting(line));
            }
            return Ok(self.request.take().map_or(Step::More, Step::Send));
        }
        if self.header.is_none() {
            let Some(value) = self.stream.value()? else { return Ok(Step::More) };
            let response = messages::Response::read(&value)?;
            if response.method != self.method || response.seq != 0 {
                return Err(RpcError::Answer(response.method));
            }
            self.header = Some(Some(response.error).filter(|error| !error.is_empty()));
        }
        let Some(body) = self.stream.value()? else { return Ok(Step::More) };
        Ok(Step::Done(match self.header.take().flatten() {
            Some(error) => Err(error),
            None => Ok(read_result(&body)?),
        }))
    }
}
