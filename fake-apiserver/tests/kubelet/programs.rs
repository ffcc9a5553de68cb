//! Small programs that pods run: this binary again, so that tests need nothing installed but a shell.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

/// Runs one of the programs if the first argument names it, and then does not return.
pub(crate) fn maybe_run() {
    let arguments: Vec<String> = std::env::args().collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        [_, "answer", port, text] => answer(port, text),
        [_, "fetch", address] => fetch(address),
        _ => return,
    };
    if let Err(error) = done {
        println!("{error}");
        std::process::exit(1);
    }
    std::process::exit(0);
}

/// Answers every HTTP request with a text; with status 503 while the file `/tmp/broken` exists.
fn answer(port: &str, text: &str) -> std::io::Result<()> {
    // A port on all addresses, or one address and port.
    let address = if port.contains(':') { port.to_owned() } else { format!("0.0.0.0:{port}") };
    let listener = TcpListener::bind(address)?;
    println!("listening");
    for stream in listener.incoming() {
        let mut stream = stream?;
        let mut request = [0; 1024];
        let _ = stream.read(&mut request)?;
        let status =
            if std::path::Path::new("/tmp/broken").exists() { "503 Service Unavailable" } else { "200 OK" };
        let length = text.len();
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
        stream.write_all(format!("{head}{text}").as_bytes())?;
    }
    Ok(())
}

/// Prints the body of the answer of `name:port`.
fn fetch(address: &str) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    println!("{}", answer.split("\r\n\r\n").nth(1).unwrap_or_default());
    Ok(())
}
