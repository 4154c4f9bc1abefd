//! Opened files, and objects of stores, as one object store, which is how DataFusion reads Parquet.
//!
//! **Invariant**: it reads the files that it was made of, and nothing else; it lists nothing,
//! writes nothing, and its locations are numbers, not paths.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::object_store::{ObjectStoreRegistry, ObjectStoreUrl};
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};
use roothold_core::Fault;

use crate::limits::Limits;
use crate::meter::Meter;
use crate::parquet::{look_at_pages, read_range};
use crate::prepared::PreparedFile;
use crate::stored::Stored;
use crate::stores::StoreObject;

const NAME: &str = "roothold";

/// How many parts of an object are asked for at once.
const PARTS_AT_ONCE: usize = 8;

/// The files of one query.
#[derive(Debug)]
pub(crate) struct FileStore {
    files: Vec<PreparedFile>,
    limits: Limits,
    meter: Arc<Meter>,
}

impl FileStore {
    pub(crate) fn new(files: Vec<PreparedFile>, limits: Limits, meter: Arc<Meter>) -> Self {
        Self { files, limits, meter }
    }

    /// The one place at which a query finds its store.
    pub(crate) fn url() -> DataFusionResult<ObjectStoreUrl> {
        ObjectStoreUrl::parse("roothold://files")
    }

    /// How a file is known here: what is kept of it elsewhere is kept under its revision.
    #[expect(
        clippy::default_trait_access,
        reason = "the type is of a crate that is not named here"
    )]
    pub(crate) fn meta(file: &Stored, number: usize) -> ObjectMeta {
        ObjectMeta {
            location: Path::from(format!("{}/{number}", file.revision())),
            last_modified: Default::default(),
            size: file.size(),
            e_tag: None,
            version: None,
        }
    }

    fn find(&self, location: &Path) -> Result<(usize, &PreparedFile)> {
        let number = location.filename().and_then(|name| name.parse::<usize>().ok());
        let found = number.and_then(|number| Some((number, self.files.get(number)?)));
        found.ok_or_else(|| Error::NotFound {
            path: location.to_string(),
            source: "no file of this query".into(),
        })
    }

    async fn read(&self, location: &Path, range: Range<u64>) -> Result<Bytes> {
        let (_, file) = self.find(location)?;
        let read = match file.file.object() {
            None => {
                let length = range.end.saturating_sub(range.start);
                read_range(&file.file, range.start, length, &self.meter)
            }
            Some(object) => self.fetch(file, object, range).await,
        };
        read.map_err(|fault| Error::Generic { store: NAME, source: Box::new(fault) })
    }

    /// A range of an object, whose pages no one has looked at yet.
    async fn fetch(
        &self,
        file: &PreparedFile,
        object: &StoreObject,
        range: Range<u64>,
    ) -> std::result::Result<Bytes, Fault> {
        self.meter.check()?;
        let start = range.start;
        let bytes = object.fetch(range).await?;
        self.meter.count(bytes.len());
        look_at_pages(&file.file, &file.columns, start, &bytes, &self.limits)?;
        Ok(bytes)
    }
}

impl fmt::Display for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)
    }
}

fn refused(operation: &str) -> Error {
    Error::NotImplemented { operation: operation.to_owned(), implementer: NAME.to_owned() }
}

#[async_trait]
impl ObjectStore for FileStore {
    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        Err(refused("put"))
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(refused("put"))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let (number, file) = self.find(location)?;
        let meta = Self::meta(&file.file, number);
        let range = match &options.range {
            Some(range) => range
                .as_range(meta.size)
                .map_err(|error| Error::Generic { store: NAME, source: Box::new(error) })?,
            None => 0..meta.size,
        };
        let bytes =
            if options.head { Bytes::new() } else { self.read(location, range.clone()).await? };
        Ok(GetResult {
            payload: GetResultPayload::Stream(stream::once(async { Ok(bytes) }).boxed()),
            meta,
            range,
            attributes: Attributes::default(),
        })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let read = |range: &Range<u64>| self.read(location, range.clone());
        let parts: Vec<_> = ranges.iter().map(read).collect();
        stream::iter(parts).buffered(PARTS_AT_ONCE).try_collect().await
    }

    fn delete_stream(
        &self,
        _: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        stream::once(async { Err(refused("delete")) }).boxed()
    }

    fn list(&self, _: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        stream::empty().boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        Ok(ListResult { common_prefixes: Vec::new(), objects: Vec::new() })
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(refused("copy"))
    }
}

/// Knows the store of one query, and no other.
#[derive(Debug)]
pub(crate) struct OneStore(pub(crate) Arc<dyn ObjectStore>);

impl ObjectStoreRegistry for OneStore {
    fn register_store(
        &self,
        _: &url::Url,
        _: Arc<dyn ObjectStore>,
    ) -> Option<Arc<dyn ObjectStore>> {
        None
    }

    fn get_store(&self, url: &url::Url) -> DataFusionResult<Arc<dyn ObjectStore>> {
        if url.scheme() == NAME {
            return Ok(Arc::clone(&self.0));
        }
        Err(DataFusionError::Plan("there is no such store".to_owned()))
    }
}
