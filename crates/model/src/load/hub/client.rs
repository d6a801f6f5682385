//! Requests to the hub: which files a revision has, and the bytes of one, going on where an earlier try broke off.

use super::super::hub_error::HubErrorKind;
use super::cache::{at, is_commit};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write as _};
use std::path::Path;
use std::thread;
use std::time::Duration;
use ureq::config::RedirectAuthHeaders;
use ureq::http::{HeaderMap, Response};
use ureq::typestate::WithoutBody;
use ureq::{Agent, Body, RequestBuilder};

/// The longest time to wait for a connection, for an answer, or for the next bytes.
const PATIENCE: Duration = Duration::from_secs(30);

/// The waits before each further try to download a file.
const WAITS: [Duration; 4] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// The largest answer that lists files, in bytes; the list of ten thousand files has about one megabyte.
const MAX_LIST: u64 = 64 << 20;

const MAX_REDIRECTS: u32 = 10;

/// The largest number of characters of the hub's own words in a message.
const MAX_WORDS: usize = 200;

/// A connection to a hub, for one repository.
pub(super) struct Client {
    agent: Agent,
    endpoint: String,
    token: Option<String>,
}

/// The files of a revision.
#[derive(Debug)]
pub(super) struct Listing {
    /// The commit that the revision is now.
    pub(super) commit: String,
    /// The names of all files.
    pub(super) files: BTreeSet<String>,
}

/// The address, name and size of a file.
#[derive(Debug)]
pub(super) struct Source {
    url: String,
    /// The name of the content: for large files its SHA-256.
    pub(super) etag: String,
    /// The size in bytes.
    pub(super) size: u64,
}

impl Client {
    /// An empty token is none.
    pub(super) fn new(endpoint: &str, token: Option<&str>) -> Result<Self, HubErrorKind> {
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        if !endpoint.starts_with("https://") && !endpoint.starts_with("http://") {
            return Err(HubErrorKind::Invalid {
                what: "endpoint",
                found: endpoint,
                expected: "an address that begins with https:// or http://",
            });
        }
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(MAX_REDIRECTS)
            // The hub redirects to its storage, which must not see the token.
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .user_agent(concat!("dynlayer/", env!("CARGO_PKG_VERSION")))
            // Compressed answers would hide the size.
            .accept_encoding("identity")
            .timeout_resolve(Some(PATIENCE))
            .timeout_connect(Some(PATIENCE))
            .timeout_send_request(Some(PATIENCE))
            .timeout_recv_response(Some(PATIENCE))
            .timeout_per_read(Some(PATIENCE))
            .build()
            .new_agent();
        let token = token.map(str::trim).filter(|token| !token.is_empty()).map(str::to_owned);
        Ok(Self { agent, endpoint, token })
    }

    /// Returns what a revision is and has.
    pub(super) fn list(&self, name: &str, revision: &str) -> Result<Listing, HubErrorKind> {
        #[derive(Deserialize)]
        struct Answer {
            sha: String,
            siblings: Vec<Sibling>,
        }
        #[derive(Deserialize)]
        struct Sibling {
            rfilename: String,
        }
        let url = format!("{}/api/models/{name}/revision/{}", self.endpoint, encode(revision, false));
        let response = self.send(self.agent.get(url))?;
        if !response.status().is_success() {
            return Err(refusal(&response));
        }
        let body = response.into_body().into_with_config().limit(MAX_LIST).read_to_vec();
        let answer: Answer =
            serde_json::from_slice(&body.map_err(HubErrorKind::network)?).map_err(|error| HubErrorKind::Answer {
                what: "list of files",
                found: format!("invalid ({error})"),
                expected: "JSON with `sha` and `siblings`",
            })?;
        if !is_commit(&answer.sha) {
            return Err(unexpected("commit", &answer.sha, "hexadecimal digits"));
        }
        let files = answer.siblings.into_iter().map(|sibling| sibling.rfilename).collect();
        Ok(Listing { commit: answer.sha, files })
    }

    /// Asks where a file of a commit is, what it is called in the cache, and how large it is.
    pub(super) fn locate(&self, name: &str, commit: &str, file: &str) -> Result<Source, HubErrorKind> {
        let mut url = format!("{}/{name}/resolve/{commit}/{}", self.endpoint, encode(file, true));
        for _ in 0..MAX_REDIRECTS {
            let response = self.send(self.agent.head(&url).config().max_redirects(0).build())?;
            let (status, headers) = (response.status(), response.headers());
            // The redirect to the storage has the headers of interest; the hub's redirects within itself do not.
            let location = header(headers, "location").filter(|_| status.is_redirection());
            if let Some(path) = location.filter(|place| place.starts_with('/') && !place.starts_with("//")) {
                url = format!("{}{path}", self.origin());
                continue;
            }
            if !status.is_success() && location.is_none() {
                return Err(refusal(&response));
            }
            let etag = header(headers, "x-linked-etag").or_else(|| header(headers, "etag")).unwrap_or("");
            let etag = etag.trim_start_matches("W/").trim_matches('"');
            if !is_etag(etag) {
                return Err(unexpected("etag", etag, "letters, digits and dashes"));
            }
            let own = header(headers, "content-length").filter(|_| status.is_success());
            let size = header(headers, "x-linked-size").or(own).unwrap_or("");
            let size = size.parse().map_err(|_| unexpected("size", size, "a number of bytes"))?;
            return Ok(Source { url, etag: etag.to_owned(), size });
        }
        Err(unexpected("redirect", "one of many", "at most ten"))
    }

