//! A table over Parquet files, scanned by DataFusion.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::datasource::file_format::FileFormat as _;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;

use crate::prepared::Prepared;
use crate::scan::{PIECE_BYTES_MIN, share};
use crate::store::FileStore;

/// What each partition keeps of columns that it decoded for a filter and needs again for their rows; by
/// default that is up to 100 MB.
const FILTER_CACHE_BYTES: usize = 4 * 1024 * 1024;

/// The visible columns of Parquet files. Their store must know the files by their numbers.
#[derive(Debug)]
pub(crate) struct ParquetTable {
    prepared: Arc<Prepared>,
    /// The number of the first file in the store of the query.
    first: usize,
    /// All columns of the files, and the visible ones.
    file_schema: SchemaRef,
    schema: SchemaRef,
    /// Whether no row is kept: see [`Self::with_views`].
    is_folded: bool,
}

impl ParquetTable {
    pub(crate) fn new(prepared: Arc<Prepared>, first: usize) -> Self {
        let (file_schema, schema) =
            (Arc::clone(&prepared.file_schema), Arc::clone(&prepared.schema));
        Self { prepared, first, file_schema, schema, is_folded: false }
    }

    /// The same for a query that keeps no row, but figures: with texts as views of the pages that
    /// they stand in, which are not copied, and are kept for as long as one of their texts is.
    pub(crate) fn with_views(&self) -> Self {
        Self {
            prepared: Arc::clone(&self.prepared),
            first: self.first,
            file_schema: with_views(&self.file_schema),
            schema: with_views(&self.schema),
            is_folded: true,
        }
    }
}

impl ParquetTable {
    /// The files, cut at places of which only those count at which a row group begins: partitions
    /// take the pieces in turn.
    fn groups(&self, partitions: usize) -> Result<Vec<FileGroup>> {
        let whole = self.prepared.source.bytes();
        let (mut rest, mut pieces) = (whole, Vec::new());
        for (at, file) in self.prepared.files.iter().enumerate() {
            let size = file.file.size();
            let mut from = 0;
            while from < size {
                let share = share(rest, whole, partitions, &file.file);
                let left = size - from;
                let is_cut = partitions > 1 && left > share + PIECE_BYTES_MIN;
                let takes = if is_cut { share } else { left };
                let piece =
                    PartitionedFile::new_from_meta(FileStore::meta(&file.file, self.first + at));
                let (start, end) = (i64::try_from(from), i64::try_from(from + takes));
                let outside = |error| DataFusionError::External(Box::new(error));
                pieces.push(piece.with_range(start.map_err(outside)?, end.map_err(outside)?));
                rest = rest.saturating_sub(takes);
                from += takes;
            }
        }
        let count = pieces.len().div_ceil(partitions.max(1)).max(1);
        Ok(pieces.chunks(count).map(|pieces| FileGroup::new(pieces.to_vec())).collect())
    }

    /// Whether columns are asked for that no filter looks at.
    fn has_others(&self, projection: Option<&Vec<usize>>, filters: &[Expr]) -> bool {
        let looked_at: HashSet<&str> =
            filters.iter().flat_map(Expr::column_refs).map(|column| column.name.as_str()).collect();
        let is_other = |at: &usize| !looked_at.contains(self.schema.field(*at).name().as_str());
        projection.map_or_else(
            || (0..self.schema.fields().len()).any(|at| is_other(&at)),
            |columns| columns.iter().any(is_other),
        )
    }
}

#[async_trait]
impl TableProvider for ParquetTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Filters are known to the scan, and asked once more behind it.
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let columns = self.prepared.columns(projection);
        let groups = self.groups(state.config().target_partitions())?;
        let source = Arc::new(ParquetSource::new(Arc::clone(&self.file_schema)));
        let config = FileScanConfigBuilder::new(FileStore::url()?, source)
            .with_file_groups(groups)
            .with_projection_indices(Some(columns))?
            .with_limit(limit)
            .build();
        let mut options = state.config_options().execution.parquet.clone();
        // Of columns that are read for their filter alone there is nothing to leave undecoded; a
        // filter within the decoder would only find out which rows those are. Without a filter
        // there may be the top of a sort, mostly found by one column: of the others only its rows
        // are decoded. What is sorted behind figures is known too late for that.
        options.pushdown_filters =
            if filters.is_empty() { !self.is_folded } else { self.has_others(projection, filters) };
        options.max_predicate_cache_size = Some(FILTER_CACHE_BYTES);
        let format =
            ParquetFormat::default().with_options(datafusion::config::TableParquetOptions {
                global: options,
                ..Default::default()
            });
        format.create_physical_plan(state, config).await
    }
}

fn with_views(schema: &Schema) -> SchemaRef {
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| match field.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 => {
                field.as_ref().clone().with_data_type(DataType::Utf8View)
            }
            _ => field.as_ref().clone(),
        })
        .collect();
    Arc::new(Schema::new(fields))
}
