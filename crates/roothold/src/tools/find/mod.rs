//! What is where.

mod directory_tree;
mod get_file_info;
mod list_directory;
mod list_directory_with_sizes;
mod search_content;
mod search_files;

pub(super) use directory_tree::DirectoryTree;
pub(super) use get_file_info::GetFileInfo;
pub(super) use list_directory::ListDirectory;
pub(super) use list_directory_with_sizes::ListDirectoryWithSizes;
pub(super) use search_content::SearchContent;
pub(super) use search_files::SearchFiles;
