//! One object, at the version that it had when it was opened.
//!
//! Its first and its last bytes are kept: what a file is, is asked of them several times.
//!
//! **Invariant**: each request names the version, and each answer is compared with it; so no two
//! versions are ever mixed.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use object_store_remote::path::Path;
use object_store_remote::{Error, GetOptions, GetRange, ObjectMeta, ObjectStore};
use roothold_core::{Fault, FaultKind, ObjectUrl};
use sha2::{Digest as _, Sha256};

use super::fault::fault_of;
use super::net::Net;
use crate::meter::Meter;
use crate::source::changed;

/// How much of the beginning and of the end is kept.
const EDGE_BYTES: u64 = 64 * 1024;

/// An object that stays the version that was opened. Cloning shares it.
#[derive(Clone)]
pub struct StoreObject {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn ObjectStore>,
    net: Net,
    url: ObjectUrl,
    meta: ObjectMeta,
    edges: [Mutex<Option<Bytes>>; 2],
}

impl fmt::Debug for StoreObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StoreObject").field(&self.inner.url).finish()
    }
}

impl StoreObject {
    /// Asks the store for the version that there is now.
    pub(super) async fn open(
        store: Arc<dyn ObjectStore>,
        url: ObjectUrl,
        net: Net,
    ) -> Result<Self, Fault> {
        let path = Path::parse(url.key()).ok().filter(|path| !path.is_root()).ok_or_else(|| {
            Fault::invalid(format!("{url} names no object; write its whole URL, or a glob"))
        })?;
        let asked = GetOptions { head: true, ..GetOptions::default() };
        let answer = store.get_opts(&path, asked).await.map_err(|error| fault_of(&error, &url))?;
        let meta = answer.meta;
        if meta.e_tag.is_none() && !has_time(&meta) {
            let what = format!(
                "the server of {url} does not say which version it gives (ETag or Last-Modified), so two could be mixed; it is not read"
            );
            return Err(Fault::new(FaultKind::Unsupported, what));
        }
        let edges = [Mutex::default(), Mutex::default()];
        Ok(Self { inner: Arc::new(Inner { store, net, url, meta, edges }) })
    }

    /// Its URL.
    pub fn url(&self) -> &ObjectUrl {
        &self.inner.url
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.inner.meta.size
    }

