//! Nets of the Hugging Face hub, by repository and file: fetched once, then used from the cache that all of the hub's programs
//! share (`HF_HOME`, or `.cache/huggingface` in the home folder), without a network.

use std::path::PathBuf;

use hf_hub::api::sync::{ApiBuilder, ApiError};
use hf_hub::{Cache, Repo, RepoType};

/// Largest file that is fetched: beyond any net of images, and a bound on what a mistyped name costs.
const MOST_BYTES: usize = 8 << 30;

/// A file of a repository. Its names are safe as parts of a path and of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubFile {
    repository: String,
    revision: String,
    file: String,
}

/// A name that the hub can't have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadName {
    /// The field of a space's backbone.
    pub field: &'static str,
    /// Its value.
    pub value: String,
    /// What is accepted.
    pub accepted: &'static str,
}

/// Why a file of the hub can't be had.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// There is no answer.
    #[error(
        "`{name}` of the hub's `{repository}` ({revision}) is neither in the cache, {}, nor can it be fetched: {source}. Without a \
         network, fetch it elsewhere: `hf download {repository} {name} --revision {revision}`, and copy its folder of the cache \
         here; or download {url} and write `weights: FILE` in place of `hub`",
        folder.display(), repository = wanted.repository, name = wanted.file, revision = wanted.revision
    )]
    Unreachable {
        /// What was asked for.
        wanted: Box<HubFile>,
        /// Where the cache would hold the repository.
        folder: PathBuf,
        /// Where it comes from.
        url: String,
        /// What the network said.
        source: Box<ApiError>,
    },
    /// The hub refuses.
    #[error(
        "{url}: the hub answers {status}{}: check `hub`, `file` and `revision`; a private repository needs the token that \
         `hf auth login` stores",
        match status { 401 | 403 => " (not allowed, or no such repository)", 404 => " (no such repository, revision or file)", _ => "" }
    )]
    Refused {
        /// What was asked for.
        url: String,
        /// HTTP's number.
        status: u16,
    },
    /// The answer can't be right.
    #[error(
        "{url}: {problem}; check that HF_ENDPOINT names a hub, or download the file and write `weights: FILE` in place of `hub`"
    )]
    Answer {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// There is nowhere to keep it.
    #[error(
        "`{file}` of the hub's `{repository}` has no place: there is no home folder; set HF_HOME to a folder for it"
    )]
    NoCache {
        /// The repository.
        repository: String,
        /// The file.
        file: String,
    },
}

impl HubFile {
    /// The file that is meant where none is named.
    pub const USUAL: &str = "model.safetensors";

    /// A file of a repository at a branch, tag or commit.
    ///
    /// # Errors
    /// [`BadName`] for what is no name, such as an absolute path or one with `..`.
    pub fn new(repository: &str, revision: Option<&str>, file: Option<&str>) -> Result<Self, BadName> {
        let bad = |field, value: &str, accepted| BadName { field, value: value.to_owned(), accepted };
        if !are_names(repository, 2) {
            return Err(bad("hub", repository, "write `OWNER/NAME`, for example timm/resnet18.a1_in1k"));
        }
        let revision = revision.unwrap_or("main");
        if !are_names(revision, 8) {
            return Err(bad("revision", revision, "write a branch, a tag or a commit, for example main"));
        }
        let file = file.unwrap_or(Self::USUAL);
        let known = [".safetensors", ".onnx"].iter().any(|ending| file.to_ascii_lowercase().ends_with(ending));
        if !are_names(file, 8) || !known {
            let accepted =
                "write the path, in the repository, of a `.safetensors` or `.onnx` file, for example onnx/model.onnx";
            return Err(bad("file", file, accepted));
        }
        Ok(Self { repository: repository.to_owned(), revision: revision.to_owned(), file: file.to_owned() })
    }

    /// The file's path in the repository.
    pub fn name(&self) -> &str {
        &self.file
    }

    /// The file in the cache; fetched if it isn't there yet.
    ///
    /// # Errors
    /// [`HubError`], which says what to do without a network.
    pub fn fetch(&self, progress: bool) -> Result<PathBuf, HubError> {
        if std::env::var_os("HF_HOME").is_none() && std::env::home_dir().is_none() {
            return Err(HubError::NoCache { repository: self.repository.clone(), file: self.file.clone() });
        }
        let cache = Cache::from_env();
        match self.cached(&cache) {
            Some(path) => Ok(path),
            None => self.download(&cache, progress),
        }
    }

    fn repo(&self) -> Repo {
        Repo::with_revision(self.repository.clone(), RepoType::Model, self.revision.clone())
    }

