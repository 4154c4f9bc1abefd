//! PostgreSQL: types, rights, sessions, outages.

mod cancel;
mod describe;
mod hostile;
mod load;
mod outage;
mod rights;
mod types;
mod write;

use roothold_databases::{Secret, Source, SourceKind, SourceSpec};

use crate::server::Server;

/// A source of a database that [`Server::database`] made.
fn source(server: &Server, name: &str) -> Source {
    Source::new(spec(server, name)).unwrap()
}

fn spec(server: &Server, name: &str) -> SourceSpec {
    SourceSpec::new(name, SourceKind::Postgres, Secret::new(server.url(name, name)))
}
