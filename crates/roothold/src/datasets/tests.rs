#![expect(
    clippy::disallowed_methods,
    reason = "the files are made on disk, as another program would"
)]

use std::fs;
use std::time::Duration;

use roothold_core::{Budget, Policy, PolicySpec, Principal, RootSpec, Roots, Verb};

use super::source::Opened;
use super::*;
use crate::config::{AccessWord, RootSection};

/// A root with files, and a configuration that names some of them.
struct Workspace {
    dir: tempfile::TempDir,
    config: Config,
}

impl Workspace {
    fn new(files: &[(&str, &str)], datasets: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join("root").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let mut config: Config = toml::from_str(datasets).unwrap();
        let mut root = RootSection::of(dir.path().join("root"), AccessWord::Ro);
        root.uri = Some("file:///data".to_owned());
        config.roots.push(root);
        config.dataset_engine.spill_dir = Some(dir.path().join("spill"));
        Self { dir, config }
    }

    fn policy(&self) -> Policy {
        let specs: Vec<RootSpec> = self.config.root_specs().unwrap();
        Policy::new(Roots::open(&specs).unwrap(), PolicySpec::default(), &[]).unwrap()
    }

    fn datasets(&self) -> Datasets {
        Datasets::new(&self.config, &Known::default()).unwrap()
    }

    fn open(&self, text: &str) -> Result<Opened, Fault> {
        let datasets = self.datasets();
        let source = SourceArg::parse(text, datasets.known())?;
        let actions = actions_of([&source], [])?;
        let permits = self.policy().decide_each(&Principal::local(), "t", &actions)?;
        datasets.open(&mut permits.into_iter(), &source, None, &budget())
    }
}

fn budget() -> Budget {
    Budget::new(65_536, 100, Duration::from_mins(1))
}

fn paths(opened: &Opened) -> Vec<String> {
    opened.source.files().iter().map(|file| file.path()).collect()
}

const FILES: [(&str, &str); 5] = [
    ("a.csv", "n,secret\n1,x\n"),
    ("b.csv", "n,secret\n2,y\n"),
    ("sub/c.csv", "n\n3\n"),
    ("sub/.env", "KEY=1"),
    ("odd[1].csv", "n\n4\n"),
];

#[test]
fn a_name_a_path_a_uri_and_a_glob_are_sources() {
    let datasets = "[[datasets]]\nname = \"both\"\nfiles = [\"/data/a.csv\", \"/data/?.csv\"]\n";
    let space = Workspace::new(&FILES, datasets);
    for (text, found) in [
        ("both", &["/data/a.csv", "/data/b.csv"][..]),
        ("/data/a.csv", &["/data/a.csv"]),
        ("a.csv", &["/data/a.csv"]),
        ("file:///data/odd%5B1%5D.csv", &["/data/odd[1].csv"]),
        ("/data/**/*.csv", &["/data/a.csv", "/data/b.csv", "/data/odd[1].csv", "/data/sub/c.csv"]),
        ("*.csv", &["/data/a.csv", "/data/b.csv", "/data/odd[1].csv"]),
        ("/data/sub/{c,d}.csv", &["/data/sub/c.csv"]),
        ("/data/odd\\[1].csv", &["/data/odd[1].csv"]),
        ("/data/su[b]/c.csv", &["/data/sub/c.csv"]),
    ] {
        assert_eq!(paths(&space.open(text).unwrap()), *found, "{text}");
    }
}

#[test]
fn what_is_no_source_says_what_to_do() {
    let space = Workspace::new(&FILES, "");
    for (text, kind, says) in [
        ("", FaultKind::Invalid, "empty"),
        ("s3://bucket/a.csv", FaultKind::Denied, "no such store"),
        ("s3://bucket/*.csv", FaultKind::Denied, "no such store"),
        ("https://169.254.169.254/a.csv", FaultKind::Denied, "no such store"),
        ("https://host/a.csv?sig=x", FaultKind::Invalid, "query"),
        ("s3://key:secret@bucket/a.csv", FaultKind::Invalid, "user"),
        ("sales", FaultKind::Invalid, "no dataset is called `sales`"),
        ("./sales", FaultKind::NotFound, ""),
        ("/data/*/", FaultKind::Invalid, "glob"),
        ("/data/[", FaultKind::Invalid, "glob"),
        ("/data/*\n.csv", FaultKind::Invalid, "control"),
        ("/data/*/../../etc/*", FaultKind::Invalid, "glob"),
        ("/etc/*", FaultKind::Denied, "roots"),
        ("/*", FaultKind::Denied, "roots"),
        ("/data/../etc/*.csv", FaultKind::Denied, ""),
        ("/data/none*.csv", FaultKind::NotFound, "list_datasets"),
        ("/data/none.csv", FaultKind::NotFound, ""),
        ("/data/sub/.env", FaultKind::Denied, "exclude"),
        ("/data/sub/.e*", FaultKind::NotFound, "no file that you may read"),
        ("/data/sub", FaultKind::Unsupported, ""),
    ] {
        let fault = space.open(text).unwrap_err();
        assert_eq!(fault.kind(), kind, "{text}: {fault}");
        assert!(fault.public().contains(says), "{text}: {fault}");
    }
}

#[test]
fn a_glob_leaves_empty_files_out_and_says_so() {
    let space = Workspace::new(&[("a.csv", "n\n1\n"), ("b.csv", ""), ("none/c.csv", "")], "");
    let opened = space.open("/data/*.csv").unwrap();
    assert_eq!(paths(&opened), ["/data/a.csv"]);
    assert_eq!(opened.notes, ["/data/b.csv was left out: it is empty"]);
    let fault = space.open("/data/none/*").unwrap_err();
    assert_eq!(fault.kind(), FaultKind::NotFound);
    assert!(fault.public().contains("/data/none/c.csv was left out: it is empty"), "{fault}");
}

