//! A checkpoint as bytes: what folds hold, as Arrow IPC, with a checksum over all of it.

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::ipc::reader::StreamReader;
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::physical_plan::spill::get_record_batch_memory_size;
use roothold_core::{Fault, FaultKind};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Begins every checkpoint; the digit is its version.
const MAGIC: &[u8; 8] = b"rh-fold1";
/// The largest checkpoint, in bytes.
pub(super) const SAVED_BYTES_MAX: usize = 64 << 20;

/// A state: a header in JSON, and tables.
#[derive(Debug, Default)]
pub(super) struct Saved {
    /// Counters, positions, short lists.
    pub(super) header: Value,
    /// States of accumulators.
    pub(super) tables: Vec<RecordBatch>,
    /// What was reserved for the bytes, while they are made.
    pub(super) _held: Option<MemoryReservation>,
}

impl Saved {
    /// The bytes.
    ///
    /// # Errors
    /// `Limit` if there are too many.
    pub(super) fn encode(&self) -> Result<Vec<u8>, Fault> {
        let mut out = MAGIC.to_vec();
        out.extend([0; 32]);
        let tables = self.tables.iter().map(get_record_batch_memory_size).sum::<usize>();
        out.reserve(tables.min(SAVED_BYTES_MAX));
        let header = serde_json::to_vec(&self.header).map_err(Fault::internal)?;
        put(&mut out, &header);
        for table in &self.tables {
            let begin = out.len();
            put(&mut out, &[]);
            let mut writer =
                StreamWriter::try_new(&mut out, &table.schema()).map_err(Fault::internal)?;
            writer.write(table).map_err(Fault::internal)?;
            writer.finish().map_err(Fault::internal)?;
            drop(writer);
            let length = (out.len() - begin - 8) as u64;
            out[begin..begin + 8].copy_from_slice(&length.to_le_bytes());
            if out.len() > SAVED_BYTES_MAX {
                return Err(Fault::new(
                    FaultKind::Limit,
                    format!(
                        "the intermediate result is larger than {SAVED_BYTES_MAX} bytes; ask for fewer columns or groups"
                    ),
                ));
            }
        }
        let sum = Sha256::digest(&out[40..]);
        out[8..40].copy_from_slice(&sum);
        Ok(out)
    }

    /// The state that `encode` made bytes of.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let Some((head, mut rest)) = bytes.split_at_checked(40) else { return Err(damaged()) };
        if &head[..8] != MAGIC || head[8..] != Sha256::digest(rest)[..] {
            return Err(damaged());
        }
        let header = serde_json::from_slice(take(&mut rest)?).map_err(Fault::internal)?;
        let mut tables = Vec::new();
        while !rest.is_empty() {
            let reader = StreamReader::try_new(take(&mut rest)?, None).map_err(Fault::internal)?;
            let schema = reader.schema();
            let batches = reader.collect::<Result<Vec<_>, _>>().map_err(Fault::internal)?;
            tables.push(concat_batches(&schema, &batches).map_err(Fault::internal)?);
        }
        Ok(Self { header, tables, _held: None })
    }
}

fn put(out: &mut Vec<u8>, part: &[u8]) {
    out.extend((part.len() as u64).to_le_bytes());
    out.extend(part);
}

fn take<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Fault> {
    let (length, behind) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| damaged())?;
    let (part, behind) = behind.split_at_checked(length).ok_or_else(damaged)?;
    *rest = behind;
    Ok(part)
}

/// A checkpoint that cannot be gone on from.
pub(super) fn damaged() -> Fault {
    Fault::internal("the checkpoint is damaged, or of another version")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{ArrayRef, Int64Array};

    use super::*;

    fn saved() -> Saved {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        let table = RecordBatch::try_from_iter([("a", column)]).unwrap();
        Saved {
            header: serde_json::json!({ "next": 3 }),
            tables: vec![table.slice(1, 1), table.slice(0, 0), table],
            _held: None,
        }
    }

    #[test]
    fn a_state_comes_back_as_it_was() {
        let back = Saved::decode(&saved().encode().unwrap()).unwrap();
        assert_eq!(back.header, saved().header);
        assert_eq!(back.tables, saved().tables);
    }

    #[test]
    fn whatever_byte_is_wrong_it_is_noticed() {
        let bytes = saved().encode().unwrap();
        for at in 0..bytes.len() {
            let mut wrong = bytes.clone();
            wrong[at] ^= 0x40;
            assert!(Saved::decode(&wrong).is_err(), "byte {at}");
            assert!(Saved::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
    }
}
