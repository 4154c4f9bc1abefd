//! The walls around the process: what the kernel holds it to, whatever its code does.
//!
//! Landlock is raised here, around the roots and around what this server itself still opens once
//! it runs. A seccomp filter and the loss of privileges are for whoever starts the process; here
//! they are only looked at, and told.
//!
//! **Invariant**: what is read, written, listened on or connected to after the start stands in
//! [`reach`], and nowhere else. It cannot be widened later: whatever needs more needs a restart.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use roothold_core::Roots;
use roothold_core::wall::{self, Reach, Wall, WallError};
use serde_json::{Value, json};

use crate::builder::StartError;
use crate::config::{CollectorReach, Config, ConfigError, LandlockWord};
use crate::process;

/// What holds this process.
#[derive(Debug, Clone)]
pub(crate) struct Walls {
    landlock: Landlock,
    /// Whether a seccomp filter is in force; a container runtime puts it there.
    seccomp: bool,
    /// Whether no program that is started could gain privileges.
    no_new_privileges: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Landlock {
    /// The configuration says so.
    Off,
    /// The program that this server is part of has not asked for it.
    NotAsked,
    Stands(Wall),
    Missing(String),
}

impl Walls {
    /// What holds a process that has raised none itself.
    pub(crate) fn found() -> Self {
        Self::with(&process::status(), Landlock::NotAsked)
    }

    /// With what was found before the wall was raised, which sets `no_new_privs`.
    fn with(found: &process::Status, landlock: Landlock) -> Self {
        let stands = matches!(landlock, Landlock::Stands(_));
        Self {
            landlock,
            seccomp: found.seccomp,
            no_new_privileges: found.no_new_privileges || stands,
        }
    }

    /// Whether the kernel keeps the process to what it was told.
    pub(crate) fn stand(&self) -> bool {
        matches!(self.landlock, Landlock::Stands(_))
    }

    /// Whether a seccomp filter is in force.
    pub(crate) fn filtered(&self) -> bool {
        self.seccomp
    }

    /// One sentence a wall, for a person.
    pub(crate) fn lines(&self) -> [String; 2] {
        let landlock = match &self.landlock {
            Landlock::Off => "off, as configured".to_owned(),
            Landlock::NotAsked => "not asked for".to_owned(),
            Landlock::Stands(wall) => {
                format!("stands (version {}): {}", abi(wall), wall.holds().join(", "))
            }
            Landlock::Missing(reason) => format!("missing: {reason}"),
        };
        let seccomp = if self.seccomp { "a filter is in force" } else { "no filter" };
        [format!("landlock {landlock}"), format!("seccomp {seccomp}")]
    }

