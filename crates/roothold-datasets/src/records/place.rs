//! Where the records of a range begin, judged by line ends.

use roothold_core::Fault;

use crate::meter::Meter;
use crate::prepared::Prepared;

/// Where the first record begins that begins at `at` or later: behind a line end, in CSV
/// one that ends a line which is not empty. The end of the file if there is none.
///
/// # Errors
/// As reading.
pub(crate) fn aligned(
    prepared: &Prepared,
    file: usize,
    at: u64,
    meter: &Meter,
) -> Result<u64, Fault> {
    const BLOCK_BYTES: usize = 64 * 1024;
    /// A line end of two bytes, and the byte before it.
    const BEFORE: u64 = 3;
    if at == 0 {
        return Ok(0);
    }
    let file = &prepared.files[file].file;
    let mut offset = at.saturating_sub(BEFORE);
    let mut block = vec![0; BLOCK_BYTES];
    // Only between delimiters is an empty line no record.
    let skips_empty = prepared.style.is_some();
    let mut has_text = !skips_empty;
    while offset < file.size() {
        meter.check()?;
        let got = file.read_at(offset, &mut block, meter)?;
        if got == 0 {
            break;
        }
        for (index, byte) in block[..got].iter().enumerate() {
            let here = offset + index as u64;
            match byte {
                b'\n' if here + 1 >= at && has_text => return Ok(here + 1),
                b'\n' => has_text = !skips_empty,
                b'\r' => {}
                _ => has_text = true,
            }
        }
        offset += got as u64;
    }
    Ok(file.size())
}