#[test]
fn a_call_says_every_file_and_directory_that_it_would_touch() {
    let datasets =
        "[[datasets]]\nname = \"both\"\nfiles = [\"/data/a.csv\", \"/data/sub/*.csv\"]\n";
    let space = Workspace::new(&FILES, datasets);
    let known = space.datasets().known().clone();
    let shown = |text: &str| {
        let source = SourceArg::parse(text, &known).unwrap();
        let actions = actions_of([&source], []).unwrap();
        let shown = |action: &roothold_core::Action| {
            format!("{} {}", action.verb.name(), action.target_shown())
        };
        actions.as_slice().iter().map(shown).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(shown("both"), "use dataset both, read /data/a.csv, search /data/sub");
    assert_eq!(shown("/data/sub/**"), "use datasets, search /data/sub");
    assert!(actions_of([], []).is_err());
    let source = SourceArg::parse("both", &known).unwrap();
    let scopes = roothold_core::Scopes::parse("files:read");
    let decided = space.policy().decide_each(
        &Principal::new("anna", scopes),
        "t",
        &actions_of([&source], []).unwrap(),
    );
    assert_eq!(decided.unwrap_err().missing_scopes(), Some("datasets:read"));
    assert_eq!(Verb::Use.name(), "use");
}

#[test]
fn hidden_columns_stay_hidden_by_whichever_path() {
    let datasets = "[[datasets]]\nname = \"open\"\nfiles = [\"/data/*.csv\"]\n\
                    [[datasets]]\nname = \"kept\"\nfiles = [\"/data/[ab].csv\"]\nhidden_columns = [\"Secret\"]\n";
    let space = Workspace::new(&FILES, datasets);
    for text in ["kept", "open", "/data/a.csv", "/data/**", "file:///data/b.csv"] {
        let opened = space.open(text).unwrap();
        let reading = roothold_datasets::SourceOptions {
            format: Some(roothold_datasets::Format::Text),
            ..Default::default()
        };
        let fault = opened.source.with_options(reading).unwrap_err();
        assert!(fault.public().contains("operator"), "{text}: {fault}");
    }
    let reading = roothold_datasets::SourceOptions { header: Some(false), ..Default::default() };
    assert!(space.open("/data/sub/c.csv").unwrap().source.with_options(reading).is_ok());
}

#[test]
fn a_dataset_that_cannot_be_is_refused_with_its_name() {
    for (section, says) in [
        ("files = [\"/data/[\"]", "the glob"),
        ("files = [\"/data/../x.csv\"]", "`..`"),
        ("files = [\"/data/a.csv\"]\ndelimiter = \"é\"", "ASCII"),
        ("files = [\"/data/a.csv\"]\nhidden_columns = [\"a\"]\nheader = false", "hidden_columns"),
        (
            "files = [\"/data/a.csv\"]\nhidden_columns = [\"a\"]\nformat = \"text\"",
            "hidden_columns",
        ),
    ] {
        let space = Workspace::new(&[], &format!("[[datasets]]\nname = \"d\"\n{section}\n"));
        let error = Datasets::new(&space.config, &Known::default()).unwrap_err().to_string();
        assert!(error.starts_with("datasets: `d`: ") && error.contains(says), "{error}");
    }
    let space =
        Workspace::new(&FILES, "[[datasets]]\nname = \"d\"\nfiles = [\"/elsewhere/*.csv\"]\n");
    let error = space.datasets().check_places(space.policy().roots()).unwrap_err().to_string();
    assert!(error.contains("`d` names /elsewhere, which lies in no root"), "{error}");
}

#[tokio::test]
async fn the_engine_starts_once_when_it_is_needed_in_a_private_folder() {
    use std::os::unix::fs::PermissionsExt as _;
    let space = Workspace::new(&FILES, "");
    let mut datasets = space.datasets();
    datasets.make_directory().unwrap();
    let spill = space.dir.path().join("spill");
    let mode = fs::metadata(&spill).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    assert_eq!(fs::read_dir(&spill).unwrap().count(), 0, "nothing before it is needed");
    let (one, two) = tokio::join!(datasets.engine(), datasets.engine());
    assert_eq!(one.unwrap().figures(), two.unwrap().figures());
    assert_eq!(fs::read_dir(&spill).unwrap().count(), 1);
    drop(datasets);
    assert_eq!(fs::read_dir(&spill).unwrap().count(), 0);
}

#[test]
fn a_directory_for_spilling_that_cannot_be_made_is_told() {
    let mut space = Workspace::new(&FILES, "");
    let below = space.dir.path().join("root/a.csv/spill");
    space.config.dataset_engine.spill_dir = Some(below);
    let error = space.datasets().make_directory().unwrap_err().to_string();
    assert!(error.starts_with("dataset_engine.spill_dir: "), "{error}");
    space.config.dataset_engine.spill_free_bytes_min = Some(7);
    assert_eq!(space.datasets().spec.spill_free_bytes_min, Some(7));
    space.config.dataset_engine.spill_dir = None;
    space.config.state.dir = Some(space.dir.path().join("root/a.csv"));
    let mut datasets = space.datasets();
    datasets.make_directory().unwrap();
    assert_eq!(datasets.spill_directory(), None, "the usual one is done without");
}
