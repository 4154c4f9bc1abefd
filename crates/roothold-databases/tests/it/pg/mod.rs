//! PostgreSQL: types, rights, sessions, outages.

mod becoming;
mod cancel;
mod describe;
mod hostile;
mod load;
mod outage;
mod rights;
mod types;
mod write;

use roothold_databases::{Secret, Source, SourceKind, SourceSpec};
use roothold_testing::Postgres;

/// A source of a database that [`Postgres::database`] made.
fn source(server: &Postgres, name: &str) -> Source {
    Source::new(spec(server, name)).unwrap()
}

fn spec(server: &Postgres, name: &str) -> SourceSpec {
    SourceSpec::new(name, SourceKind::Postgres, Secret::new(server.url(name, name)))
}
