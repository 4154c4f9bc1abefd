//! Where the file is, and what of the disk the call is granted: its directory to read, and that of
//! an output to write that one file.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, bail, ensure};

use super::super::disk::{self, Kind};
use super::super::table::counted;
use crate::config::{AccessWord, RootSection};

/// What stands for other characters in a glob.
const GLOB: [char; 5] = ['*', '?', '[', '{', '\\'];

/// The file or files, and the output if there is one.
#[derive(Debug)]
pub(super) struct Place {
    /// As it was written.
    shown: String,
    /// The directory of the file, without links.
    directory: PathBuf,
    data_source: String,
    output: Option<PathBuf>,
}

impl Place {
    /// Finds the files and the directory of the output.
    ///
    /// # Errors
    /// For what is not there, is no file, or cannot be read twice.
    pub(super) fn of(files: &[PathBuf], output: Option<&Path>) -> anyhow::Result<Self> {
        let (directory, data_source) = match files {
            [glob] if is_glob(glob)? => several(glob)?,
            files => {
                let mut real =
                    files.iter().map(|file| file_at(file)).collect::<anyhow::Result<Vec<_>>>()?;
                real.sort();
                real.dedup();
                match &real[..] {
                    [file] => (directory_of(file).to_owned(), uri(file)),
                    files => together(files)?,
                }
            }
        };
        let output = output.map(place_of_output).transpose()?;
        if let Some(output) = &output {
            let is_it = |file: &PathBuf| disk::real(file).is_ok_and(|real| real == *output);
            ensure!(!files.iter().any(is_it), "the output is the file itself; name another one");
        }
        let shown = match files {
            [file] => file.display().to_string(),
            [first, more @ ..] => format!("{} and {} more", first.display(), more.len()),
            [] => String::new(),
        };
        Ok(Self { shown, directory, data_source, output })
    }

    /// The file as it was written on the command line.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// The file as the tool is told of it.
    pub(super) fn data_source(&self) -> &str {
        &self.data_source
    }

    /// The output as the tool is told of it.
    pub(super) fn output(&self) -> Option<String> {
        self.output.as_deref().map(uri)
    }

    /// The output, for people.
    pub(super) fn output_shown(&self) -> Option<String> {
        self.output.as_ref().map(|output| output.display().to_string())
    }

    /// What the call may touch. Roots must not overlap: where one directory is below the other,
    /// the upper one is the root of both, and still nothing but the output can be written.
    pub(super) fn roots(&self) -> Vec<RootSection> {
        let root = |path: &Path, access| RootSection::of(path.to_owned(), access);
        let Some(output) = &self.output else {
            return vec![root(&self.directory, AccessWord::Ro)];
        };
        let target = output.parent().unwrap_or(output);
        let upper = match (self.directory.starts_with(target), target.starts_with(&self.directory))
        {
            (true, _) => target,
            (_, true) => &self.directory,
            (false, false) => {
                let read = root(&self.directory, AccessWord::Ro);
                return vec![read, writable(target, output)];
            }
        };
        vec![writable(upper, output)]
    }
}

#[cfg(test)]
impl Place {
    /// A file of this name that nothing is known of.
    pub(super) fn named(shown: &str) -> Self {
        let (directory, data_source) = (PathBuf::new(), String::new());
        Self { shown: shown.to_owned(), directory, data_source, output: None }
    }
}

/// A root in which this one file can be written.
fn writable(directory: &Path, output: &Path) -> RootSection {
    let below = output.strip_prefix(directory).unwrap_or(output).to_string_lossy().into_owned();
    let write = Some(vec![format!("/{}", escaped(&below))]);
    RootSection { write, ..RootSection::of(directory.to_owned(), AccessWord::Rw) }
}

/// Whether there is no file of this name, and it is a pattern.
fn is_glob(file: &Path) -> anyhow::Result<bool> {
    Ok(file.to_string_lossy().contains(GLOB) && disk::kind(file)?.is_none())
}

/// The absolute path of a file, without links.
fn file_at(file: &Path) -> anyhow::Result<PathBuf> {
    ensure!(
        file.as_os_str() != "-",
        "a file is looked at before it is read, so it cannot come from a pipe; write it to a file first"
    );
    let shown = file.display().to_string();
    match disk::kind(file)? {
        Some(Kind::File) => disk::real(file),
        Some(Kind::Directory) => bail!(
            "{shown} is a directory; name a file, or its files by a glob in quotes, such as '{}/*.csv'",
            shown.trim_end_matches('/')
        ),
        Some(Kind::Other) => bail!(
            "{shown} is a pipe or a device; it is looked at before it is read, so write it to a file first"
        ),
        None if shown.contains(GLOB) => {
            bail!("`{shown}` is a glob; name files, or one glob in quotes")
        }
        None => bail!("there is no file {shown}"),
    }
}

fn directory_of(file: &Path) -> &Path {
    file.parent().unwrap_or(file)
}

