"""What datasets are measured beside: DuckDB and Polars, each at its best documented way.

dataframes.py parquet CSV PARQUET               writes the same rows as Parquet, with Zstandard, by Arrow
dataframes.py duckdb|polars OPERATION FILE      runs one operation, with two threads

Prints one JSON object: `seconds`, without the time that Python and the library take to load, and `answer`,
a list of rows in which moments are texts.
"""

import json
import os
import sys
import time

os.environ["POLARS_MAX_THREADS"] = "2"

COLUMNS = ["id", "at", "region", "category", "amount", "message"]
PROFILED = ["id", "amount"]
QUANTILES = [0.25, 0.5, 0.75]


def duckdb_relation(path):
    reader = {"csv": "read_csv", "jsonl": "read_ndjson", "parquet": "read_parquet"}[path.rsplit(".", 1)[1]]
    return f"{reader}('{path}')"


def duckdb_run(operation, path):
    import duckdb

    connection = duckdb.connect(config={"threads": 2, "memory_limit": "256MB"})
    source = duckdb_relation(path)
    started = time.perf_counter()
    match operation:
        case "group":
            sql = (
                f"SELECT region, category, count(*), sum(amount), avg(amount) FROM {source} "
                "GROUP BY region, category ORDER BY region, category"
            )
            rows = connection.execute(sql).fetchall()
        case "filter":
            rows = connection.execute(f"SELECT count(*) FROM {source} WHERE message LIKE '%timeout%'").fetchall()
        case "top":
            sql = f"SELECT id, region, amount, message FROM {source} ORDER BY amount DESC, id LIMIT 100"
            rows = connection.execute(sql).fetchall()
        case "profile":
            # Its own profile of all columns: type, least, greatest, distinct, mean, deviation, quantiles, nulls.
            summary = connection.execute(f"SUMMARIZE SELECT * FROM {source}").fetchall()
            names = [column[0] for column in connection.description]
            by_name = {row[0]: dict(zip(names, row)) for row in summary}
            rows = [
                [name, by_name[name]["count"], float(by_name[name]["min"]), float(by_name[name]["max"]), float(by_name[name]["avg"])]
                for name in PROFILED
            ]
    return time.perf_counter() - started, [list(row) for row in rows]


def polars_run(operation, path):
    import polars as pl

    scan = {"csv": pl.scan_csv, "jsonl": pl.scan_ndjson, "parquet": pl.scan_parquet}[path.rsplit(".", 1)[1]]
    started = time.perf_counter()
    frame = scan(path)
    column = pl.col
    match operation:
        case "group":
            plan = (
                frame.group_by("region", "category")
                .agg(pl.len(), column("amount").sum().alias("sum"), column("amount").mean().alias("mean"))
                .sort("region", "category")
            )
        case "filter":
            plan = frame.filter(column("message").str.contains("timeout", literal=True)).select(pl.len())
        case "top":
            plan = (
                frame.select("id", "region", "amount", "message")
                .sort(["amount", "id"], descending=[True, False])
                .head(100)
            )
        case "profile":
            parts = []
            for name in COLUMNS:
                it = column(name)
                parts += [
                    it.len().alias(f"{name}.rows"),
                    it.null_count().alias(f"{name}.nulls"),
                    it.min().alias(f"{name}.min"),
                    it.max().alias(f"{name}.max"),
                    it.approx_n_unique().alias(f"{name}.distinct"),
                ]
                if name in PROFILED:
                    parts += [it.mean().alias(f"{name}.mean"), it.std().alias(f"{name}.std")]
                    parts += [it.quantile(at).alias(f"{name}.{at}") for at in QUANTILES]
            plan = frame.select(parts)
    rows = plan.collect(engine="streaming").rows()
    if operation == "profile":
        all_parts = dict(zip(plan.collect_schema().names(), rows[0]))
        rows = [[name, *(all_parts[f"{name}.{part}"] for part in ("rows", "min", "max", "mean"))] for name in PROFILED]
    return time.perf_counter() - started, [list(row) for row in rows]


def parquet(csv, out):
    # Written by neither of those who are compared, as most files are: a writer lays pages out as its own reader likes them.
    import pyarrow.csv
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.csv.read_csv(csv), out, compression="zstd")


def main():
    if sys.argv[1] == "parquet":
        parquet(*sys.argv[2:4])
        return
    run = {"duckdb": duckdb_run, "polars": polars_run}[sys.argv[1]]
    seconds, answer = run(*sys.argv[2:4])
    print(json.dumps({"seconds": seconds, "answer": answer}, default=str))


main()
