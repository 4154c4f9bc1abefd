//! Opened files as an object store, which is how DataFusion reads Parquet.
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
use futures::stream::{self, BoxStream, StreamExt as _};
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};
use roothold_core::files::SourceFile;

use crate::meter::Meter;
use crate::parquet::read_range;

const NAME: &str = "roothold";

/// The files of one query.
#[derive(Debug)]
pub(crate) struct FileStore {
    files: Vec<Arc<SourceFile>>,
    meter: Arc<Meter>,
}

impl FileStore {
    pub(crate) fn new(files: Vec<Arc<SourceFile>>, meter: Arc<Meter>) -> Self {
        Self { files, meter }
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
    pub(crate) fn meta(file: &SourceFile, number: usize) -> ObjectMeta {
        ObjectMeta {
            location: Path::from(format!("{}/{number}", file.revision())),
            last_modified: Default::default(),
            size: file.size(),
            e_tag: None,
            version: None,
        }
    }

    fn find(&self, location: &Path) -> Result<(usize, &Arc<SourceFile>)> {
        let number = location.filename().and_then(|name| name.parse::<usize>().ok());
        let found = number.and_then(|number| Some((number, self.files.get(number)?)));
        found.ok_or_else(|| Error::NotFound {
            path: location.to_string(),
            source: "no file of this query".into(),
        })
    }

    fn read(&self, location: &Path, range: &Range<u64>) -> Result<Bytes> {
        let (_, file) = self.find(location)?;
        let length = range.end.saturating_sub(range.start);
        read_range(file, range.start, length, &self.meter)
            .map_err(|fault| Error::Generic { store: NAME, source: Box::new(fault) })
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
        let meta = Self::meta(file, number);
        let range = match &options.range {
            Some(range) => range
                .as_range(meta.size)
                .map_err(|error| Error::Generic { store: NAME, source: Box::new(error) })?,
            None => 0..meta.size,
        };
        let bytes = if options.head { Bytes::new() } else { self.read(location, &range)? };
        Ok(GetResult {
            payload: GetResultPayload::Stream(stream::once(async { Ok(bytes) }).boxed()),
            meta,
            range,
            attributes: Attributes::default(),
        })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        ranges.iter().map(|range| self.read(location, range)).collect()
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
