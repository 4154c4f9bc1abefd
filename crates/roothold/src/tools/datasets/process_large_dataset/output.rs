//! The file that a conversion writes, as the engine sees it, and what is left of it when a run is
//! broken off.
//!
//! A job's file outlasts the run that writes it. So every name that such a file may have is in a
//! committed checkpoint before the file is made, and stays in one until the file is gone: whoever
//! goes on knows all that is left.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use roothold_core::files::{KeptName, OutputFile, OutputMark, OutputOptions, Written};
use roothold_core::{Budget, Fault, Permit};

use crate::call::Call;

/// Where a conversion writes.
pub(super) struct Target {
    permit: Permit,
    options: OutputOptions,
    /// Of a job: the name of this run's file.
    own: Option<KeptName>,
}

impl Target {
    /// The target of a call, or of this run of a job.
    ///
    /// # Errors
    /// `Internal`, for a permit of something else.
    pub(super) fn new(call: &Call, permit: Permit, overwrite: bool) -> Result<Self, Fault> {
        let options = OutputOptions { overwrite, bytes_max: call.datasets().output_bytes_max() };
        let own = call.job().map(|job| KeptName::new(&permit, SystemTime::now() + job.remaining()));
        Ok(Self { permit, options, own: own.transpose()? })
    }

    /// The name of this run's file, where it is kept.
    pub(super) fn own(&self) -> Option<&KeptName> {
        self.own.as_ref()
    }

    pub(super) fn permit(&self) -> &Permit {
        &self.permit
    }

    /// Refuses what would be refused when the file is begun, as far as looking tells: whoever asks for
    /// a job hears it at once.
    ///
    /// # Errors
    /// As [`OutputFile::look_ahead`]'s.
    pub(super) async fn look_ahead(&self, call: &Call) -> Result<(), Fault> {
        let (permit, options) = (self.permit.clone(), self.options);
        call.blocking(move |budget| OutputFile::look_ahead(&permit, options, budget)).await
    }

    /// Begins the file, or goes on with what a run before wrote. Blocks.
    ///
    /// # Errors
    /// As [`OutputFile`]'s.
    pub(super) fn open(
        &self,
        mark: Option<&OutputMark>,
        budget: &Budget,
    ) -> Result<OutputFile, Fault> {
        let Self { permit, options, own } = self;
        match (own, mark) {
            (None, _) => OutputFile::begin(permit, *options, budget),
            (Some(own), None) => OutputFile::begin_kept(permit, own, *options, budget),
            (Some(own), Some(mark)) => OutputFile::take_over(permit, mark, own, *options, budget),
        }
    }
}

/// Removes files that nobody goes on with. What cannot be removed stays, hidden from callers, until
/// a later write sweeps it. Blocks.
pub(super) fn remove(permit: &Permit, names: &[KeptName]) {
    for name in names {
        if let Err(error) = name.remove(permit) {
            tracing::debug!(%error, "a temporary file of a job was not removed");
        }
    }
}

/// The file while the engine writes it.
#[derive(Clone)]
pub(super) struct Sink(Arc<Mutex<Option<OutputFile>>>);

impl Sink {
    pub(super) fn new(file: OutputFile) -> Self {
        Self(Arc::new(Mutex::new(Some(file))))
    }

    fn with<T>(&self, what: impl FnOnce(&mut OutputFile) -> Result<T, Fault>) -> Result<T, Fault> {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        what(file.as_mut().ok_or_else(|| Fault::internal("the output was finished before"))?)
    }

    /// From what others can go on with the file; the engine has synced it.
    ///
    /// # Errors
    /// `Internal`, once it is finished.
    pub(super) fn mark(&self) -> Result<Option<OutputMark>, Fault> {
        self.with(|file| Ok(file.mark()))
    }

    /// Puts the file in its place. Blocks.
    ///
    /// # Errors
    /// As [`OutputFile::publish`].
    pub(super) fn publish(&self, budget: &Budget) -> Result<Written, Fault> {
        let file = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        file.ok_or_else(|| Fault::internal("the output was finished before"))?.publish(budget)
    }
}

impl roothold_datasets::Output for Sink {
    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.with(|file| file.truncate(length)).map_err(io::Error::other)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.with(|file| file.append(bytes)).map_err(io::Error::other)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.with(|file| file.sync()).map_err(io::Error::other)
    }
}
