//! Where the bytes of a source are: a file that stays open, or an object in a store.

use std::sync::Arc;

use roothold_core::Fault;
use roothold_core::files::{Drift, SourceFile};

use crate::meter::Meter;
use crate::source::changed;
use crate::stores::{Forward, StoreObject};

/// A file of a root, or an object of a store, as it was when it was opened.
#[derive(Debug)]
pub enum Stored {
    /// A file.
    File(SourceFile),
    /// An object.
    Object(StoreObject),
}

impl From<SourceFile> for Stored {
    fn from(file: SourceFile) -> Self {
        Self::File(file)
    }
}

impl From<StoreObject> for Stored {
    fn from(object: StoreObject) -> Self {
        Self::Object(object)
    }
}

impl Stored {
    /// The public path of a file, or the URL of an object.
    pub fn path(&self) -> String {
        match self {
            Self::File(file) => file.path(),
            Self::Object(object) => object.url().to_string(),
        }
    }

    /// Size in bytes when it was opened.
    pub fn size(&self) -> u64 {
        match self {
            Self::File(file) => file.size(),
            Self::Object(object) => object.size(),
        }
    }

    /// Stands for the content: another one whenever that is another. It is the same on all machines
    /// that reach it.
    pub fn revision(&self) -> String {
        match self {
            Self::File(file) => file.revision(),
            Self::Object(object) => object.revision(),
        }
    }

    /// What became of it since it was opened. An object is held to its version with each request.
    ///
    /// # Errors
    /// `Internal`, if the kernel does not tell.
    pub fn drift(&self) -> Result<Drift, Fault> {
        match self {
            Self::File(file) => file.drift(),
            Self::Object(_) => Ok(Drift::Same),
        }
    }

    /// The object, if it is one.
    pub(crate) fn object(&self) -> Option<&StoreObject> {
        match self {
            Self::File(_) => None,
            Self::Object(object) => Some(object),
        }
    }

    /// Reads from `offset` into `buffer`, and tells how many bytes that were: less than it has room
    /// for only at the end. Blocks.
    ///
    /// # Errors
    /// As the file's, or the object's.
    ///
    /// # Cancellation
    /// That of an object ends when the meter says so; for a file, ask it before.
    pub(crate) fn read_at(
        &self,
        offset: u64,
        buffer: &mut [u8],
        meter: &Meter,
    ) -> Result<usize, Fault> {
        match self {
            Self::File(file) => file.read_at(offset, buffer),
            Self::Object(object) => object.read_at(offset, buffer, meter),
        }
    }
}

/// What is read from some offset on.
pub(crate) struct Onward {
    stored: Arc<Stored>,
    offset: u64,
    forward: Option<Forward>,
}

impl Onward {
    pub(crate) fn new(stored: &Arc<Stored>, offset: u64) -> Self {
        let forward = stored.object().map(|object| Forward::new(object, offset));
        Self { stored: Arc::clone(stored), offset, forward }
    }

    fn left(&self) -> u64 {
        self.stored.size().saturating_sub(self.offset)
    }

    /// Reads into `buffer`, up to the size that it had when it was opened: 0 only there.
    ///
    /// # Errors
    /// `Conflict` where there is less by now; as [`Stored::read_at`]; the meter's own.
    ///
    /// # Cancellation
    /// The meter is asked each time.
    pub(crate) fn read(&mut self, buffer: &mut [u8], meter: &Meter) -> Result<usize, Fault> {
        meter.check()?;
        let wanted = usize::try_from(self.left()).unwrap_or(usize::MAX).min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        let buffer = &mut buffer[..wanted];
        let (got, is_short) = match &mut self.forward {
            Some(forward) => (forward.read(buffer, meter)?, false),
            None => {
                let got = self.stored.read_at(self.offset, buffer, meter)?;
                (got, got < wanted)
            }
        };
        if is_short || got == 0 {
            return Err(changed(&self.stored.path()));
        }
        self.offset += got as u64;
        Ok(got)
    }
}
