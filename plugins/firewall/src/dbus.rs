//! As much of D-Bus as it takes to call methods whose arguments are strings: greeting a bus, and one call at a time.
//! Libraries for it bring an async runtime and every type that there is, a fifth of the plugin, for three calls.
//!
//! Chapters are those of the D-Bus specification, <https://dbus.freedesktop.org/doc/dbus-specification.html>.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr};

/// "Header Fields"
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// "Message Format"
const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u8 = 2;
const ERROR: u8 = 3;
const PROTOCOL: u8 = 1;
const HEADER: usize = 16;
/// No message is longer than 128 MiB.
const LONGEST: usize = 1 << 27;

/// A connection that a bus has taken.
pub(crate) struct Connection {
    stream: UnixStream,
    serial: Cell<u32>,
    /// For one answer.
    patience: Duration,
}

/// Whose method is called.
#[derive(Clone, Copy)]
pub(crate) struct Object<'a> {
    pub(crate) destination: &'a str,
    pub(crate) path: &'a str,
    pub(crate) interface: &'a str,
}

/// The bus itself.
pub(crate) const BUS: Object<'static> = Object {
    destination: "org.freedesktop.DBus",
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
};

/// What a method returned.
pub(crate) struct Reply {
    kind: u8,
    is_little: bool,
    to: u32,
    error: String,
    signature: String,
    body: Vec<u8>,
}

impl Connection {
    /// Connects to the first of these addresses ("Server Addresses", separated by semicolons) that can be connected to. No step of it
    /// takes longer than `greeting`, and no call afterwards longer than `patience`.
    pub(crate) fn open(addresses: &str, greeting: Duration, patience: Duration) -> io::Result<Self> {
        let mut outcome = Err(invalid(format!("there is no socket in its address {addresses:?}")));
        for address in addresses.split(';').filter_map(place) {
            outcome = address.and_then(|address| connect(&address, greeting));
            if outcome.is_ok() {
                break;
            }
        }
        let stream = outcome.map_err(|error| late(error, greeting))?;
        stream.set_read_timeout(Some(greeting))?;
        authenticate(&stream).map_err(|error| late(error, greeting))?;
        let connection = Self { stream, serial: Cell::new(0), patience: greeting };
        connection.call(BUS, "Hello", &[])?;
        Ok(Self { patience, ..connection })
    }

    /// Calls a method and waits for what it returns. An error of the other side has its name and its text.
    pub(crate) fn call(&self, object: Object<'_>, method: &str, arguments: &[&str]) -> io::Result<Reply> {
        let serial = self.serial.get() + 1;
        self.serial.set(serial);
        self.stream.set_write_timeout(Some(self.patience))?;
        (&self.stream)
            .write_all(&call(serial, object, method, arguments))
            .map_err(|error| late(error, self.patience))?;
        let end = Instant::now() + self.patience;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            // Zero would be for ever.
            self.stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            let reply = Reply::read(&self.stream).map_err(|error| late(error, self.patience))?;
            // Signals to this connection come too.
            match reply.kind {
                METHOD_RETURN if reply.to == serial => return Ok(reply),
                ERROR if reply.to == serial => return Err(io::Error::other(reply.refusal())),
                _ => {}
            }
        }
    }
}

/// What a time that is over is to the kernel is no reason to a reader.
fn late(error: io::Error, patience: Duration) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => {
            io::Error::other(format!("it has not answered for {} seconds", patience.as_secs()))
        }
        _ => error,
    }
}

/// Waits for room among those whom the bus has not taken yet, of whom a bus that hangs has ever more: no longer than the
/// timeout for sending (net/unix/af_unix.c, unix_stream_connect), which has to be there before.
fn connect(address: &UnixAddr, patience: Duration) -> io::Result<UnixStream> {
    let socket = socket::socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let stream = UnixStream::from(socket);
    stream.set_write_timeout(Some(patience))?;
    socket::connect(stream.as_raw_fd(), address)?;
    Ok(stream)
}

/// The Unix socket of one address; `None` for other transports, which no system bus has.
fn place(address: &str) -> Option<io::Result<UnixAddr>> {
    let keys = address.strip_prefix("unix:")?;
    keys.split(',').filter_map(|pair| pair.split_once('=')).find_map(|(key, value)| match key {
        "path" => Some(unescape(value).and_then(|path| Ok(UnixAddr::new(&*path)?))),
        "abstract" => Some(unescape(value).and_then(|name| Ok(UnixAddr::new_abstract(&name)?))),
        _ => None,
    })
}

/// Bytes may be written as `%` and two hexadecimal digits.
fn unescape(value: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut parts = value.split('%');
    bytes.extend(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        let escaped = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(escaped.ok_or_else(|| invalid(format!("{value:?} in its address is not escaped right")))?);
        bytes.extend(&part.as_bytes()[2..]);
    }
    Ok(bytes)
}

/// "Authentication Protocol": the bus is to take the identity that the kernel tells it, so none is sent, which stays true in a
/// user namespace too.
fn authenticate(mut stream: &UnixStream) -> io::Result<()> {
    stream.write_all(b"\0AUTH EXTERNAL\r\nDATA\r\n")?;
    loop {
        let line = line(stream)?;
        match line.split(' ').next() {
            Some("DATA") => {}
            Some("OK") => return stream.write_all(b"BEGIN\r\n"),
            _ => return Err(invalid(format!("it answers {line:?} to an introduction"))),
        }
    }
}

