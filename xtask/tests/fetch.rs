//! `fetch` against a server on this machine: what a good one, a poor one and a broken one make of it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread;

use nca_core::checkpoint::read_tensors;

/// A flow network in PyTorch's stream format.
const STREAM: &[u8] = include_bytes!("golden/spynet_stream.pytorch");
/// The same in PyTorch's zip format.
const ZIP: &[u8] = include_bytes!("golden/spynet_zip.pytorch");
/// A VGG network with a classifier.
const VGG: &[u8] = include_bytes!("golden/vgg_stream.pth");
/// SHA-256 of `STREAM`, by sha256sum.
const STREAM_SHA256: &str = "1562f824d8e5d1dd6f5cc8e71192605966a7e23768112f62b3100584dd473f94";

/// What the server is asked.
#[derive(Clone, Debug, Default)]
struct Request {
    path: String,
    /// First byte asked for.
    range: Option<usize>,
    if_range: Option<String>,
}

/// What the server answers.
struct Reply {
    status: &'static str,
    headers: Vec<String>,
    body: Vec<u8>,
    /// Bytes of the body after which the connection breaks; the length is announced in full.
    cut: usize,
}

impl Reply {
    fn new(status: &'static str, body: &[u8]) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.to_vec(),
            cut: body.len(),
        }
    }

    fn whole(body: &[u8]) -> Self {
        Self::new("200 OK", body)
    }

    /// The rest of `body` from `start`.
    fn rest(body: &[u8], start: usize) -> Self {
        let range = format!("Content-Range: bytes {start}-{}/{}", body.len() - 1, body.len());
        Self::new("206 Partial Content", &body[start..]).header(&range)
    }

    /// The whole, or the part asked for.
    fn asked(body: &[u8], request: &Request) -> Self {
        request
            .range
            .map_or_else(|| Self::whole(body), |start| Self::rest(body, start))
    }

    fn redirect(to: &str) -> Self {
        Self::new("302 Found", b"").header(&format!("Location: {to}"))
    }

    fn header(mut self, line: &str) -> Self {
        self.headers.push(line.to_owned());
        self
    }

    fn cut(mut self, bytes: usize) -> Self {
        self.cut = bytes;
        self
    }
}

/// Answers one request a connection, and remembers them all.
struct Server {
    address: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// `reply` gets the number of requests before this one, and the request.
    fn start(reply: impl Fn(usize, &Request) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its number");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        // Ends with the test process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let Some(request) = read_request(&stream) else { continue };
                let mut log = log.lock().expect("the log");
                let answer = reply(log.len(), &request);
                log.push(request);
                drop(log);
                send(&mut stream, &answer);
            }
        });
        Self {
            address: format!("http://{address}"),
            requests,
        }
    }

    fn url(&self) -> String {
        format!("{}/file", self.address)
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("the log").clone()
    }

    fn ranges(&self) -> Vec<Option<usize>> {
        self.requests().iter().map(|request| request.range).collect()
    }
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let mut request = Request {
        path: lines.next()?.split(' ').nth(1)?.to_owned(),
        ..Request::default()
    };
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ")?;
        match name.to_ascii_lowercase().as_str() {
            "range" => {
                let start = value.strip_prefix("bytes=").and_then(|v| v.strip_suffix('-'));
                request.range = Some(start.and_then(|v| v.parse().ok()).expect("a range from a byte on"));
            }
            "if-range" => request.if_range = Some(value.to_owned()),
            _ => {}
        }
    }
    Some(request)
}

fn send(stream: &mut TcpStream, reply: &Reply) {
    let mut head = format!("HTTP/1.1 {}\r\nConnection: close\r\n", reply.status);
    for line in &reply.headers {
        head += &format!("{line}\r\n");
    }
    head += &format!("Content-Length: {}\r\n\r\n", reply.body.len());
    // The client may have gone.
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(&reply.body[..reply.cut]);
}

