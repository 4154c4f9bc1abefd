//! What a job of processing goes on from: where the process is, and what is known of its output.

use roothold_core::Fault;
use roothold_core::files::{KeptName, OutputMark};
use roothold_datasets::Progress;
use serde::{Deserialize, Serialize};

use super::report::Outline;

/// Begins every checkpoint; the digit is its version.
const MAGIC: &[u8] = b"rh-proc1";

/// A checkpoint, besides the state of the process.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    /// How many steps there were.
    pub(super) steps: u64,
    /// Of how many chunks the state is; none before the first.
    pub(super) chunks: Option<u64>,
    /// How far that is.
    pub(super) progress: Progress,
    /// The output as it belongs to that state.
    pub(super) mark: Option<OutputMark>,
    /// Other files that may be there, of runs that were broken off.
    pub(super) left: Vec<KeptName>,
    /// What it came to, once only the output is left to be put in its place.
    pub(super) finished: Option<Outline>,
}

impl Checkpoint {
    /// Before anything of so many bytes is done.
    pub(super) fn over(bytes_total: u64) -> Self {
        Self { progress: Progress { bytes_total, ..Progress::default() }, ..Self::default() }
    }

    /// As bytes, with the state of the process.
    ///
    /// # Errors
    /// `Internal`.
    pub(super) fn encode(&self, state: &[u8]) -> Result<Vec<u8>, Fault> {
        let head = serde_json::to_vec(self).map_err(Fault::internal)?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend((head.len() as u64).to_le_bytes());
        bytes.extend(head);
        bytes.extend(state);
        Ok(bytes)
    }

    /// What [`Self::encode`] made bytes of. The state has a checksum of its own.
    ///
    /// # Errors
    /// `Internal`, for anything else.
    pub(super) fn decode(bytes: &[u8]) -> Result<(Self, Vec<u8>), Fault> {
        let damaged = || Fault::internal("the checkpoint is damaged, or of another version");
        let rest = bytes.strip_prefix(MAGIC).ok_or_else(damaged)?;
        let (length, rest) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
        let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| damaged())?;
        let (head, state) = rest.split_at_checked(length).ok_or_else(damaged)?;
        let head = serde_json::from_slice(head).map_err(|_| damaged())?;
        Ok((head, state.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_comes_back_and_a_cut_one_is_refused() {
        let name = ".roothold-0123456789abcdef0123456789abcdef-1800000000.tmp".to_owned();
        let name = KeptName::try_from(name).unwrap();
        let mark = OutputMark { name: name.clone(), bytes: 7, hash: "00".to_owned() };
        let checkpoint = Checkpoint {
            steps: 3,
            chunks: Some(2),
            progress: Progress { rows: 5, ..Progress::default() },
            mark: Some(mark),
            left: vec![name],
            finished: None,
        };
        let bytes = checkpoint.encode(b"state").unwrap();
        assert_eq!(Checkpoint::decode(&bytes).unwrap(), (checkpoint, b"state".to_vec()));
        for cut in 0..bytes.len() - b"state".len() {
            assert!(Checkpoint::decode(&bytes[..cut]).is_err(), "{cut}");
        }
    }
}