    /// The same for programs.
    pub(crate) fn json(&self) -> Value {
        let state = match &self.landlock {
            Landlock::Off => "off",
            Landlock::NotAsked => "not_asked",
            Landlock::Stands(_) => "stands",
            Landlock::Missing(_) => "missing",
        };
        let mut landlock = json!({"state": state});
        match &self.landlock {
            Landlock::Stands(wall) => {
                landlock["version"] = abi(wall).into();
                landlock["holds"] = wall.holds().into();
            }
            Landlock::Missing(reason) => landlock["reason"] = reason.as_str().into(),
            Landlock::Off | Landlock::NotAsked => {}
        }
        json!({
            "landlock": landlock,
            "seccomp": self.seccomp,
            "no_new_privileges": self.no_new_privileges,
        })
    }
}

fn abi(wall: &Wall) -> u32 {
    match wall {
        Wall::Stands { abi } => *abi,
        Wall::Absent { .. } => 0,
    }
}

/// Everything that the server opens after its start, besides the roots.
///
/// A file that is read again when it changed is reached through its directory: it is replaced by a
/// new one of the same name.
///
/// # Errors
/// For a collector that is none.
pub(crate) fn reach(
    config: &Config,
    audit_dir: Option<&Path>,
    private: &[SocketAddr],
) -> Result<Reach, ConfigError> {
    let mut reach = Reach::default().bind(config.server.listen.port());
    if let Some(dir) = audit_dir {
        reach = reach.keep(dir);
    }
    for address in private {
        reach = reach.bind(address.port());
    }
    let directories = directories_read_again(config);
    if let Some(collector) = config.telemetry.collector_reach()? {
        let CollectorReach { port, looks_up, authorities } = collector;
        reach = reach.and(servers([port], looks_up, authorities));
    }
    Ok(directories.into_iter().fold(reach, Reach::read))
}

/// Where the configuration and the files of credentials are found once they were replaced. What
/// databases read again is among what they need.
pub(crate) fn directories_read_again(config: &Config) -> BTreeSet<PathBuf> {
    let jwks = config.auth.jwt.as_ref().map(|jwt| &jwt.jwks_file);
    let files = config.file.iter().chain(&config.auth.keys_file).chain(jwks);
    files.flat_map(|file| reach_of(file)).collect()
}

/// What looking up a host reads.
const LOOK_UP: [&str; 5] =
    ["/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf"];

/// Where systems keep the certificates of the authorities that they trust.
const AUTHORITIES: [&str; 5] = [
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
];

/// What connecting to other servers takes: their ports, and what is read to find them and to
/// verify who they are.
pub(crate) fn servers(
    ports: impl IntoIterator<Item = u16>,
    looks_up: bool,
    authorities: bool,
) -> Reach {
    let mut reach = ports.into_iter().fold(Reach::default(), Reach::connect);
    for (wanted, paths) in [(looks_up, LOOK_UP), (authorities, AUTHORITIES)] {
        for path in paths.iter().filter(|path| wanted && Path::new(path).exists()) {
            reach = reach.read(*path);
        }
    }
    reach
}

/// What must be within reach for a file to be read again once it was replaced: [`directories_of`] it.
/// That the whole system's were is no wall: what lies there is within reach by itself, until it is replaced.
/// A pipe has no other to take its place, nor has what is not there.
pub(crate) fn reach_of(file: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let own = std::path::absolute(file).ok().filter(|own| own.is_file());
    let is_all = |dir: &Path| dir.canonicalize().is_ok_and(|real| real == Path::new("/"));
    let directories = own.as_deref().map(directories_of);
    directories
        .into_iter()
        .flatten()
        .filter_map(move |dir| if is_all(&dir) { own.clone() } else { Some(dir) })
}

/// The most links that a name leads through, as for the kernel.
const LINKS_MAX: usize = 40;

/// The directories in which a file, or a link on the way to it, can be replaced: those of its name, of
/// each link that the name leads through, and of the file itself.
#[expect(
    clippy::disallowed_methods,
    reason = "the server's own files, named by its configuration, are not behind the gate"
)]
pub(crate) fn directories_of(file: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let mut found = Vec::new();
    let mut next = std::path::absolute(file).ok();
    while let Some(name) = next.take().filter(|_| found.len() < LINKS_MAX) {
        let above = name.parent().map(Path::to_path_buf);
        next = std::fs::read_link(&name).ok().zip(above).map(|(to, above)| above.join(to));
        found.push(name);
    }
    found.extend(std::fs::canonicalize(file).ok());
    let parent = |path: PathBuf| path.parent().map(Path::to_path_buf);
    // What is not there is an error of its own, which names the key.
    found.into_iter().filter_map(parent).filter(|dir| dir.is_dir())
}

