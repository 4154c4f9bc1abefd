//! The built-in tools: one file each, one line each below.

mod find;
mod many;
mod media;
pub(crate) mod page;
mod read;
mod scope;
mod write;

use crate::catalog::Catalog;

pub(crate) use media::media_type;

/// Adds every built-in tool, in the order in which clients list them.
pub(crate) fn add(catalog: &mut Catalog) {
    catalog.add(scope::ListRoots);
    catalog.add(scope::ListAllowedDirectories);
    catalog.add(find::ListDirectory);
    catalog.add(find::ListDirectoryWithSizes);
    catalog.add(find::DirectoryTree);
    catalog.add(find::SearchFiles);
    catalog.add(find::SearchContent);
    catalog.add(find::GetFileInfo);
    catalog.add(read::ReadTextFile);
    catalog.add(read::ReadFile);
    catalog.add(read::ReadMediaFile);
    catalog.add(read::ReadMultipleFiles);
    catalog.add(write::WriteFile);
    catalog.add(write::EditFile);
    catalog.add(write::CreateDirectory);
    catalog.add(write::MoveFile);
    catalog.add(write::DeleteFile);
    catalog.add(many::Batch);
}
