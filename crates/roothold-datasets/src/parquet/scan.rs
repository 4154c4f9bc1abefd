//! A table over Parquet files, scanned by DataFusion.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::datasource::file_format::FileFormat as _;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;

use crate::prepared::Prepared;
use crate::store::FileStore;

/// The visible columns of Parquet files. Their store must know the files by their numbers.
#[derive(Debug)]
pub(crate) struct ParquetTable {
    prepared: Arc<Prepared>,
    /// The number of the first file in the store of the query.
    first: usize,
    /// All columns of the files, and the visible ones.
    file_schema: SchemaRef,
    schema: SchemaRef,
}

impl ParquetTable {
    pub(crate) fn new(prepared: Arc<Prepared>, first: usize) -> Self {
        let (file_schema, schema) =
            (Arc::clone(&prepared.file_schema), Arc::clone(&prepared.schema));
        Self { prepared, first, file_schema, schema }
    }

    /// The same with texts as views of the pages that they stand in, which are not copied, and are
    /// kept for as long as one of their texts is.
    pub(crate) fn with_views(&self) -> Self {
        Self {
            prepared: Arc::clone(&self.prepared),
            first: self.first,
            file_schema: with_views(&self.file_schema),
            schema: with_views(&self.schema),
        }
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

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let prepared = &self.prepared;
        let columns = prepared.columns(projection);
        let files: Vec<PartitionedFile> = prepared
            .files
            .iter()
            .enumerate()
            .map(|(at, file)| FileStore::meta(&file.file, self.first + at))
            .map(PartitionedFile::new_from_meta)
            .collect();
        let groups = FileGroup::new(files).split_files(state.config().target_partitions());
        let source = Arc::new(ParquetSource::new(Arc::clone(&self.file_schema)));
        let config = FileScanConfigBuilder::new(FileStore::url()?, source)
            .with_file_groups(groups)
            .with_projection_indices(Some(columns))?
            .with_limit(limit)
            .build();
        let options = state.config_options().execution.parquet.clone();
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
