//! Nets of a hub: fetched from a hub of this test's own, then used without it.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{TinySpace, stderr, weights};

const COMMIT: &str = "8f1ccb9f2e9a0d6cb4bdf1ff0a5d7c1e6b9a2f30";

/// A hub with one repository, `someone/vgg16`, of one file, `model.safetensors`.
struct Hub {
    address: String,
    requests: Arc<AtomicUsize>,
}

impl Hub {
    /// Serves `file`; says that commits are called `commit`.
    fn serving(file: Vec<u8>, commit: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        // It ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counter.fetch_add(1, Ordering::Relaxed);
                // A client that hangs up is its own affair.
                let _ = answer(stream, &file, commit);
            }
        });
        Self { address, requests }
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

/// One request and its answer, as the hub's: a part of the file, its hash and its commit.
fn answer(mut stream: TcpStream, file: &[u8], commit: &str) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut request, mut range) = (String::new(), String::new());
    reader.read_line(&mut request)?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
            range = value.trim().to_owned();
        }
    }
    if !request.starts_with("GET /someone/vgg16/resolve/main/model.safetensors ") {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    }
    let (from, to) = range.split_once('-').unwrap_or(("0", ""));
    let from: usize = from.parse().unwrap_or(0);
    let to: usize = to.parse().map_or(file.len(), |to: usize| to + 1);
    let part = &file[from..to];
    write!(
        stream,
        "HTTP/1.1 206 Partial Content\r\ncontent-length: {}\r\ncontent-range: bytes {from}-{}/{}\r\netag: \"0badcafe\"\r\n\
         x-repo-commit: {commit}\r\nconnection: close\r\n\r\n",
        part.len(),
        to - 1,
        file.len()
    )?;
    stream.write_all(part)
}

/// An address where nothing answers.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    format!("http://{}", listener.local_addr().expect("an address"))
}

fn of_hub(entry: &str) -> TinySpace {
    let space = TinySpace::new();
    space.edit("space.yaml", &format!("weights: {}", weights().display()), entry);
    space
}

fn check(space: &TinySpace, hub: &str, arguments: &[&str]) -> Output {
    let mut command = space.command(&[&["check", "budget.yaml"], arguments].concat());
    for proxy in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(proxy);
    }
    command.env("HF_ENDPOINT", hub).env("HF_HOME", space.path("cache")).output().expect("the program starts")
}

fn refused(space: &TinySpace, hub: &str, parts: &[&str]) {
    let output = check(space, hub, &[]);
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{message}");
    for part in parts {
        assert!(message.contains(part), "`{message}` lacks `{part}`");
    }
    assert!(!message.contains("panicked"), "{message}");
}

#[test]
fn a_net_is_fetched_once_and_then_needs_no_hub() {
    let space = of_hub("hub: someone/vgg16");
    let hub = Hub::serving(std::fs::read(weights()).unwrap(), COMMIT);
    let first = check(&space, &hub.address, &[]);
    assert_eq!(first.status.code(), Some(0), "{}", stderr(&first));
    assert!(hub.requests() > 0);
    let cached = format!("cache/hub/models--someone--vgg16/snapshots/{COMMIT}/model.safetensors");
    assert!(space.path(&cached).exists());

    let asked = hub.requests();
    let second = check(&space, &hub.address, &[]);
    assert_eq!((second.status.code(), hub.requests()), (Some(0), asked), "{}", stderr(&second));
    let alone = check(&space, &nobody(), &[]);
    assert_eq!(alone.status.code(), Some(0), "{}", stderr(&alone));
    assert_eq!(alone.stdout, first.stdout);
    // As a pinned commit, too, by which the cache has no reference.
    space.edit("space.yaml", "hub: someone/vgg16", &format!("hub: someone/vgg16, revision: {COMMIT}"));
    let pinned = check(&space, &nobody(), &[]);
    assert_eq!(pinned.status.code(), Some(0), "{}", stderr(&pinned));
}

#[test]
fn without_a_network_the_message_says_what_to_do() {
    let space = of_hub("hub: someone/vgg16");
    let folder = space.path("cache/hub/models--someone--vgg16");
    refused(
        &space,
        &nobody(),
        &[
            "backbone.hub: `model.safetensors` of the hub's `someone/vgg16` (main)",
            folder.to_str().unwrap(),
            "`hf download someone/vgg16 model.safetensors --revision main`",
            "/someone/vgg16/resolve/main/model.safetensors and write `weights: FILE` in place of `hub`",
        ],
    );
    let given = check(&space, &nobody(), &["--weights", weights().to_str().unwrap()]);
    assert_eq!(given.status.code(), Some(0), "{}", stderr(&given));
}

#[test]
fn what_the_hub_does_not_have_or_should_not_say() {
    let hub = Hub::serving(std::fs::read(weights()).unwrap(), COMMIT);
    refused(
        &of_hub("hub: someone/vgg16, file: other.safetensors"),
        &hub.address,
        &["/someone/vgg16/resolve/main/other.safetensors: the hub answers 404", "check `hub`, `file` and `revision`"],
    );
    let hostile = Hub::serving(std::fs::read(weights()).unwrap(), "../../../../stolen");
    let space = of_hub("hub: someone/vgg16");
    refused(&space, &hostile.address, &["`../../../../stolen` is no commit or hash"]);
    assert!(!space.path("cache").exists(), "nothing was written");
    let text = Hub::serving(b"<html>not weights</html>".to_vec(), COMMIT);
    refused(&of_hub("hub: someone/vgg16"), &text.address, &["model.safetensors", "header"]);
}

#[test]
fn weights_of_nothing_known_are_not_fetched() {
    let hub = Hub::serving(Vec::new(), COMMIT);
    let space = of_hub("hub: someone/vgg16");
    space.edit("space.yaml", "vgg16,", "vgg61,");
    refused(&space, &hub.address, &["backbone.architecture: no architecture is called `vgg61`", "resnet18"]);
    space.edit("space.yaml", "architecture: vgg61, ", "");
    refused(&space, &hub.address, &["the weights `model.safetensors` need `architecture` beside them"]);
    assert_eq!(hub.requests(), 0);
}

#[test]
fn names_that_are_none_are_refused_before_anything_is_asked_for() {
    let hub = Hub::serving(Vec::new(), COMMIT);
    for (entry, parts) in [
        ("hub: ../vgg16", &["backbone.hub: ../vgg16", "OWNER/NAME"][..]),
        ("hub: /etc/passwd", &["backbone.hub: /etc/passwd"]),
        ("hub: a/b, file: ../../x.onnx", &["backbone.file: ../../x.onnx", "`.onnx`"]),
        ("hub: a/b, file: pytorch_model.bin", &["backbone.file: pytorch_model.bin", "`.safetensors`"]),
        ("hub: a/b, revision: ..", &["backbone.revision: ..", "branch"]),
        ("hub: a/b, file: model.onnx", &["backbone.architecture: vgg16", "ONNX", "leave this line out"]),
        ("hub: a/b, weights: w.safetensors", &["backbone.weights: w.safetensors", "leave one of the two out"]),
        ("weights: w.safetensors, revision: main", &["backbone.revision: main", "write `hub: OWNER/NAME`"]),
        ("colours: rgb", &["backbone.weights: missing", "`hub: OWNER/NAME`"]),
    ] {
        refused(&of_hub(entry), &hub.address, parts);
    }
    assert_eq!(hub.requests(), 0);
}
