//! A workspace on disk, and an engine, for this crate's own tests.

#![expect(
    clippy::disallowed_methods,
    reason = "fixtures are made on disk, in a temporary directory"
)]

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use roothold_core::files::SourceFile;
use roothold_core::{
    Access, Action, Actions, Budget, Fault, FilePath, Hardlinks, Policy, PolicySpec, Principal,
    RootPatterns, RootSpec, Roots, Verb,
};
use tempfile::TempDir;

use crate::{Answer, Engine, EngineSpec, Limits, Meter, Query, Source, SourceOptions};

pub(crate) struct Workspace {
    dir: TempDir,
}

impl Workspace {
    pub(crate) fn new() -> Self {
        Self { dir: TempDir::new().unwrap() }
    }

    pub(crate) fn disk(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        fs::write(self.disk(name), content).unwrap();
        self
    }

    pub(crate) fn open(&self, name: &str) -> SourceFile {
        let root = RootSpec {
            uri: "file:///data".to_owned(),
            name: "data".to_owned(),
            description: String::new(),
            path: self.dir.path().to_owned(),
            access: Access::ReadOnly,
            patterns: RootPatterns::default(),
            hardlinks: Hardlinks::Deny,
            mounts: Vec::new(),
        };
        let policy =
            Policy::new(Roots::open(&[root]).unwrap(), PolicySpec::default(), &[]).unwrap();
        let path = FilePath::parse(&format!("/data/{name}")).unwrap();
        let actions = Actions::one(Action::file(Verb::Read, path));
        let permits = policy.decide(&Principal::local(), "a_tool", &actions).unwrap();
        SourceFile::open(&permits[0]).unwrap()
    }

    pub(crate) fn source(&self, name: &str) -> Source {
        self.source_with(name, SourceOptions::default())
    }

    pub(crate) fn source_with(&self, name: &str, options: SourceOptions) -> Source {
        Source::new(vec![self.open(name)], options, Vec::new()).unwrap()
    }
}

pub(crate) fn engine() -> Engine {
    engine_with(Limits::default())
}

pub(crate) fn engine_with(limits: Limits) -> Engine {
    let memory_bytes = 64 * 1024 * 1024;
    Engine::start(EngineSpec { threads: 2, memory_bytes, limits, ..EngineSpec::default() }).unwrap()
}

pub(crate) fn budget() -> Budget {
    Budget::new(64 * 1024, 10_000, Duration::from_mins(2))
}

pub(crate) fn meter() -> Arc<Meter> {
    Arc::new(Meter::new(&budget()))
}

pub(crate) fn query(sql: &str, tables: &[(&str, &Source)]) -> Query {
    Query {
        sql: sql.to_owned(),
        parameters: Vec::new(),
        tables: tables
            .iter()
            .map(|(name, source)| ((*name).to_owned(), (*source).clone()))
            .collect(),
        offset: 0,
        rows_max: 1000,
        bytes_max: 64 * 1024,
    }
}

/// Waits for a future on a runtime of the test's own.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// The answer to a query over one source called `t`.
pub(crate) fn ask(source: &Source, sql: &str) -> Result<Answer, Fault> {
    let engine = engine();
    wait(engine.query(&query(sql, &[("t", source)]), &budget()))
}

/// Its rows as one JSON text.
pub(crate) fn rows(source: &Source, sql: &str) -> String {
    serde_json::to_string(&ask(source, sql).unwrap().table.rows).unwrap()
}