/// Raises what the configuration asks for around this thread and all that it starts from here on.
///
/// # Errors
/// When `server.landlock` is `require` and the kernel does not hold, or something that must be
/// reachable cannot be opened.
pub(crate) fn raise(config: &Config, roots: &Roots, reach: &Reach) -> Result<Walls, StartError> {
    let (word, found) = (config.server.landlock, process::status());
    if word == LandlockWord::Off {
        return Ok(Walls::with(&found, Landlock::Off));
    }
    // Opened now for as long as the process lives: behind the wall it cannot be.
    process::open_for_metrics();
    process::host_name();
    let missing = match wall::raise(roots, reach) {
        Ok(wall @ Wall::Stands { .. }) => return Ok(Walls::with(&found, Landlock::Stands(wall))),
        Ok(Wall::Absent { reason }) => reason.to_owned(),
        Err(error @ WallError::Path { .. }) => return Err(refuse(&error.to_string())),
        Err(error @ WallError::Refused(_)) => error.to_string(),
    };
    if word == LandlockWord::Require {
        return Err(refuse(&format!("{missing}; or write \"on\" to serve without it")));
    }
    Ok(Walls::with(&found, Landlock::Missing(missing)))
}

/// [`raise`], for a whole process: it must not have other threads yet, which would not be held.
pub(crate) fn raise_for_process(
    config: &Config,
    roots: &Roots,
    reach: &Reach,
) -> Result<Walls, StartError> {
    let threads = process::status().threads;
    if threads > 1 && config.server.landlock != LandlockWord::Off {
        return Err(refuse(&format!(
            "{threads} threads run already, which it would not hold; confine the process before its runtime starts"
        )));
    }
    let walls = raise(config, roots, reach)?;
    if let Landlock::Missing(reason) = &walls.landlock {
        tracing::warn!(reason, "the process is not held by Landlock");
    } else {
        tracing::info!(walls = %walls.json(), "the walls around the process");
    }
    Ok(walls)
}

/// What [`raise`] would come to, found out in a thread that ends with it.
///
/// # Errors
/// As [`raise`].
pub(crate) fn try_out(config: &Config, roots: &Roots, reach: &Reach) -> Result<Walls, StartError> {
    std::thread::scope(|scope| {
        let tried = scope.spawn(|| raise(config, roots, reach)).join();
        tried.unwrap_or_else(|_| Err(refuse("could not be tried out")))
    })
}

fn refuse(reason: &str) -> StartError {
    StartError::Front(format!("server.landlock: {reason}"))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "makes links in a temporary directory")]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_is_sought_wherever_a_link_to_it_can_be_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(dir.path()).unwrap();
        for made in ["named", "mounted/..1"] {
            fs::create_dir_all(base.join(made)).unwrap();
        }
        // A link to a file of a ConfigMap, which is two links away itself.
        let file = base.join("mounted/roothold.toml");
        fs::write(base.join("mounted/..1/roothold.toml"), "").unwrap();
        symlink("..1", base.join("mounted/..data")).unwrap();
        symlink("..data/roothold.toml", &file).unwrap();
        symlink("../mounted/roothold.toml", base.join("named/link.toml")).unwrap();
        let found: Vec<_> = directories_of(&base.join("named/link.toml"))
            .map(|dir| fs::canonicalize(dir).unwrap())
            .collect();
        assert!(found.contains(&base.join("named")), "{found:?}");
        assert!(found.contains(&base.join("mounted")), "{found:?}");
        assert!(found.iter().all(|dir| dir.starts_with(&base) && *dir != base), "{found:?}");
        assert!(reach_of(&file).eq(directories_of(&file)));
        // One in the root of the system is no reason to have all of that within reach.
        let above = |file: &str| reach_of(Path::new(file)).collect::<Vec<_>>();
        assert!(!above("/etc/hosts").contains(&PathBuf::from("/")));
        assert_eq!(above("/no-such-file.toml"), Vec::<PathBuf>::new());
        symlink("/", base.join("all")).unwrap();
        let own = base.join("all/etc/hosts");
        assert!(above(own.to_str().unwrap()).iter().all(|dir| dir.ends_with("etc")));
        assert_eq!(above("/dev/null"), Vec::<PathBuf>::new());
        // One that leads in a circle ends.
        symlink("b", base.join("named/a")).unwrap();
        symlink("a", base.join("named/b")).unwrap();
        assert!(directories_of(&base.join("named/a")).count() <= LINKS_MAX);
    }
}