/// A folder to fetch into.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A file beside the folder that is fetched into.
    fn write(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.path(name);
        fs::write(&path, bytes).expect("a file");
        path.to_str().expect("UTF-8").to_owned()
    }

    fn fetch(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        // A proxy of the environment would not find this server.
        for variable in ["http_proxy", "https_proxy", "all_proxy"] {
            command.env_remove(variable).env_remove(variable.to_uppercase());
        }
        command
            .arg("fetch")
            .args(args)
            .arg("--into")
            .arg(self.path("data"))
            .output()
            .expect("the binary runs")
    }

    /// Fetches, and returns standard output.
    #[track_caller]
    fn fetched(&self, args: &[&str]) -> String {
        let output = self.fetch(args);
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {message}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Asserts that fetching ends in one line with every one of `words`.
    #[track_caller]
    fn refused(&self, args: &[&str], words: &[&str]) {
        let output = self.fetch(args);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {message}");
        assert!(!message.contains("panicked"), "{args:?}: {message}");
        for word in words {
            assert!(message.contains(word), "{args:?}: no '{word}' in: {message}");
        }
        if !message.contains("--help") {
            assert_eq!(message.trim_end().lines().count(), 1, "{args:?}: {message}");
        }
    }

    /// Names in the folder that is fetched into.
    fn names(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path("data")) else {
            return Vec::new();
        };
        let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
        let mut names: Vec<_> = entries.map(|e| name(e).to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Asserts that the folder holds the small flow network and nothing else.
    #[track_caller]
    fn holds_the_network(&self) {
        assert_eq!(self.names(), ["spynet.safetensors"]);
        let mut tensors = read_tensors(self.path("data/spynet.safetensors")).expect("safetensors");
        let mut take = |name, shape: &[usize]| tensors.take_shaped(name, shape).expect("a tensor");
        let ramp = |n: u8| (0..n).map(|i| f32::from(i) / 8.0).collect::<Vec<_>>();
        assert_eq!(take("netBasic.0.netBasic.0.weight", &[2, 8, 1, 1]), ramp(16));
        assert_eq!(take("netBasic.0.netBasic.0.bias", &[2]), ramp(2));
        assert!(tensors.is_empty());
    }
}

#[test]
fn downloads_through_redirects_and_converts() {
    for file in [STREAM, ZIP] {
        let server = Server::start(move |_, request| match request.path.as_str() {
            "/file" => Reply::redirect("/moved"),
            "/moved" => Reply::redirect("/moved/again"),
            _ => Reply::whole(file),
        });
        let place = Place::new();
        let stdout = place.fetched(&["spynet", "--from", &server.url()]);
        assert!(stdout.contains("must not be redistributed"), "{stdout}");
        assert!(stdout.contains("spynet.safetensors"), "{stdout}");
        place.holds_the_network();
        assert_eq!(server.requests().len(), 3);
    }
}

#[test]
fn local_files_are_converted_and_kept() {
    let place = Place::new();
    for file in [STREAM, ZIP] {
        let copy = place.write("downloaded", file);
        place.fetched(&["spynet", "--from", &copy]);
        place.holds_the_network();
        assert_eq!(fs::read(&copy).expect("the copy"), file);
    }
    // What has been converted can be taken elsewhere.
    let converted = place.path("data/spynet.safetensors");
    let elsewhere = Place::new();
    elsewhere.fetched(&["spynet", "--from", converted.to_str().expect("UTF-8")]);
    elsewhere.holds_the_network();
}

#[test]
fn a_classifier_is_left_out() {
    let place = Place::new();
    let stdout = place.fetched(&["vgg16", "--from", &place.write("vgg.pth", VGG)]);
    assert!(stdout.contains("torchvision"), "{stdout}");
    let tensors = read_tensors(place.path("data/vgg16.safetensors")).expect("safetensors");
    let names: Vec<_> = tensors.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["features.0.bias", "features.0.weight"]);
    let weight = tensors.get("features.0.weight").expect("it");
    assert_eq!(
        (weight.shape.as_slice(), weight.values[107]),
        ([4, 3, 3, 3].as_slice(), 107.0 / 8.0)
    );
    assert!(tensors.metadata()["notice"].contains("Licence"));
    assert_eq!(tensors.metadata()["source"], "vgg.pth");
}

#[test]
fn a_broken_connection_is_continued() {
    let server = Server::start(|n, request| {
        let reply = Reply::asked(STREAM, request).header("ETag: \"one\"");
        if n < 3 { reply.cut(100) } else { reply }
    });
    let place = Place::new();
    place.fetched(&["spynet", "--from", &server.url(), "--sha256", STREAM_SHA256]);
    place.holds_the_network();
    assert_eq!(server.ranges(), [None, Some(100), Some(200), Some(300)]);
    assert!(
        server.requests()[1..]
            .iter()
            .all(|r| r.if_range.as_deref() == Some("\"one\""))
    );
}

/// A server that lets the first command down for good: 200 bytes, then three times nothing.
const LET_DOWN: usize = 4;

fn unreliable(later: impl Fn(&Request) -> Reply + Send + 'static) -> Server {
    Server::start(move |n, request| match n {
        0 => Reply::whole(STREAM).header("ETag: \"one\"").cut(200),
        n if n < LET_DOWN => Reply::rest(STREAM, 200).cut(0),
        _ => later(request),
    })
}

