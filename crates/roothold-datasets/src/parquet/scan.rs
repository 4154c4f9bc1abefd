//! A table over Parquet files: scanned by DataFusion, but for what reads all rows of files on disk.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::datasource::TableType;
use datafusion::datasource::file_format::FileFormat as _;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::parquet::arrow::ProjectionMask;
use datafusion::parquet::file::metadata::ParquetMetaData;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::ExecutionPlan;
use roothold_core::Fault;

use super::metadata_of;
use super::places::{self, PlaceColumns};
use super::row_groups::{Part, RowGroupScan, Scanned, whole};
use super::widths::Asked as AskedWidths;
use crate::meter::Meter;
use crate::prepared::{Prepared, PreparedFile};
use crate::scan::{PIECE_BYTES_MIN, share};
use crate::store::FileStore;

/// What each partition keeps of columns that it decoded for a filter and needs again for their rows; by
/// default that is up to 100 MB.
const FILTER_CACHE_BYTES: usize = 4 * 1024 * 1024;

/// The visible columns of Parquet files. Their store must know the files by their numbers.
#[derive(Debug)]
pub(crate) struct ParquetTable {
    prepared: Arc<Prepared>,
    meter: Arc<Meter>,
    /// The number of the first file in the store of the query.
    first: usize,
    /// All columns of the files, and the visible ones.
    file_schema: SchemaRef,
    schema: SchemaRef,
    asked: Asked,
}

/// What a table is asked for.
#[derive(Debug, Clone)]
enum Asked {
    /// Rows.
    Rows,
    /// Figures, and whether that takes all rows: see [`ParquetTable::with_views`].
    Figures { are_all_read: bool },
    /// Rows and where they stand.
    Places(PlaceColumns),
    /// Rows that are known by their places.
    Parts(Vec<Part>),
}

impl ParquetTable {
    pub(crate) fn new(prepared: Arc<Prepared>, first: usize, meter: &Arc<Meter>) -> Self {
        let (file_schema, schema) =
            (Arc::clone(&prepared.file_schema), Arc::clone(&prepared.schema));
        Self { prepared, meter: Arc::clone(meter), first, file_schema, schema, asked: Asked::Rows }
    }

    /// The same for a query that keeps no row, but figures: with texts as views of the pages that
    /// they stand in, which are not copied, and are kept for as long as one of their texts is.
    ///
    /// `are_all_read`: nothing becomes known meanwhile that would spare rows.
    pub(crate) fn with_views(&self, are_all_read: bool) -> Self {
        Self {
            file_schema: with_views(&self.file_schema),
            schema: with_views(&self.schema),
            ..self.asked(Asked::Figures { are_all_read })
        }
    }

    /// Whether it can be asked for places, and for rows at places.
    pub(crate) fn has_places(&self) -> bool {
        let is_fine = |footer: &Arc<ParquetMetaData>| places::are_in_order(footer);
        self.prepared.files.iter().all(|file| file.footer.as_ref().is_some_and(is_fine))
            && self.part_scan(&[], 1, Vec::new()).is_ok_and(|scan| scan.is_some())
    }

    /// The same with two more columns, which say where a row stands, and their names.
    pub(crate) fn with_places(&self) -> (Self, [String; 2]) {
        let columns = PlaceColumns::beside(&self.file_schema);
        let names = [columns.file.name().clone(), columns.row.name().clone()];
        let fields = self.schema.fields().iter().chain([&columns.file, &columns.row]).cloned();
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        (Self { schema, ..self.asked(Asked::Places(columns)) }, names)
    }

    /// The same without any but the rows at these places.
    pub(crate) fn only(&self, places: Vec<(u64, i64)>) -> Self {
        self.asked(Asked::Parts(places::parts_at(&self.prepared, places)))
    }