/// One line, read byte by byte, since what follows the last is no text.
fn line(mut stream: &UnixStream) -> io::Result<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        line.extend(byte);
        if line.len() > 1024 {
            return Err(invalid("its introduction does not end".to_owned()));
        }
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

/// A method call as bytes, little end first.
fn call(serial: u32, object: Object<'_>, method: &str, arguments: &[&str]) -> Vec<u8> {
    let mut body = Marshal::default();
    arguments.iter().for_each(|argument| body.string(argument));
    // The fields begin at a multiple of eight too, so their alignment is the message's.
    let mut fields = Marshal::default();
    fields.field(PATH, "o", object.path);
    fields.field(INTERFACE, "s", object.interface);
    fields.field(MEMBER, "s", method);
    fields.field(DESTINATION, "s", object.destination);
    if !arguments.is_empty() {
        fields.field(SIGNATURE, "g", &"s".repeat(arguments.len()));
    }
    let mut message = Marshal(vec![b'l', METHOD_CALL, 0, PROTOCOL]);
    message.length(body.0.len());
    message.0.extend(serial.to_le_bytes());
    message.length(fields.0.len());
    message.0.extend(fields.0);
    message.align(8);
    message.0.extend(body.0);
    message.0
}

/// "Marshaling (Wire Format)"
#[derive(Default)]
struct Marshal(Vec<u8>);

impl Marshal {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn length(&mut self, length: usize) {
        self.0.extend(u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    }

    fn string(&mut self, text: &str) {
        self.align(4);
        self.length(text.len());
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    fn signature(&mut self, text: &str) {
        self.0.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    /// A header field: its code, and a variant of a string or a signature.
    fn field(&mut self, code: u8, kind: &str, value: &str) {
        self.align(8);
        self.0.push(code);
        self.signature(kind);
        if kind == "g" { self.signature(value) } else { self.string(value) }
    }
}

impl Reply {
    /// The truth that was returned.
    pub(crate) fn truth(&self) -> io::Result<bool> {
        let number = Unmarshal { bytes: &self.body, at: 0, is_little: self.is_little }.number();
        match (self.signature.as_str(), number) {
            ("b", Some(number)) => Ok(number != 0),
            _ => Err(invalid(format!("an answer of type {:?} in place of a boolean", self.signature))),
        }
    }

    /// An error's name, and its text where it has one.
    fn refusal(&self) -> String {
        let mut body = Unmarshal { bytes: &self.body, at: 0, is_little: self.is_little };
        match body.string().filter(|_| self.signature.starts_with('s')) {
            Some(text) => format!("{}: {text}", self.error),
            None => self.error.clone(),
        }
    }

    /// Reads one message of any kind.
    fn read(mut stream: impl Read) -> io::Result<Self> {
        let mut header = [0; HEADER];
        stream.read_exact(&mut header)?;
        let is_little = header[0] == b'l';
        let length = |at| Unmarshal { bytes: &header, at, is_little }.number().unwrap_or(0) as usize;
        let (body, fields) = (length(4), length(12));
        if body.max(fields) > LONGEST {
            return Err(invalid(format!("an answer of {} bytes", body.max(fields))));
        }
        let rest = fields.next_multiple_of(8) + body;
        let mut bytes = vec![0; rest];
        stream.read_exact(&mut bytes)?;
        let mut reply = Reply {
            kind: header[1],
            is_little,
            to: 0,
            error: String::new(),
            signature: String::new(),
            body: bytes.split_off(rest - body),
        };
        bytes.truncate(fields);
        // A field of a type that is not read here is a newer one, and ends the walk.
        let mut fields = Unmarshal { bytes: &bytes, at: 0, is_little };
        while reply.field(&mut fields).is_some() {}
        Ok(reply)
    }

    fn field(&mut self, fields: &mut Unmarshal<'_>) -> Option<()> {
        fields.align(8);
        let code = fields.byte()?;
        match fields.signature()?.as_str() {
            "u" => {
                let number = fields.number()?;
                if code == REPLY_SERIAL {
                    self.to = number;
                }
            }
            "g" => {
                let signature = fields.signature()?;
                if code == SIGNATURE {
                    self.signature = signature;
                }
            }
            "s" | "o" => {
                let text = fields.string()?;
                if code == ERROR_NAME {
                    self.error = text;
                }
            }
            _ => return None,
        }
        Some(())
    }
}

/// Reads what [`Marshal`] writes, in either order of bytes; `None` when it is cut short.
struct Unmarshal<'a> {
    bytes: &'a [u8],
    at: usize,
    is_little: bool,
}

impl Unmarshal<'_> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn number(&mut self) -> Option<u32> {
        self.align(4);
        let bytes = *self.bytes.get(self.at..)?.first_chunk()?;
        self.at += 4;
        Some(if self.is_little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }

    fn string(&mut self) -> Option<String> {
        let length = self.number()?;
        self.text(length as usize)
    }

    fn signature(&mut self) -> Option<String> {
        let length = self.byte()?;
        self.text(length.into())
    }

    /// Text and the zero behind it.
    fn text(&mut self, length: usize) -> Option<String> {
        let bytes = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length + 1;
        Some(String::from_utf8_lossy(bytes).into_owned())
    }
}

fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
#[path = "dbus_tests.rs"]
mod tests;