/// Lets the first command fail, and asserts that the second succeeds with exactly these requests.
#[track_caller]
fn second_command(server: &Server, ranges: &[Option<usize>]) {
    let place = Place::new();
    let url = server.url();
    let args = ["spynet", "--from", url.as_str(), "--sha256", STREAM_SHA256];
    place.refused(&args, &[&url, "the same command goes on"]);
    let part = place.path("data/network-sintel-final.pytorch.part");
    assert_eq!(fs::read(part).expect("the part"), &STREAM[..200]);
    assert!(!place.path("data/spynet.safetensors").exists());
    place.fetched(&args);
    place.holds_the_network();
    assert_eq!(&server.ranges()[LET_DOWN..], ranges);
}

#[test]
fn a_later_command_goes_on() {
    second_command(&unreliable(|request| Reply::asked(STREAM, request)), &[Some(200)]);
}

#[test]
fn a_server_without_ranges_starts_over() {
    second_command(&unreliable(|_| Reply::whole(STREAM)), &[Some(200)]);
}

#[test]
fn a_part_of_something_else_starts_over() {
    // Another place in the file, another file, another length, no such place.
    second_command(
        &unreliable(|request| match request.range {
            Some(_) => Reply::rest(STREAM, 100),
            None => Reply::whole(STREAM),
        }),
        &[Some(200), None],
    );
    second_command(
        &unreliable(|request| Reply::asked(STREAM, request).header("ETag: \"two\"")),
        &[Some(200), None],
    );
    second_command(
        &unreliable(|request| match request.range {
            Some(start) => Reply::rest(ZIP, start),
            None => Reply::whole(STREAM),
        }),
        &[Some(200), None],
    );
    second_command(
        &unreliable(|request| match request.range {
            Some(_) => Reply::new("416 Range Not Satisfiable", b""),
            None => Reply::whole(STREAM),
        }),
        &[Some(200), None],
    );
}

#[test]
fn another_address_starts_over() {
    let first = unreliable(|request| Reply::asked(STREAM, request));
    let second = Server::start(|_, request| Reply::asked(ZIP, request));
    let place = Place::new();
    place.refused(&["spynet", "--from", &first.url()], &["goes on"]);
    place.fetched(&["spynet", "--from", &second.url()]);
    place.holds_the_network();
    assert_eq!(second.ranges(), [None]);
}

/// What an address has sent is kept until another one has answered.
#[test]
fn an_address_that_does_not_answer_costs_nothing() {
    let first = unreliable(|request| Reply::asked(STREAM, request));
    let missing = Server::start(|_, _| Reply::new("404 Not Found", b"no such file"));
    // A port that nobody listens on any more.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let nobody = format!("http://{}/file", port.expect("a port"));
    let place = Place::new();
    place.refused(&["spynet", "--from", &first.url()], &["goes on"]);
    let names = place.names();
    for url in [missing.url(), nobody] {
        place.refused(&["spynet", "--from", &url], &[&url]);
        let part = fs::read(place.path("data/network-sintel-final.pytorch.part"));
        assert_eq!(part.expect("the part"), &STREAM[..200], "{url}");
        assert_eq!(place.names(), names, "{url}");
    }
    assert_eq!(missing.ranges(), [None]);
    place.fetched(&["spynet", "--from", &first.url(), "--sha256", STREAM_SHA256]);
    place.holds_the_network();
    assert_eq!(first.ranges()[LET_DOWN..], [Some(200)]);
}

#[test]
fn a_wrong_file_leaves_nothing() {
    let server = Server::start(|_, request| Reply::asked(STREAM, request));
    let url = server.url();
    let place = Place::new();
    let wrong = STREAM_SHA256.replace('0', "1");
    place.refused(
        &["spynet", "--from", &url, "--sha256", &wrong],
        &["SHA-256", &wrong, STREAM_SHA256],
    );
    assert!(place.names().is_empty(), "{:?}", place.names());
    // The right weights of another network, a page in place of the file.
    place.refused(&["vgg16", "--from", &url], &["features.0.weight"]);
    let page = Server::start(|_, _| Reply::whole(b"<html>Please log in</html>"));
    for name in ["dtd", "spynet", "vgg16"] {
        place.refused(&[name, "--from", &page.url()], &[".part"]);
    }
    assert!(place.names().is_empty(), "{:?}", place.names());
    // What was there before stays.
    place.fetched(&["spynet", "--from", &url, "--sha256", &STREAM_SHA256.to_uppercase()]);
    place.refused(&["spynet", "--from", &url, "--sha256", &wrong], &["SHA-256"]);
    place.holds_the_network();
}

