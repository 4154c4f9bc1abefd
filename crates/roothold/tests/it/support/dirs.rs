//! The directories of a test: two roots, a neighbour whose name begins like a root's, and an
//! outside that nothing may reach.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// One set of directories; everything is removed at the end.
pub(crate) struct Dirs {
    base: TempDir,
    /// Mount points to undo before that.
    pub(crate) mounts: Vec<PathBuf>,
}

impl Dirs {
    pub(crate) fn new() -> Self {
        let base = tempfile::Builder::new().prefix("roothold-it").tempdir().unwrap();
        let dirs = Self { base, mounts: Vec::new() };
        for dir in ["work/sub", "work/protected", "ro", "outside/decoy", "audit"] {
            fs::create_dir_all(dirs.base().join(dir)).unwrap();
        }
        dirs
    }

    /// With the files of the battery's base fixture: `PUBLIC-…` may be seen, `CANARY-…` never.
    pub(crate) fn with_fixture() -> Self {
        let dirs = Self::new();
        for (path, text) in [
            ("work/hello.txt", "PUBLIC-HELLO"),
            ("work/sub/s.txt", "PUBLIC-S"),
            ("work/protected/p.txt", "PUBLIC-P"),
            ("work/.env", "CANARY-ENV"),
            ("work/sub/.env", "CANARY-ENVSUB"),
            ("work/credentials.json", "CANARY-CRED"),
            ("work/id.key", "CANARY-KEY"),
            ("ro/ro.txt", "PUBLIC-RO"),
            ("outside/secret.txt", "CANARY-OUT"),
            ("outside/target.txt", "TARGET-UNTOUCHED"),
            ("outside/secret_in_cwd.txt", "CANARY-CWD"),
            ("outside/decoy/f", "PUBLIC-DECOY"),
        ] {
            fs::write(dirs.base().join(path), text).unwrap();
        }
        dirs
    }

    pub(crate) fn base(&self) -> &Path {
        self.base.path()
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.base().join("work")
    }

    pub(crate) fn outside(&self) -> PathBuf {
        self.base().join("outside")
    }

    /// Writes a file below the base, with the directories above it.
    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.base().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// The text with the battery's variables put in.
    pub(crate) fn fill_in(&self, text: &str) -> String {
        let base = self.base().display();
        text.replace("$$", "\u{1}")
            .replace("$AUDITDIR", &format!("{base}/audit"))
            .replace("$RO_RAW", &format!("{base}/ro"))
            .replace("$RAWROOT", &format!("{base}/work"))
            .replace("$ROOT", &format!("{base}/work"))
            .replace("$SIB", &format!("{base}/work-evil"))
            .replace("$OUT", &format!("{base}/outside"))
            .replace("$RO", &format!("{base}/ro"))
            .replace('\u{1}', "$")
    }

    /// The battery's policy as a configuration, with `more` after it.
    pub(crate) fn config(&self, more: &str) -> String {
        self.fill_in(BATTERY_POLICY) + more
    }
}

impl Drop for Dirs {
    fn drop(&mut self) {
        for mount in &self.mounts {
            let done = std::process::Command::new("umount").arg("-l").arg(mount).status();
            assert!(done.is_ok_and(|status| status.success()), "{} stays", mount.display());
        }
    }
}

const BATTERY_POLICY: &str = r#"
[[roots]]
path = "$RAWROOT"
name = "work"
access = "rw"
hardlinks = "deny"
write_exclude = ["protected/**"]
exclude = ["**/.env", "**/.env.*", "**/.env~", "**/#.env#", "**/credentials.*", "**/*.key", "**/*.pem",
  "**/.git/**", "**/.git", "**/secrets/**", "**/secréts/**", "vault/**"]

[[roots]]
path = "$RO_RAW"
name = "ro"
access = "ro"
hardlinks = "deny"

[limits]
result_bytes_ceiling = 1048576
call_timeout_seconds = 5
"#;

/// The first canary in a text, if there is one: `CANARY-` and a capital letter or digit.
pub(crate) fn find_canary(text: &[u8]) -> Option<String> {
    let at = memchr::memmem::find_iter(text, b"CANARY-").find(|at| {
        text.get(at + 7).is_some_and(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
    })?;
    let end = text.len().min(at + 24);
    Some(String::from_utf8_lossy(&text[at..end]).into_owned())
}
