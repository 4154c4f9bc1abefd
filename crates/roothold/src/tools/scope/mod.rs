//! What the caller can reach.

mod list_allowed_directories;
mod list_roots;

pub(super) use list_allowed_directories::ListAllowedDirectories;
pub(super) use list_roots::ListRoots;
