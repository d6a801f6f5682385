//! A hub on the loopback device: what a download asks for, and the faults that networks and servers have.

use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

/// The commit of the only revision, `main`.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// Faults and settings of the server.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// The next answer of the storage ends after this many bytes.
    pub cut_after: Option<usize>,
    /// The storage answers with this status, but for the answer that is cut off.
    pub refuse: Option<u16>,
    /// The storage ignores ranges.
    pub no_ranges: bool,
    /// Requests need this token.
    pub token: Option<String>,
    /// The name of every large content, instead of its SHA-256.
    pub etag: Option<String>,
    /// The commit in the list of files.
    pub commit: Option<String>,
    /// The whole list of files.
    pub list: Option<String>,
    /// Every file is redirected to itself.
    pub circle: bool,
    /// The size of large files is not given.
    pub no_size: bool,
}

/// A request that was made.
#[derive(Clone, Debug)]
pub struct Request {
    /// Method and path.
    pub line: String,
    pub range: Option<String>,
    pub token: Option<String>,
}

#[derive(Default)]
struct Shared {
    files: BTreeMap<String, Vec<u8>>,
    faults: Mutex<Faults>,
    requests: Mutex<Vec<Request>>,
    stop: AtomicBool,
}

/// A server with one repository, `org/tiny`. It answers one request at a time, and stops when it is dropped.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(files: BTreeMap<String, Vec<u8>>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { files, ..Shared::default() });
        let of_thread = shared.clone();
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if of_thread.stop.load(Ordering::SeqCst) {
                    break;
                }
                // A client that goes away is no fault of the server.
                let _ = of_thread.answer(&stream.unwrap(), address.port());
            }
        });
        Self { address, shared, thread: Some(thread) }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn faults(&self) -> MutexGuard<'_, Faults> {
        self.shared.faults.lock().unwrap()
    }

    /// Returns the requests since the last call.
    pub fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut *self.shared.requests.lock().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            // A panic in it has failed the test already.
            let _ = thread.join();
        }
    }
}

/// An answer: status, headers and content.
type Answer<'a> = (u16, Vec<(&'static str, String)>, &'a [u8]);

impl Shared {
    fn answer(&self, stream: &TcpStream, port: u16) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream).lines();
        let first = lines.next().unwrap_or(Ok(String::new()))?;
        let (line, _version) = first.rsplit_once(' ').unwrap_or_default();
        let mut request = Request { line: line.to_owned(), range: None, token: None };
        for header in lines {
            let header = header?;
            match header.split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("range") => request.range = Some(value.to_owned()),
                Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                    request.token = Some(value.to_owned());
                }
                Some(_) => {}
                None => break,
            }
        }
        self.requests.lock().unwrap().push(request.clone());
        let (method, path) = line.split_once(' ').unwrap_or_default();
        let mut faults = self.faults.lock().unwrap();
        let list = self.list(&faults);
        let (status, headers, content) = self.route(&request, path, &faults, &list, port);
        let mut head = vec![
            format!("HTTP/1.1 {status} -"),
            "connection: close".to_owned(),
            format!("content-length: {}", content.len()),
        ];
        head.extend(headers.into_iter().map(|(name, value)| format!("{name}: {value}")));
        let mut stream = stream;
        stream.write_all((head.join("\r\n") + "\r\n\r\n").as_bytes())?;
        if method == "GET" {
            let cut = if path.starts_with("/storage/") { faults.cut_after.take() } else { None };
            stream.write_all(&content[..cut.unwrap_or(content.len()).min(content.len())])?;
        }
        Ok(())
    }

    fn list(&self, faults: &Faults) -> String {
        let files: Vec<_> = self.files.keys().map(|file| serde_json::json!({ "rfilename": file })).collect();
        let commit = faults.commit.as_deref().unwrap_or(COMMIT);
        faults.list.clone().unwrap_or_else(|| serde_json::json!({ "sha": commit, "siblings": files }).to_string())
    }

    fn route<'a>(&'a self, request: &Request, path: &str, faults: &Faults, list: &'a str, port: u16) -> Answer<'a> {
        let refused =
            |status, words: &str| -> Answer<'a> { (status, vec![("x-error-message", words.to_owned())], b"") };
        if let Some(file) = path.strip_prefix("/storage/") {
            return match faults.refuse {
                Some(status) if faults.cut_after.is_none() => refused(status, "not today"),
                _ => stored(&self.files[file], request, faults),
            };
        }
        if faults.token.as_ref().is_some_and(|token| request.token != Some(format!("Bearer {token}"))) {
            return refused(401, "Invalid username or password.");
        }
        if let Some(revision) = path.strip_prefix("/api/models/org/tiny/revision/") {
            return match revision {
                "main" | COMMIT => (200, Vec::new(), list.as_bytes()),
                _ => refused(404, "Invalid rev id"),
            };
        }
        if let Some(file) = path.strip_prefix("/api/resolve-cache/") {
            let position = self.files.keys().position(|name| name == file).unwrap();
            return (200, vec![("etag", format!("\"{position:040x}\""))], &self.files[file]);
        }
        match path.strip_prefix("/org/tiny/resolve/").and_then(|path| path.strip_prefix(COMMIT)?.strip_prefix('/')) {
            None => refused(401, "Repository not found"),
            Some(_) if faults.circle => (307, vec![("location", path.to_owned())], b""),
            Some(file) if file.ends_with("safetensors") || file.ends_with("gguf") => {
                let content = &self.files[file];
                let etag = faults.etag.clone().unwrap_or_else(|| format!("{:x}", Sha256::digest(content)));
                // Another host than that of the address, as with the real storage.
                let location = format!("http://localhost:{port}/storage/{file}");
                let mut headers = vec![("location", location), ("x-linked-etag", format!("\"{etag}\""))];
                if !faults.no_size {
                    headers.push(("x-linked-size", content.len().to_string()));
                }
                (302, headers, b"")
            }
            Some(file) => (307, vec![("location", format!("/api/resolve-cache/{file}"))], b""),
        }
    }
}

fn stored<'a>(content: &'a [u8], request: &Request, faults: &Faults) -> Answer<'a> {
    let range = request.range.as_deref().filter(|_| !faults.no_ranges);
    let Some(start) = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()) else {
        return (200, Vec::new(), content);
    };
    let last = content.len() - 1;
    match content.get(start..) {
        Some(rest) if !rest.is_empty() => {
            (206, vec![("content-range", format!("bytes {start}-{last}/{}", content.len()))], rest)
        }
        _ => (416, Vec::new(), b""),
    }
}
