//! The section of what is kept in memory: `[cache]`.

use roothold_core::files::{Index, KeptTexts};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is kept in memory so that it need not be read again.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cache {
    /// The most memory that text files of up to 256 KiB take, with their hashes, in bytes; 0 keeps none. What another program writes through a shared memory map does not change a file's times until it is written back, and may be missed: then write 0.
    pub content_bytes_max: usize,
    /// The most memory that the places of lines in larger files take, in bytes; 0 keeps none. About 8 bytes for each MiB of a file.
    pub lines_bytes_max: usize,
    /// The most memory that the names in directories take, in bytes; 0 keeps none. About 40 bytes a file.
    pub index_bytes_max: usize,
    /// How long something is kept that nobody asks for, in seconds.
    pub idle_seconds: u64,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            content_bytes_max: KeptTexts::CONTENT_BYTES_MAX_DEFAULT,
            lines_bytes_max: KeptTexts::LINES_BYTES_MAX_DEFAULT,
            index_bytes_max: Index::BYTES_MAX_DEFAULT,
            idle_seconds: Index::IDLE_MAX_DEFAULT.as_secs(),
        }
    }
}
