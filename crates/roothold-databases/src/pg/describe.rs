//! Tables, columns, keys and indexes from the catalogue: of what the role can read only.

use roothold_core::Fault;
use tokio_postgres::types::{Oid, Type};

use super::error::{Asked, fault};
use super::session::Session;
use crate::describe::{DescribeRequest, Description, Table};
use crate::tables::Tables;

/// The most tables of a database that are looked at.
const TABLES_MAX: i64 = 50_000;

/// Every table that can be read; two optional names.
const LIST: &str = "SELECT c.oid, n.nspname::text, c.relname::text \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname <> 'information_schema' \
      AND left(n.nspname, 3) <> 'pg_' \
      AND ($1::text IS NULL OR n.nspname = $1) AND ($2::text IS NULL OR c.relname = $2) \
      AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') \
      AND pg_catalog.has_any_column_privilege(c.oid, 'SELECT') \
    ORDER BY n.nspname, c.relname LIMIT $3";

/// Tables in full, one a row, as JSON.
const DETAIL: &str = r"
SELECT json_build_object(
  'schema', n.nspname, 'name', c.relname,
  'kind', CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
    WHEN 'f' THEN 'foreign table' WHEN 'p' THEN 'partitioned table' ELSE 'table' END,
  'comment', left(pg_catalog.obj_description(c.oid, 'pg_class'), 1000),
  'rows_estimate', CASE WHEN c.reltuples >= 0 AND c.relkind <> 'v' THEN c.reltuples::int8 END,
  'columns', (SELECT coalesce(json_agg(json_build_object(
      'name', a.attname, 'type', pg_catalog.format_type(a.atttypid, a.atttypmod),
      'nullable', NOT a.attnotnull,
      'comment', left(pg_catalog.col_description(c.oid, a.attnum), 1000),
      'values', (SELECT json_agg(e.enumlabel ORDER BY e.enumsortorder)
        FROM (SELECT * FROM pg_catalog.pg_enum WHERE enumtypid = a.atttypid
              ORDER BY enumsortorder LIMIT 200) e)) ORDER BY a.attnum), '[]')
    FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
      AND pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT')),
  'keys', (SELECT coalesce(json_agg(json_build_object(
      'kind', CASE k.contype WHEN 'p' THEN 'primary' WHEN 'u' THEN 'unique' ELSE 'foreign' END,
      'columns', (SELECT json_agg(a.attname ORDER BY x.at) FROM unnest(k.conkey) WITH ORDINALITY x(num, at)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = x.num),
      'references', CASE WHEN k.contype = 'f' THEN json_build_object(
        'schema', fn.nspname, 'table', f.relname,
        'columns', (SELECT json_agg(a.attname ORDER BY x.at) FROM unnest(k.confkey) WITH ORDINALITY x(num, at)
          JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = x.num)) END)
      ORDER BY k.contype <> 'p', k.conname), '[]')
    FROM pg_catalog.pg_constraint k
    LEFT JOIN pg_catalog.pg_class f ON f.oid = k.confrelid
    LEFT JOIN pg_catalog.pg_namespace fn ON fn.oid = f.relnamespace
    WHERE k.conrelid = c.oid AND k.contype IN ('p', 'u', 'f')
      AND (k.contype <> 'f' OR (pg_catalog.has_schema_privilege(fn.oid, 'USAGE') AND NOT EXISTS (
        SELECT FROM unnest(k.confkey) x(num)
        WHERE NOT pg_catalog.has_column_privilege(k.confrelid, x.num, 'SELECT'))))),
  'indexes', (SELECT coalesce(json_agg(json_build_object(
      'name', i.relname, 'unique', x.indisunique,
      'columns', (SELECT json_agg(coalesce(a.attname, '(expression)') ORDER BY y.at)
        FROM unnest(x.indkey::int2[]) WITH ORDINALITY y(num, at)
        LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = y.num)) ORDER BY i.relname), '[]')
    FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
    WHERE x.indrelid = c.oid AND x.indisvalid
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = x.indexrelid AND k.contype IN ('p', 'u'))
      AND (x.indexprs IS NULL OR pg_catalog.has_table_privilege(c.oid, 'SELECT')))
)::text
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY($1) ORDER BY n.nspname, c.relname";

pub(super) async fn describe(
    session: &Session,
    request: &DescribeRequest,
    tables: &Tables,
) -> Result<Description, Fault> {
    let ours = Asked::OURS;
    let names = [request.schema.as_deref(), request.table.as_deref()];
    if names.iter().flatten().any(|name| name.contains('\0')) {
        return Err(Fault::invalid("a name holds a NUL character; leave it out"));
    }
    let rows = session
        .client()
        .query_typed(
            LIST,
            &[(&names[0], Type::TEXT), (&names[1], Type::TEXT), (&TABLES_MAX, Type::INT8)],
        )
        .await
        .map_err(|error| fault(&error, ours))?;
    let mut seen: Vec<Oid> = Vec::new();
    for row in &rows {
        let read = |error: tokio_postgres::Error| Fault::internal(error.to_string());
        let (schema, table): (&str, &str) =
            (row.try_get(1).map_err(read)?, row.try_get(2).map_err(read)?);
        if tables.shows_table(schema, table) {
            seen.push(row.try_get(0).map_err(read)?);
        }
    }
    if let (true, Some(fault)) = (seen.is_empty(), request.nothing()) {
        return Err(fault);
    }
    let (page, next_offset) = request.page(seen);
    let rows = session
        .client()
        .query_typed(DETAIL, &[(&page, Type::OID_ARRAY)])
        .await
        .map_err(|error| fault(&error, ours))?;
    let mut described = Vec::new();
    for row in &rows {
        let text: &str = row.try_get(0).map_err(|error| Fault::internal(error.to_string()))?;
        let mut table: Table = serde_json::from_str(text)
            .map_err(|_| Fault::internal("a table's description does not read"))?;
        // A key or an index may hold a column that the role cannot read.
        table.reduce(tables);
        described.push(table);
    }
    Ok(Description { tables: described, next_offset })
}
