//! A server and a client of HTTP, as small as RFC 9112 lets them be: for showing that a published port carries what
//! ports are published for, and whom the server sees.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use crate::service::{Door, Service};

/// A running HTTP server; stops when dropped.
#[derive(Debug)]
pub struct HttpServer {
    _service: Service,
}

impl HttpServer {
    /// Starts to listen, in the calling thread's namespace. Ready when it returns.
    pub(crate) fn start(addr: SocketAddr, name: &str) -> Self {
        let listener =
            TcpListener::bind(addr).unwrap_or_else(|error| panic!("cannot listen on tcp {addr}: {error}"));
        HttpServer { _service: Service::start(vec![Box::new(Page { listener, name: name.to_owned() })]) }
    }
}

struct Page {
    listener: TcpListener,
    name: String,
}

impl Door for Page {
    fn fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    fn answer(&self) -> io::Result<()> {
        let (stream, peer) = self.listener.accept()?;
        stream.set_read_timeout(Some(crate::PATIENCE))?;
        let mut lines = BufReader::new(&stream).lines();
        let request = lines.next().transpose()?.unwrap_or_default();
        // Closing with a part of the request unread would reset the connection, and the answer with it.
        for line in lines {
            if line?.is_empty() {
                break;
            }
        }
        let is_get = request.starts_with("GET ");
        let status = if is_get { "200 OK" } else { "405 Method Not Allowed" };
        let page = if is_get { format!("{} answers {}\n", self.name, peer.ip()) } else { String::new() };
        let length = page.len();
        write!(&stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{page}")
    }
}

/// Fetches a page from the calling thread's namespace: the status line and the page.
pub(crate) fn get(to: SocketAddr, path: &str) -> io::Result<(String, String)> {
    let mut stream = TcpStream::connect_timeout(&to, crate::PATIENCE)?;
    stream.set_read_timeout(Some(crate::PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let parts = answer.split_once("\r\n\r\n").and_then(|(head, page)| Some((head.lines().next()?, page)));
    let (status, page) = parts.ok_or_else(|| io::Error::other(format!("{answer:?} is no answer in HTTP")))?;
    Ok((status.to_owned(), page.to_owned()))
}
