//! What the core promises, asked through its public interface.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "fixtures are made on disk, in a temporary directory; what fails here fails the test"
)]

mod model;
mod race;
