//! A server under test, a client for it, and what both need.

mod audit;
mod client;
mod dirs;
mod schema;
mod server;
mod stdio;
mod strace;
mod way;

pub(crate) use audit::Audit;
pub(crate) use client::{Asked, Conn, Reply, Request, outcome, texts};
pub(crate) use dirs::{Dirs, find_canary};
pub(crate) use schema::misfit;
pub(crate) use server::{Server, Spec, custom_tool_binary, under_profile};
pub(crate) use stdio::Stdio;
pub(crate) use strace::Strace;
pub(crate) use way::Way;

/// The hash by which a write says which content it means.
pub(crate) fn content_hash(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(bytes);
    digest[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether the long forms of the tests run: the battery's own numbers.
pub(crate) fn full() -> bool {
    std::env::var_os("ROOTHOLD_TEST_FULL").is_some_and(|value| value == "1")
}