    fn asked(&self, asked: Asked) -> Self {
        Self {
            prepared: Arc::clone(&self.prepared),
            meter: Arc::clone(&self.meter),
            first: self.first,
            file_schema: Arc::clone(&self.file_schema),
            schema: Arc::clone(&self.schema),
            asked,
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
                let mut piece =
                    PartitionedFile::new_from_meta(FileStore::meta(&file.file, self.first + at));
                if matches!(self.asked, Asked::Places(_)) {
                    piece.partition_values = vec![ScalarValue::UInt64(Some(at as u64))];
                }
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

    /// The scan of parts of files on disk; `None` where it has to be another.
    fn part_scan(
        &self,
        columns: &[usize],
        partitions: usize,
        parts: Vec<Part>,
    ) -> Result<Option<RowGroupScan>> {
        let scanned = Scanned {
            prepared: Arc::clone(&self.prepared),
            meter: Arc::clone(&self.meter),
            types: Arc::clone(&self.file_schema),
            columns: columns.to_vec(),
            partitions,
        };
        RowGroupScan::open(scanned, parts)
    }

    /// The columns of files, and then of places, that are asked for.
    fn columns(&self, projection: Option<&Vec<usize>>) -> Vec<usize> {
        let (visible, all) = (self.prepared.visible.len(), self.file_schema.fields().len());
        let whole = || (0..self.schema.fields().len()).collect();
        let asked = projection.cloned().unwrap_or_else(whole).into_iter();
        asked
            .map(|at| self.prepared.visible.get(at).copied().unwrap_or_else(|| at - visible + all))
            .collect()
    }

    /// How many rows of these columns may be decoded at once, whatever row group they are of.
    fn rows_at_once(&self, columns: &[usize], rows_max: usize) -> Result<usize, Fault> {
        let (meter, limits) = (&self.meter, &self.prepared.limits);
        let fields = columns.iter().filter_map(|at| self.prepared.file_schema.fields().get(*at));
        let names: Vec<&str> = fields
            .filter(|it| !it.data_type().is_primitive())
            .map(|it| it.name().as_str())
            .collect();
        let mut rows = rows_max;
        if names.is_empty() {
            return Ok(rows);
        }
        for PreparedFile { file, footer, .. } in &self.prepared.files {
            let known = footer.clone();
            let footer =
                known.map_or_else(|| metadata_of(file, limits, meter).map(Arc::new), Ok)?;
            let own = footer.file_metadata().schema_descr();
            let roots = own.root_schema().get_fields().iter().enumerate();
            let asked = roots.filter(|(_, root)| names.contains(&root.name())).map(|(at, _)| at);
            let mask = &ProjectionMask::roots(own, asked);
            let widths = AskedWidths { file, footer: &footer, mask, limits, meter };
            for group in 0..footer.num_row_groups() {
                rows = widths.rows_at_once(group, rows)?;
            }
        }
        Ok(rows)
    }

    fn table_schema(&self) -> TableSchema {
        let files = TableSchema::builder(Arc::clone(&self.file_schema));
        match &self.asked {
            Asked::Places(places) => files
                .with_table_partition_cols(vec![Arc::clone(&places.file)])
                .with_virtual_columns(vec![Arc::clone(&places.row)])
                .build(),
            _ => files.build(),
        }
    }

    /// Whether filters spare no row from being decoded: they look at all columns that are asked
    /// for, and statistics do not tell where they are false.
    fn has_use_of_all(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
    ) -> bool {
        let Some(filter) = conjunction(filters.to_vec()) else { return true };
        if self.has_others(projection, filters) {
            return false;
        }
        let schema = Arc::clone(&self.schema);
        let filter = DFSchema::try_from(self.schema.as_ref().clone())
            .and_then(|columns| state.create_physical_expr(filter, &columns))
            .and_then(|it| PruningPredicateBuilder::new().with_file_schema(schema).try_build(it));
        filter.is_ok_and(|filter| filter.always_true())
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
        let columns = self.columns(projection);
        let partitions = state.config().target_partitions();
        let parts = match &self.asked {
            Asked::Parts(parts) => Some(parts.clone()),
            Asked::Figures { are_all_read: true }
                if self.has_use_of_all(state, projection, filters) =>
            {
                Some(whole(&self.prepared, partitions))
            }
            _ => None,
        };
        let scan = parts.map(|parts| self.part_scan(&columns, partitions, parts)).transpose()?;
        if let Some(scan) = scan.flatten() {
            return Ok(Arc::new(scan));
        }
        let rows = self.rows_at_once(&columns, state.config().batch_size());
        let rows = rows.map_err(|fault| DataFusionError::External(fault.into()))?;
        let groups = self.groups(partitions)?;
        let source = Arc::new(ParquetSource::new(self.table_schema()));
        let config = FileScanConfigBuilder::new(FileStore::url()?, source)
            .with_file_groups(groups)
            .with_projection_indices(Some(columns))?
            .with_limit(limit)
            .with_batch_size(Some(rows))
            .build();
        let mut options = state.config_options().execution.parquet.clone();
        // Of columns that are read for their filter alone there is nothing to leave undecoded; a
        // filter within the decoder would only find out which rows those are. Without a filter
        // there may be the top of a sort, mostly found by one column: of the others only its rows
        // are decoded. What is sorted behind figures is known too late for that, and whoever asks for
        // places asks for no others.
        options.pushdown_filters = if filters.is_empty() {
            matches!(self.asked, Asked::Rows)
        } else {
            self.has_others(projection, filters)
        };
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
