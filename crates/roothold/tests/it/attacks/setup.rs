//! The battery's preparations, done for real.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::Value;

use crate::support::Dirs;

/// Prepares one thing. `Err` says that the machine refused it.
pub(super) fn apply(dirs: &mut Dirs, op: &Value) -> Result<(), String> {
    let text = |key: &str| dirs.fill_in(op[key].as_str().unwrap());
    let number = |key: &str| op[key].as_u64().unwrap();
    let path = || PathBuf::from(text("path"));
    let result = match op["op"].as_str().unwrap() {
        "write" => make(&path(), text("text").as_bytes()),
        "write_hex" => make(&path(), &hex(&text("hex"))),
        "fill" => {
            let byte = hex(&text("byte"))[0];
            make(&path(), &vec![byte; usize::try_from(number("size")).unwrap()])
        }
        "sparse" => fs::File::create(path()).and_then(|file| file.set_len(number("size"))),
        "mkdir" => fs::create_dir_all(path()),
        "symlink" => std::os::unix::fs::symlink(text("target"), path()),
        "hardlink" => fs::hard_link(text("target"), path()),
        "fifo" => mknod(&path(), FileType::Fifo, 0),
        "mknod" => {
            let (major, minor) = (number("major"), number("minor"));
            let device = rustix::fs::makedev(major.try_into().unwrap(), minor.try_into().unwrap());
            mknod(&path(), FileType::CharacterDevice, device)
        }
        "bind" => {
            fs::create_dir_all(path()).unwrap();
            let (source, target) = (text("source"), path());
            bind(dirs, Path::new(&source), &target)
        }
        "write_bytesname" => {
            let name = hex(&text("name_hex"));
            make(&Path::new(&text("dir")).join(OsStr::from_bytes(&name)), text("text").as_bytes())
        }
        "many" => {
            let dir = PathBuf::from(text("dir"));
            (0..number("n")).try_for_each(|at| make(&dir.join(format!("f{at}")), b"PUBLIC"))
        }
        "deep" => deep(Path::new(&text("dir")), number("n")),
        "evil_zip" => make(&path(), b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        other => panic!("the battery has a new preparation: {other}"),
    };
    result.map_err(|error| format!("{}: {error}", op["op"]))
}

fn make(path: &Path, content: &[u8]) -> std::io::Result<()> {
    fs::create_dir_all(path.parent().unwrap())?;
    fs::write(path, content)
}

pub(super) fn mknod(path: &Path, kind: FileType, device: u64) -> std::io::Result<()> {
    Ok(mknodat(CWD, path, kind, Mode::from_raw_mode(0o666), device)?)
}

pub(super) fn bind(dirs: &mut Dirs, source: &Path, target: &Path) -> std::io::Result<()> {
    let mut command = std::process::Command::new("mount");
    let done = command.arg("--bind").arg(source).arg(target).output()?;
    if !done.status.success() {
        return Err(std::io::Error::other(String::from_utf8_lossy(&done.stderr).into_owned()));
    }
    dirs.mounts.push(target.to_owned());
    Ok(())
}

/// `d/d/d/…`, deeper than any path can say.
fn deep(dir: &Path, levels: u64) -> std::io::Result<()> {
    let mut at = rustix::fs::open(dir, rustix::fs::OFlags::DIRECTORY, Mode::empty())?;
    for _ in 0..levels {
        rustix::fs::mkdirat(&at, "d", Mode::from_raw_mode(0o755))?;
        at = rustix::fs::openat(&at, "d", rustix::fs::OFlags::DIRECTORY, Mode::empty())?;
    }
    Ok(())
}

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}