    /// A branch or tag stands for the commit that it was when it was fetched; a commit is a folder of its own.
    fn cached(&self, cache: &Cache) -> Option<PathBuf> {
        let repo = cache.repo(self.repo());
        let of_commit = || repo.pointer_path(&self.revision).join(&self.file);
        repo.get(&self.file).or_else(|| Some(of_commit()).filter(|path| path.exists()))
    }

    fn download(&self, cache: &Cache, progress: bool) -> Result<PathBuf, HubError> {
        let failed = |url: &str, source| self.failed(cache, url.to_owned(), source);
        let api = ApiBuilder::from_env().with_progress(progress).build().map_err(|source| failed("the hub", source))?;
        let repo = api.repo(self.repo());
        let url = repo.url(&self.file);
        let known = api.metadata(&url).map_err(|source| failed(&url, source))?;
        let refused = |problem: String| Err(HubError::Answer { url: url.clone(), problem });
        if known.size() > MOST_BYTES {
            return refused(format!("{} bytes are more than any net of images has", known.size()));
        }
        // The cache names files by them.
        if let Some(name) = [known.commit_hash(), known.etag()].into_iter().find(|name| !is_name(name)) {
            return refused(format!("`{name}` is no commit or hash"));
        }
        repo.download(&self.file).map_err(|source| failed(&url, source))
    }

    fn failed(&self, cache: &Cache, url: String, source: ApiError) -> HubError {
        match source {
            ApiError::RequestError(error) => match *error {
                ureq::Error::StatusCode(status) => HubError::Refused { url, status },
                error => self.unreachable(cache, url, ApiError::RequestError(Box::new(error))),
            },
            ApiError::MissingHeader(_) | ApiError::InvalidHeader(_) | ApiError::ParseIntError(_) => {
                HubError::Answer { url, problem: format!("no hub's answer ({source})") }
            }
            source => self.unreachable(cache, url, source),
        }
    }

    fn unreachable(&self, cache: &Cache, url: String, source: ApiError) -> HubError {
        HubError::Unreachable {
            wanted: Box::new(self.clone()),
            folder: cache.path().join(self.repo().folder_name()),
            url,
            source: Box::new(source),
        }
    }
}

/// Whether `text` is one to `most` names with `/` between them.
fn are_names(text: &str, most: usize) -> bool {
    text.split('/').count() <= most && text.split('/').all(is_name)
}

/// Whether `text` can be a file's name on any system, and part of an address, as it is.
fn is_name(text: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=128).contains(&text.len()) && !text.starts_with('.') && !text.contains("..") && text.chars().all(legal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_cache_are_refused() {
        let file = |file: &str| HubFile::new("timm/resnet18.a1_in1k", None, Some(file));
        assert_eq!(HubFile::new("timm/resnet18.a1_in1k", None, None), file("model.safetensors"));
        assert!(file("onnx/model.ONNX").is_ok());
        for name in
            ["/etc/x.onnx", "../x.onnx", "a/../x.onnx", "a//x.onnx", "x", "x.bin", ".onnx", "a\\x.onnx", "x y.onnx"]
        {
            assert_eq!(file(name).unwrap_err().field, "file", "{name}");
        }
        for name in ["", "/", "a/b/c", "../a", "a/..", "/a", "a/", "~/a", "a/b?c", "a/b#c", "a/b%2e", "http://a"] {
            assert_eq!(HubFile::new(name, None, None).unwrap_err().field, "hub", "{name}");
        }
        for name in ["", "..", "/tmp/x", "a b", "refs/../x"] {
            assert_eq!(HubFile::new("a/b", Some(name), None).unwrap_err().field, "revision", "{name}");
        }
        assert!(HubFile::new("a/b", Some("refs/pr/1"), None).is_ok());
    }

    #[test]
    fn what_other_programs_cached_by_commit_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().to_owned());
        let file = HubFile::new("a/b", Some("0123abcd"), None).unwrap();
        assert_eq!(file.cached(&cache), None);
        let snapshot = folder.path().join("models--a--b/snapshots/0123abcd");
        std::fs::create_dir_all(&snapshot).unwrap();
        std::fs::write(snapshot.join("model.safetensors"), b"weights").unwrap();
        assert_eq!(file.cached(&cache), Some(snapshot.join("model.safetensors")));
        let branch = HubFile::new("a/b", None, None).unwrap();
        assert_eq!(branch.cached(&cache), None);
        std::fs::create_dir_all(folder.path().join("models--a--b/refs")).unwrap();
        std::fs::write(folder.path().join("models--a--b/refs/main"), b"0123abcd").unwrap();
        assert_eq!(branch.cached(&cache), Some(snapshot.join("model.safetensors")));
    }
}