#[test]
fn a_wrong_local_file_is_kept() {
    let place = Place::new();
    let copy = place.write("downloaded", STREAM);
    let wrong = STREAM_SHA256.replace('0', "1");
    place.refused(
        &["spynet", "--from", &copy, "--sha256", &wrong],
        &["downloaded", "SHA-256"],
    );
    place.refused(&["vgg16", "--from", &copy], &["downloaded", "features.0.weight"]);
    assert!(Path::new(&copy).exists());
    assert!(place.names().is_empty(), "{:?}", place.names());
}

#[test]
fn servers_that_refuse() {
    let place = Place::new();
    let missing = Server::start(|_, _| Reply::new("404 Not Found", b"no such file"));
    place.refused(
        &["dtd", "--from", &missing.url()],
        &[&missing.url(), "404 Not Found", "--from FILE"],
    );
    let circle = Server::start(|_, _| Reply::redirect("/file"));
    place.refused(&["dtd", "--from", &circle.url()], &[&circle.url(), "redirects"]);
    // A port that nobody listens on any more.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let nobody = format!("http://{}/file", port.expect("a port"));
    place.refused(&["dtd", "--from", &nobody], &[&nobody, "browser", "--from FILE"]);
    assert!(place.names().is_empty(), "{:?}", place.names());
}

#[test]
fn impossible_flags() {
    let place = Place::new();
    place.refused(&["cifar"], &["cifar", "dtd"]);
    place.refused(&["dtd", "--sha256", "397923af"], &["--sha256", "64"]);
    place.refused(&["dtd", "--from", "ftp://host/file"], &["--from", "ftp://host/file"]);
    place.refused(&["dtd", "--from", "http://"], &["http://"]);
    place.refused(&["dtd", "--from", "no-such-file.tar.gz"], &["no-such-file.tar.gz"]);
    let folder = place.path("");
    place.refused(&["dtd", "--from", folder.to_str().expect("UTF-8")], &["no file"]);
    assert!(place.names().is_empty(), "{:?}", place.names());
    // A file in the way of the folder.
    let place = Place::new();
    place.write("data", b"in the way");
    place.refused(&["spynet", "--from", &place.write("downloaded", STREAM)], &["data"]);
}

#[test]
fn what_is_there_needs_no_network() {
    let place = Place::new();
    place.fetched(&["spynet", "--from", &place.write("downloaded", ZIP)]);
    let stdout = place.fetched(&["spynet"]);
    assert!(stdout.contains("already there"), "{stdout}");
    place.holds_the_network();
}

/// An archive in the manner of the data set's.
fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut builder = tar::Builder::new(encoder);
    for (name, contents) in entries {
        let mut header = tar::Header::new_gnu();
        // Around the checks of `Header::set_path`, which refuses what is tested here.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(contents.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append(&header, *contents).expect("an entry");
    }
    builder
        .into_inner()
        .and_then(flate2::write::GzEncoder::finish)
        .expect("an archive")
}

#[test]
fn textures_are_unpacked() {
    let picture = |name| (name, b"a picture".as_slice());
    let good = archive(&[
        picture("dtd/images/bubbly/bubbly_0101.jpg"),
        picture("dtd/images/cracked/cracked_0085.jpg"),
        ("dtd/labels/test1.txt", b"labels"),
    ]);
    let half = good.len() / 2;
    let server = Server::start(move |n, request| {
        let reply = Reply::asked(&good, request);
        if n == 0 { reply.cut(half) } else { reply }
    });
    let place = Place::new();
    let stdout = place.fetched(&["dtd", "--from", &server.url()]);
    assert!(stdout.contains("research purposes"), "{stdout}");
    assert_eq!(server.ranges(), [None, Some(half)]);
    assert_eq!(place.names(), ["dtd"]);
    let read = |name| fs::read(place.path("data/dtd/images").join(name)).expect("a picture");
    assert_eq!(read("bubbly/bubbly_0101.jpg"), b"a picture");
    assert_eq!(read("cracked/cracked_0085.jpg"), b"a picture");
    assert!(!place.path("data/dtd/labels").exists());

    // A hostile archive changes nothing.
    let evil = archive(&[picture("dtd/images/a.jpg"), picture("dtd/images/../../../evil")]);
    place.refused(
        &["dtd", "--from", &place.write("evil.tar.gz", &evil)],
        &["evil.tar.gz", "leads out"],
    );
    assert!(!place.path("evil").exists());
    assert_eq!(place.names(), ["dtd"]);
    assert_eq!(read("bubbly/bubbly_0101.jpg"), b"a picture");
}