    /// Downloads what a partial file lacks, and checks the whole. `progress` gets the bytes of the file so far.
    pub(super) fn download(
        &self,
        source: &Source,
        partial: &Path,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), HubErrorKind> {
        let options = File::options().read(true).write(true).create(true).truncate(false).open(partial);
        let mut file = options.map_err(at(partial))?;
        let mut waits = WAITS.iter();
        loop {
            match self.append(source, &mut file, partial, progress) {
                Ok(()) => return check(source, &mut file, partial),
                Err(error) if error.is_transient() => match waits.next() {
                    Some(wait) => thread::sleep(*wait),
                    None => return Err(error),
                },
                Err(error) => return Err(error),
            }
        }
    }

    fn append(
        &self,
        source: &Source,
        file: &mut File,
        path: &Path,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), HubErrorKind> {
        let mut done = file.seek(SeekFrom::End(0)).map_err(at(path))?;
        if done > source.size {
            done = clear(file, path)?;
        }
        progress(done);
        if done == source.size {
            return Ok(());
        }
        let mut request = self.agent.get(&source.url);
        if done > 0 {
            request = request.header("range", format!("bytes={done}-"));
        }
        let response = self.send(request)?;
        match response.status().as_u16() {
            206 => {
                let range = header(response.headers(), "content-range").unwrap_or("");
                if !range.starts_with(&format!("bytes {done}-")) {
                    return Err(unexpected("content-range", range, "the range that was asked for"));
                }
            }
            // The server does not know ranges, or the whole file was asked for.
            200 => done = clear(file, path)?,
            416 => {
                clear(file, path)?;
                return Err(refusal(&response));
            }
            _ => return Err(refusal(&response)),
        }
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; 256 << 10];
        while done < source.size {
            let read = body.read(&mut buffer).map_err(HubErrorKind::network)?;
            if read == 0 {
                let cut_off = format!("the connection was closed after {done} of {} bytes", source.size);
                return Err(HubErrorKind::network(cut_off));
            }
            file.write_all(&buffer[..read]).map_err(at(path))?;
            done += read as u64;
            progress(done);
        }
        Ok(())
    }

    fn send(&self, mut request: RequestBuilder<WithoutBody>) -> Result<Response<Body>, HubErrorKind> {
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        request.call().map_err(HubErrorKind::network)
    }

    /// The endpoint without a path, from where redirects that begin with a slash count.
    fn origin(&self) -> &str {
        let host = self.endpoint.find("://").map_or(0, |scheme| scheme + 3);
        let end = self.endpoint[host..].find('/').map_or(self.endpoint.len(), |path| host + path);
        &self.endpoint[..end]
    }
}

/// Checks a complete file, and empties it if it is wrong, as going on with it would not mend it.
fn check(source: &Source, file: &mut File, path: &Path) -> Result<(), HubErrorKind> {
    let size = file.seek(SeekFrom::End(0)).map_err(at(path))?;
    if size != source.size {
        clear(file, path)?;
        let (found, expected) = (size.to_string(), source.size.to_string());
        return Err(HubErrorKind::Corrupt { what: "size", found, expected });
    }
    // The names of small files are digests of another kind, which include a header of git.
    if source.etag.len() == 64 && source.etag.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        file.rewind().map_err(at(path))?;
        let mut hash = Sha256::new();
        io::copy(file, &mut hash).map_err(at(path))?;
        let found = format!("{:x}", hash.finalize());
        if !found.eq_ignore_ascii_case(&source.etag) {
            clear(file, path)?;
            return Err(HubErrorKind::Corrupt { what: "SHA-256", found, expected: source.etag.clone() });
        }
    }
    file.sync_all().map_err(at(path))
}

/// Empties a file, and returns its new length.
fn clear(file: &mut File, path: &Path) -> Result<u64, HubErrorKind> {
    file.set_len(0).and_then(|()| file.rewind()).map_err(at(path))?;
    Ok(0)
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

fn refusal(response: &Response<Body>) -> HubErrorKind {
    let words = header(response.headers(), "x-error-message").unwrap_or("");
    HubErrorKind::Status { status: response.status().as_u16(), message: words.chars().take(MAX_WORDS).collect() }
}

fn unexpected(what: &'static str, found: &str, expected: &'static str) -> HubErrorKind {
    let found = if found.is_empty() {
        "missing".to_owned()
    } else {
        format!("{:?}", found.chars().take(MAX_WORDS).collect::<String>())
    };
    HubErrorKind::Answer { what, found, expected }
}

/// Returns `true` if a text can be the name of a content, and so of a file in the cache.
fn is_etag(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Writes a text as a part of a URL.
fn encode(text: &str, keep_slashes: bool) -> String {
    let mut url = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || (keep_slashes && byte == b'/') {
            url.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(url, "%{byte:02X}");
        }
    }
    url
}
