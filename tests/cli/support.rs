//! A tiny space on disk, made by the test, with the real weights that the repository holds.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Side of the tiny images.
pub const SIDE: usize = 16;

/// Training images: enough steps for an attack's learning curve to bend.
pub const TRAINING: usize = 240;

/// A folder with `space.yaml`, `budget.yaml`, IDX images of noise in four classes, and nothing else.
pub struct TinySpace {
    folder: tempfile::TempDir,
}

pub fn weights() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("spaces/fashion-mnist-vgg16/vgg16-conv1_1-conv3_3.f16.safetensors")
}

/// IDX bytes.
pub fn idx(sizes: &[u32], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, sizes.len() as u8];
    for size in sizes {
        bytes.extend(size.to_be_bytes());
    }
    bytes.extend(data);
    bytes
}

/// Noise, different for each seed; classes differ in brightness.
pub fn images(n: usize, seed: u64) -> (Vec<u8>, Vec<u8>) {
    let mut state = seed.wrapping_mul(2654435761).wrapping_add(1);
    let mut pixels = Vec::new();
    let mut labels = Vec::new();
    for i in 0..n {
        let class = (i % 4) as u8;
        labels.push(class);
        for _ in 0..SIDE * SIDE {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            pixels.push(((state >> 57) as u8) + 30 * class);
        }
    }
    (idx(&[n as u32, SIDE as u32, SIDE as u32], &pixels), idx(&[n as u32], &labels))
}

impl TinySpace {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let space = Self { folder };
        for (part, n, seed) in [("training", TRAINING, 1), ("validation", 32, 2), ("evaluation", 32, 3)] {
            let (images, labels) = images(n, seed);
            space.write(&format!("{part}-images"), &images);
            space.write(&format!("{part}-labels"), &labels);
        }
        space.write(
            "space.yaml",
            format!(
                "backbone: {{architecture: vgg16, weights: {}}}\nsplits:\n  conv1_2: [4, 8]\n  conv2_1: [4]\n\
                 selections: {{first: true, fisher: true}}\ndata:\n  format: idx\n\
                 \x20 training: {{images: training-images, labels: training-labels}}\n\
                 \x20 validation: {{images: validation-images, labels: validation-labels}}\n\
                 \x20 evaluation: {{images: evaluation-images, labels: evaluation-labels}}\n",
                weights().display()
            )
            .as_bytes(),
        );
        space.write(
            "budget.yaml",
            b"space: space.yaml\nname: tiny\nseed: 1\ncompute: 30 MMAC\nstorage: 300 KiB\n\
              privacy:\n  psnr: {mean: 95 dB}\n  confidence: 0.9\neffort: {evaluations: 3}\n",
        );
        space
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        let mut file = std::fs::File::create(self.path(name)).expect("a writable folder");
        file.write_all(bytes).expect("a writable file");
    }

    /// Replaces text in a file.
    pub fn edit(&self, name: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.path(name)).expect("a readable file");
        assert!(text.contains(from), "{name} holds no `{from}`");
        self.write(name, text.replace(from, to).as_bytes());
    }

    /// The program with its studies and reports in this folder.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_privynet"));
        command.current_dir(self.folder.path()).args(arguments).env_remove("RUST_BACKTRACE");
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the program starts")
    }
}

/// Standard error as text.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The conclusion of the repository's example, to be changed: without its checksum, which shows damage, not who wrote the rest.
pub fn example_conclusion() -> serde_json::Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/results/example/blobs/conclusion.json");
    let bytes = std::fs::read(path).expect("the example has a conclusion");
    let mut conclusion: serde_json::Value = serde_json::from_slice(&bytes).expect("the example is JSON");
    conclusion.as_object_mut().expect("the example is an object").shift_remove("sum");
    conclusion
}

/// Standard output as JSON.
pub fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}\n{}", String::from_utf8_lossy(&output.stdout), stderr(output)))
}
