//! Asking a service on this machine whether it is alive, for the health check of its container: images have no shell and no curl.

use std::{
    io::{Error, ErrorKind, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

/// How long connecting and answering may take each.
const PATIENCE: Duration = Duration::from_secs(3);

/// Sends one GET request to whoever listens on this address (on the loopback, where it listens everywhere). An error is any answer but
/// 200, or none in time.
pub fn ask(mut address: SocketAddr, path: &str) -> Result<(), Error> {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut start = [0; 12];
    stream.read_exact(&mut start)?;
    match &start {
        b"HTTP/1.1 200" => Ok(()),
        _ => Err(Error::new(ErrorKind::InvalidData, format!("{path} answers {}", String::from_utf8_lossy(&start)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn server(answer: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let n = stream.read(&mut request).unwrap();
            assert!(request[..n].starts_with(b"GET /healthz HTTP/1.1\r\n"));
            stream.write_all(answer).unwrap();
        });
        address
    }

    #[test]
    fn only_200_is_alive() {
        ask(server(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"), "/healthz").unwrap();
        let error = ask(server(b"HTTP/1.1 503 Service Unavailable\r\n\r\n"), "/healthz").unwrap_err();
        assert_eq!(error.to_string(), "/healthz answers HTTP/1.1 503");
        ask(server(b""), "/healthz").unwrap_err();
    }

    #[test]
    fn who_listens_everywhere_is_asked_on_the_loopback() {
        let port = server(b"HTTP/1.1 200 OK\r\n\r\n").port();
        ask(SocketAddr::from(([0, 0, 0, 0], port)), "/healthz").unwrap();
    }
}
