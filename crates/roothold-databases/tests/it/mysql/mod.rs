//! MariaDB: hostile statements, types, rights, sessions, outages.

mod battery;
mod cancel;
mod describe;
mod explain;
mod load;
mod outage;
mod rights;
mod rogue;
mod types;
mod walls;
mod write;

use roothold_databases::{Secret, Source, SourceKind, SourceSpec};
use roothold_testing::MariaDb;

/// A source of a database that [`MariaDb::database`] made.
fn source(server: &MariaDb, name: &str) -> Source {
    Source::new(spec(server, name)).unwrap()
}

fn spec(server: &MariaDb, name: &str) -> SourceSpec {
    SourceSpec::new(name, SourceKind::MySql, Secret::new(server.url(name, name)))
}