/// Files that a shell may have found for a glob, as one again: the directory that all are in, and
/// a pattern that nothing else matches.
fn together(files: &[PathBuf]) -> anyhow::Result<(PathBuf, String)> {
    let mut directory = directory_of(&files[0]);
    while !files.iter().all(|file| file.starts_with(directory)) {
        directory = directory_of(directory);
    }
    let names =
        files.iter().map(|file| Ok(escaped(&text(file.strip_prefix(directory).unwrap_or(file))?)));
    let names = names.collect::<anyhow::Result<Vec<_>>>()?.join(",");
    let (directory, between) = plain_part(directory)?;
    let glob = [between, format!("{{{names}}}")]
        .iter()
        .filter(|part| !part.is_empty())
        .cloned()
        .collect::<Vec<_>>()
        .join("/");
    ensure!(
        glob.len() <= roothold_core::PathGlobs::GLOB_BYTES_MAX,
        "{} are too many to be named one by one; write a glob in quotes, such as 'data/*.csv'",
        counted(files.len() as u64, "file", "files")
    );
    let data_source = format!("{}/{glob}", text(&directory)?.trim_end_matches('/'));
    Ok((directory, data_source))
}

fn text(path: &Path) -> anyhow::Result<String> {
    let text = path.to_str().map(str::to_owned);
    text.with_context(|| format!("{} is not UTF-8; name one file", path.display()))
}

/// The part of a directory in which nothing can be taken for a glob, and the rest as a pattern.
fn plain_part(directory: &Path) -> anyhow::Result<(PathBuf, String)> {
    let plain: PathBuf = directory.components().take_while(is_plain).collect();
    let rest = escaped(&text(directory.strip_prefix(&plain).unwrap_or(Path::new("")))?);
    Ok((plain, rest))
}

fn is_plain(part: &Component<'_>) -> bool {
    !part.as_os_str().to_string_lossy().contains(GLOB)
}

/// The files of a glob: the directory that all are in, and the glob with that directory as it is
/// without links.
fn several(glob: &Path) -> anyhow::Result<(PathBuf, String)> {
    let fixed: PathBuf = glob.components().take_while(is_plain).collect();
    let rest: PathBuf = glob.components().skip_while(is_plain).collect();
    let here = if fixed.as_os_str().is_empty() { Path::new(".") } else { &fixed };
    ensure!(disk::is_directory(here), "there is no directory {}", here.display());
    // What is no glob in the directory's own name is not to be taken for one.
    let (directory, between) = plain_part(&disk::real(here)?)?;
    let parts = [text(&directory)?, between, text(&rest)?];
    let parts: Vec<&str> =
        parts.iter().map(|part| part.trim_matches('/')).filter(|part| !part.is_empty()).collect();
    Ok((directory, format!("/{}", parts.join("/"))))
}

/// The output without links in its directory; it need not be there yet.
fn place_of_output(output: &Path) -> anyhow::Result<PathBuf> {
    let name = output
        .file_name()
        .with_context(|| format!("{} names no file to write", output.display()))?;
    ensure!(
        name.to_str().is_some(),
        "the name {} is not UTF-8; name the output otherwise",
        output.display()
    );
    let directory = disk::directory_of(output);
    ensure!(
        disk::is_directory(directory),
        "{} has no directory yet; make it first",
        output.display()
    );
    ensure!(
        disk::kind(output)? != Some(Kind::Directory),
        "{} is a directory; name a file in it",
        output.display()
    );
    Ok(disk::real(directory)?.join(name))
}