    /// Stands for the content: another one whenever the store calls it another version. It is the same
    /// on all machines.
    pub fn revision(&self) -> String {
        let meta = &self.inner.meta;
        let mut digest = Sha256::new();
        let tag = meta.e_tag.as_deref().unwrap_or_default();
        let time = meta.last_modified.timestamp_millis().to_string();
        for part in [self.inner.url.to_string().as_str(), tag, &time, &meta.size.to_string()] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        let digest = digest.finalize();
        digest[..16].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(super) fn net(&self) -> &Net {
        &self.inner.net
    }

    /// Reads from `offset` into `buffer`, and tells how many bytes that were: less than it has room
    /// for only at the end. Blocks.
    ///
    /// # Errors
    /// `Conflict` where it is another version by now; as asking the store.
    ///
    /// # Cancellation
    /// Within a fraction of a second when the meter says so.
    pub(crate) fn read_at(
        &self,
        offset: u64,
        buffer: &mut [u8],
        meter: &Meter,
    ) -> Result<usize, Fault> {
        let end = offset.saturating_add(buffer.len() as u64).min(self.size());
        if offset >= end {
            return Ok(0);
        }
        let (kept, from) = match self.edge_of(offset, end) {
            Some(edge) => self.edge(edge, meter)?,
            None => (self.wait_for(offset..end, meter)?, offset),
        };
        let start = usize::try_from(offset - from).map_err(Fault::internal)?;
        let length = usize::try_from(end - offset).map_err(Fault::internal)?;
        let bytes = kept.get(start..start + length).ok_or_else(|| self.changed())?;
        buffer[..length].copy_from_slice(bytes);
        Ok(length)
    }

    /// What is kept of the beginning, if it was asked for by now.
    pub(super) fn beginning(&self) -> Option<Bytes> {
        self.inner.edges[0].lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A range of what is kept.
    fn kept(&self, range: &Range<u64>) -> Option<Bytes> {
        let edge = self.edge_of(range.start, range.end)?;
        let bytes =
            self.inner.edges[edge].lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let begin = self.edges()[edge].start;
        let start = usize::try_from(range.start.checked_sub(begin)?).ok()?;
        let end = usize::try_from(range.end.checked_sub(begin)?).ok()?;
        (start <= end && end <= bytes.len()).then(|| bytes.slice(start..end))
    }

    fn edges(&self) -> [Range<u64>; 2] {
        let size = self.size();
        [0..size.min(EDGE_BYTES), size.saturating_sub(EDGE_BYTES)..size]
    }

    fn edge_of(&self, offset: u64, end: u64) -> Option<usize> {
        self.edges().iter().position(|edge| edge.start <= offset && end <= edge.end)
    }

    /// One edge, and where it begins.
    fn edge(&self, edge: usize, meter: &Meter) -> Result<(Bytes, u64), Fault> {
        let range = self.edges()[edge].clone();
        let kept = &self.inner.edges[edge];
        if let Some(bytes) = &*kept.lock().unwrap_or_else(PoisonError::into_inner) {
            return Ok((bytes.clone(), range.start));
        }
        let bytes = self.wait_for(range.clone(), meter)?;
        *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(bytes.clone());
        Ok((bytes, range.start))
    }

    /// A range, on a thread that may block.
    pub(crate) fn wait_for(&self, range: Range<u64>, meter: &Meter) -> Result<Bytes, Fault> {
        meter.check()?;
        let object = self.clone();
        self.inner.net.wait(meter, async move { object.range(range).await })
    }

    /// A range, on any runtime.
    ///
    /// # Errors
    /// As [`Self::read_at`]; `Invalid` beyond the end.
    ///
    /// # Cancellation
    /// Dropped, it gives the request up.
    pub(crate) async fn fetch(&self, range: Range<u64>) -> Result<Bytes, Fault> {
        if let Some(kept) = self.kept(&range) {
            return Ok(kept);
        }
        let object = self.clone();
        self.inner.net.run(async move { object.range(range).await }).await
    }

    async fn range(&self, range: Range<u64>) -> Result<Bytes, Fault> {
        if range.end > self.size() || range.start > range.end {
            let what = format!("{} is damaged: it speaks of bytes beyond its end", self.url());
            return Err(Fault::invalid(what));
        }
        let length = usize::try_from(range.end - range.start).map_err(Fault::internal)?;
        let mut stream = self.stream(range).await?;
        let Some(first) = stream.next().await else { return self.whole(Bytes::new(), length) };
        let first = first.map_err(|error| self.failed(&error))?;
        if first.len() == length {
            return Ok(first);
        }
        if first.len() > length {
            return Err(self.changed());
        }
        let mut all = BytesMut::with_capacity(length);
        all.extend_from_slice(&first);
        while let Some(more) = stream.next().await {
            let more = more.map_err(|error| self.failed(&error))?;
            if all.len() + more.len() > length {
                return Err(self.changed());
            }
            all.extend_from_slice(&more);
        }
        self.whole(all.freeze(), length)
    }

    fn whole(&self, bytes: Bytes, length: usize) -> Result<Bytes, Fault> {
        if bytes.len() == length { Ok(bytes) } else { Err(self.cut_off()) }
    }

    /// The bytes of a range as they come. What comes may be less than was asked for, or more.
    pub(super) async fn stream(
        &self,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes, Error>>, Fault> {
        let Inner { store, meta, .. } = &*self.inner;
        if range.is_empty() {
            return Ok(futures::stream::empty().boxed());
        }
        // A weak tag is never a match by the rules of HTTP, so the time has to do.
        let tag = meta.e_tag.clone().filter(|tag| !tag.starts_with("W/"));
        let unmodified = has_time(meta) && tag.is_none();
        let asked = GetOptions {
            range: Some(GetRange::Bounded(range.clone())),
            if_unmodified_since: unmodified.then_some(meta.last_modified),
            if_match: tag,
            ..GetOptions::default()
        };
        let answer = store.get_opts(&meta.location, asked).await;
        let answer = answer.map_err(|error| self.failed(&error))?;
        let same_version = match (&meta.e_tag, &answer.meta.e_tag) {
            (Some(before), Some(now)) => bare(before) == bare(now),
            (Some(_), None) => false,
            (None, _) => meta.last_modified == answer.meta.last_modified,
        };
        if !same_version || answer.meta.size != meta.size || answer.range != range {
            return Err(self.changed());
        }
        Ok(answer.into_stream())
    }

    pub(super) fn failed(&self, error: &Error) -> Fault {
        match error {
            // A store of which the object was there a moment ago.
            Error::NotFound { .. } => self.changed(),
            other => fault_of(other, self.url()),
        }
    }

    pub(super) fn changed(&self) -> Fault {
        changed(&self.url().to_string())
    }

    pub(super) fn cut_off(&self) -> Fault {
        let what = format!("{} broke off while it was read; ask again", self.url());
        Fault::new(FaultKind::Unavailable, what)
    }
}

/// Whether the store said when it was changed.
fn has_time(meta: &ObjectMeta) -> bool {
    meta.last_modified.timestamp() != 0
}

/// A tag without what some stores put around it and others do not.
fn bare(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"')
}
