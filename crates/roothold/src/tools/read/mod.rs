//! What is in a file.

mod read_media_file;
mod read_multiple_files;
mod read_text_file;

pub(super) use read_media_file::ReadMediaFile;
pub(super) use read_multiple_files::ReadMultipleFiles;
pub(super) use read_text_file::{ReadFile, ReadTextFile};
