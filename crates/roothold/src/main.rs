//! The binary: everything is in the library.

use std::process::ExitCode;

/// A call makes some fifty small allocations; glibc's allocator took a quarter of its instructions.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ExitCode::from(roothold::cli::run())
}
