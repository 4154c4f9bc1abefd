//! Tests of what is kept and for how long, on real files and a clock of their own.

#![expect(
    clippy::disallowed_methods,
    reason = "fixtures are made on disk, in a temporary directory"
)]

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::fstat;

use super::*;
use crate::files::stamp::QUIET_SECONDS;
use crate::gate::Opened;

const MANY: usize = 1 << 20;

fn open(path: &Path) -> Opened {
    let handle = OwnedFd::from(fs::File::open(path).unwrap());
    Opened { stat: fstat(&handle).unwrap(), handle, rel: Vec::new() }
}

fn later() -> i64 {
    seconds() + 2 * QUIET_SECONDS
}

impl<T> Store<T> {
    /// A store to which all files are quiet.
    pub(in crate::files) fn trusting(bytes_max: usize) -> Self {
        Self { clock: later, ..Self::new(bytes_max) }
    }

    fn put(&self, opened: &Opened, value: T, bytes: usize) {
        self.put_at(0, opened, value, bytes);
    }

    fn put_at(&self, used_seconds: u64, opened: &Opened, value: T, bytes: usize) {
        let keeping = Keeping(Stamp::from(&opened.stat));
        self.keep_since(used_seconds, &keeping, Arc::new(value), bytes);
    }
}

fn may_keep<T>(store: &Store<T>, opened: &Opened) -> bool {
    store.keeping(&opened.handle, &opened.stat).is_some()
}

#[test]
fn a_value_is_given_until_its_file_changes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    fs::write(&path, "one").unwrap();
    let (store, opened) = (Store::trusting(MANY), open(&path));
    assert!(store.get(&opened.stat).is_none());
    let keeping = store.keeping(&opened.handle, &opened.stat).unwrap();
    store.keep(&keeping, Arc::new(1), 10);
    assert_eq!(store.get(&opened.stat).as_deref(), Some(&1));
    assert_eq!(
        store.figures(),
        CacheFigures { hits: 1, misses: 1, bytes: 10 + FRAME_BYTES as u64 }
    );
    // The clock of a file system moves in ticks of some milliseconds.
    for change in [
        |stat: &mut Stat| stat.st_mtime_nsec += 1,
        |stat: &mut Stat| stat.st_ctime_nsec += 1,
        |stat: &mut Stat| stat.st_size += 1,
        |stat: &mut Stat| stat.st_ino += 1,
        |stat: &mut Stat| stat.st_dev += 1,
    ] {
        let mut changed = open(&path);
        change(&mut changed.stat);
        assert!(store.get(&changed.stat).is_none());
    }
    // The same file under another name holds the same.
    fs::hard_link(&path, dir.path().join("g")).unwrap();
    assert!(store.get(&open(&path).stat).is_none(), "a new name changes the ctime");
    // A new value takes the place of the old one.
    let grown = open(&path);
    store.put(&grown, 2, 20);
    assert_eq!(store.get(&open(&dir.path().join("g")).stat).as_deref(), Some(&2));
    assert_eq!(store.figures().bytes, 20 + FRAME_BYTES as u64);
}

#[test]
fn a_file_that_just_changed_is_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    fs::write(&path, "one").unwrap();
    let store: Store<u8> = Store::new(MANY);
    assert!(!may_keep(&store, &open(&path)));
    let trusting: Store<u8> = Store::trusting(MANY);
    assert!(may_keep(&trusting, &open(&path)));
    // Times of another machine's clock say nothing: /proc stands for a network here.
    assert!(!may_keep(&trusting, &open(Path::new("/proc/version"))));
}

#[test]
fn what_is_kept_has_a_limit_and_can_be_switched_off() {
    let dir = tempfile::tempdir().unwrap();
    let files: Vec<Opened> = (0..20)
        .map(|at| {
            let path = dir.path().join(at.to_string());
            fs::write(&path, "").unwrap();
            open(&path)
        })
        .collect();
    let limit = 10 * (1000 + FRAME_BYTES);
    let store = Store::trusting(limit);
    for (at, file) in files.iter().enumerate() {
        store.put_at(at as u64, file, at, 1000);
        assert!(store.figures().bytes <= limit as u64);
    }
    let kept: Vec<bool> = files.iter().map(|file| store.look(&file.stat).is_some()).collect();
    let first = kept.iter().position(|kept| *kept).unwrap();
    assert!(kept[first..].iter().all(|kept| *kept), "the oldest went first");
    assert!(store.figures().bytes > limit as u64 / 2);
    let held =
        |store: &Store<usize>| files.iter().filter(|f| store.look(&f.stat).is_some()).count();
    assert_eq!(held(&store) as u64, store.figures().bytes / (1000 + FRAME_BYTES as u64));
    store.put(&files[0], 0, limit / PART_MAX + 1);
    assert!(store.figures().bytes <= limit as u64, "too large a part of the whole");
    store.set_bytes_max(0);
    assert_eq!((held(&store), store.figures().bytes), (0, 0));
    assert!(!may_keep(&store, &files[0]));
    let before = store.figures();
    assert!(store.get(&files[0].stat).is_none());
    assert_eq!(store.figures(), before, "what is off counts nothing");
}

#[test]
fn what_is_not_used_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    fs::write(&path, "").unwrap();
    let (store, opened) = (Store::trusting(MANY), open(&path));
    store.put(&opened, (), 10);
    let idle = Store::<()>::IDLE_MAX;
    assert!(!store.drop_unused(Duration::from_secs(299)));
    assert!(store.look(&opened.stat).is_some());
    assert!(store.drop_unused(idle + Duration::from_secs(5)));
    assert_eq!(store.figures().bytes, 0);
    assert!(!store.drop_idle());
    store.set_idle_max(Duration::from_secs(10));
    store.put_at(60, &opened, (), 10);
    assert!(!store.drop_unused(Duration::from_secs(69)));
    assert!(store.drop_unused(Duration::from_secs(70)));
    assert_eq!((store.figures().bytes, store.lock().files.len()), (0, 0));
}