/// The path as a pattern that nothing else matches.
fn escaped(path: &str) -> String {
    let mut pattern = String::with_capacity(path.len());
    for c in path.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '{' | '}' | '!' | ',' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

/// The `file://` URI of an absolute path.
fn uri(path: &Path) -> String {
    let bytes = path.as_os_str().as_bytes();
    roothold_core::uri(bytes.strip_prefix(b"/").unwrap_or(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Home(tempfile::TempDir);

    impl Home {
        fn new(files: &[&str]) -> Self {
            let home = Self(tempfile::tempdir().unwrap());
            for file in files {
                let path = home.at(file);
                disk::write_new(&path, "x").unwrap();
            }
            home
        }

        fn at(&self, path: &str) -> PathBuf {
            // The temporary directory itself may be behind a link.
            disk::real(self.0.path()).unwrap().join(path)
        }

        fn place(&self, file: &str, output: Option<&str>) -> Result<Place, String> {
            let output = output.map(|output| self.at(output));
            Place::of(&[self.at(file)], output.as_deref()).map_err(|error| error.to_string())
        }
    }

    fn granted(place: &Place) -> Vec<(PathBuf, AccessWord, Option<Vec<String>>)> {
        let roots = place.roots().into_iter();
        roots.map(|root| (root.path, root.access, root.write)).collect()
    }

    #[test]
    fn a_file_is_read_where_it_is_and_its_name_is_no_glob() {
        let home = Home::new(&["a/b [1].csv"]);
        let place = home.place("a/b [1].csv", None).unwrap();
        assert_eq!(granted(&place), [(home.at("a"), AccessWord::Ro, None)]);
        let uri = place.data_source();
        assert!(uri.starts_with("file:///") && uri.ends_with("/a/b%20%5B1%5D.csv"), "{uri}");
        std::os::unix::fs::symlink(home.at("a/b [1].csv"), home.at("link")).unwrap();
        assert_eq!(home.place("link", None).unwrap().data_source(), uri);
    }

    #[test]
    fn a_glob_is_read_below_its_fixed_part() {
        let home = Home::new(&["a/2026/x.csv", "w[1]/d/x.csv"]);
        let place = home.place("a/*/x.csv", None).unwrap();
        assert_eq!(granted(&place), [(home.at("a"), AccessWord::Ro, None)]);
        assert_eq!(place.data_source(), home.at("a/*/x.csv").to_str().unwrap());
        let error = home.place("none/*.csv", None).unwrap_err();
        assert!(error.starts_with("there is no directory") && error.ends_with("none"), "{error}");
        // The glob begins in the first part that could be one.
        let odd = several(&home.at("w[1]/d/x.csv")).unwrap();
        assert_eq!(odd.0, home.at(""));
    }

    #[test]
    fn files_that_a_shell_found_are_one_again() {
        let home = Home::new(&["a/1.csv", "a/{2},.csv", "a/b/3.csv", "[x]/4.csv"]);
        let of = |files: &[&str]| {
            let files: Vec<PathBuf> = files.iter().map(|file| home.at(file)).collect();
            let place = Place::of(&files, None).unwrap();
            let base = home.at("").to_str().unwrap().to_owned();
            (place.directory.clone(), place.data_source().replacen(&base, "", 1))
        };
        assert_eq!(
            of(&["a/1.csv", "a/{2},.csv"]),
            (home.at("a"), "a/{1.csv,\\{2\\}\\,.csv}".to_owned())
        );
        assert_eq!(of(&["a/b/3.csv", "a/1.csv"]), (home.at("a"), "a/{1.csv,b/3.csv}".to_owned()));
        let once = of(&["a/1.csv", "a/1.csv"]);
        assert!(once.1.starts_with("file://"), "{once:?}");
        assert_eq!(of(&["[x]/4.csv", "a/1.csv"]).1, "{\\[x\\]/4.csv,a/1.csv}");
        let globs = roothold_core::PathGlobs::new(&["{1.csv,\\{2\\}\\,.csv}"]).unwrap();
        assert!(globs.matches(b"1.csv") && globs.matches(b"{2},.csv") && !globs.matches(b"2"));
        let many: Vec<PathBuf> = (0..300).map(|n| home.at(&format!("many/file-{n}.csv"))).collect();
        for file in &many {
            disk::write_new(file, "x").unwrap();
        }
        let error = Place::of(&many, None).unwrap_err().to_string();
        assert!(error.starts_with("300 files are too many"), "{error}");
    }

    #[test]
    fn only_the_output_can_be_written_wherever_it_is() {
        let home = Home::new(&["a/in.csv", "a/deep/x", "b/x"]);
        let one = |path: &str, write: &str| {
            vec![(home.at(path), AccessWord::Rw, Some(vec![write.to_owned()]))]
        };
        let of = |output: &str| granted(&home.place("a/in.csv", Some(output)).unwrap());
        assert_eq!(of("a/out.csv"), one("a", "/out.csv"));
        assert_eq!(of("a/deep/{o}.csv"), one("a", "/deep/\\{o\\}.csv"));
        assert_eq!(of("out.csv"), one("", "/out.csv"));
        let mut apart = vec![(home.at("a"), AccessWord::Ro, None)];
        apart.extend(one("b", "/out.csv"));
        assert_eq!(of("b/out.csv"), apart);
    }

    #[test]
    fn what_is_no_file_is_refused_in_words() {
        let home = Home::new(&["a/in.csv"]);
        rustix::fs::mknodat(
            rustix::fs::CWD,
            home.at("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
        for (file, output, expected) in [
            ("none.csv", None, "there is no file"),
            ("a", None, "is a directory; name a file"),
            ("pipe", None, "is a pipe or a device"),
            ("a/in.csv", Some("a/in.csv"), "the output is the file itself"),
            ("a/in.csv", Some("none/out.csv"), "has no directory yet"),
            ("a/in.csv", Some("a"), "is a directory; name a file in it"),
            ("a/in.csv", Some(".."), "names no file"),
        ] {
            let error = home.place(file, output).unwrap_err();
            assert!(error.contains(expected), "{file} {output:?}: {error}");
        }
        let stdin = Place::of(&[PathBuf::from("-")], None).unwrap_err().to_string();
        assert!(stdin.contains("cannot come from a pipe"), "{stdin}");
    }
}
