#!/usr/bin/env python3
"""Makes the dashboards beside it: `python3 deploy/grafana/dashboards.py` writes dashboards/*.json.

A panel is a title, its queries and what its numbers are; where it stands follows from the order. The tests make them
anew and compare, and run every query against a Prometheus that scrapes a loaded server.
"""

import json
import sys
from pathlib import Path

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
# What the variables of a dashboard choose.
PLACE = 'job=~"$job", namespace=~"$namespace"'
F = f'{PLACE}, instance=~"$instance"'
CALLS = f'mcp_method_name="tools/call", {F}'
COUNT = f"mcp_server_operation_duration_seconds_count{{{CALLS}}}"
# Failed by the server's own fault, as the rules have it: time-outs of tools that answer from files alone.
FAILED = f'mcp_server_operation_duration_seconds_count{{{CALLS}, error_type=~"internal|unavailable|busy"}}'
FROM_FILES = "read_.*|get_file_info|list_.*|listRoots|search_files|directory_tree|write_file|edit_file|create_directory|move_file|delete_file"
LATE = f'mcp_server_operation_duration_seconds_count{{{CALLS}, error_type="timeout", gen_ai_tool_name=~"{FROM_FILES}"}}'
FILES = "read_.*|get_file_info|list_.*|search_.*|directory_tree|write_file|edit_file|create_directory|move_file|delete_file"
EVERY = "$__rate_interval"
COLUMNS = 24


def rate(series, by):
    """Events a second, by labels."""
    return f"sum by ({by}) (rate({series}[{EVERY}]))"


def quantile(share, histogram, labels, by):
    """The time that a share of what a histogram has counted stayed below."""
    by = f"{by}, le" if by else "le"
    return f"histogram_quantile({share}, sum by ({by}) (rate({histogram}_bucket{{{labels}}}[{EVERY}])))"


def of(series, labels=""):
    """A series of the chosen replicas."""
    return f"{series}{{{labels}, {F}}}" if labels else f"{series}{{{F}}}"


def total(series, by="", labels=""):
    """The sum over the chosen replicas, by labels."""
    return f"sum by ({by}) ({of(series, labels)})" if by else f"sum({of(series, labels)})"


def least(series, labels=""):
    """The least of the chosen replicas: what each may use, where they are alike."""
    return f"min({of(series, labels)})"


def lines(title, unit, *queries, about="", width=12, stack=False, top=None):
    """Lines over time."""
    custom = {"fillOpacity": 20 if stack else 5, "showPoints": "never", "lineWidth": 1}
    if stack:
        custom["stacking"] = {"mode": "normal", "group": "A"}
    defaults = {"unit": unit, "min": 0, "custom": custom}
    if top is not None:
        defaults["max"] = top
    options = {
        "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return panel("timeseries", title, about, width, 8, queries, defaults, options)


def number(title, unit, query, about="", steps=(), width=4):
    """One number; `steps` are values from which it has another colour."""
    thresholds = [{"color": "green", "value": None}]
    thresholds += [{"color": colour, "value": value} for colour, value in steps]
    defaults = {"unit": unit, "thresholds": {"mode": "absolute", "steps": thresholds}}
    options = {
        "colorMode": "value",
        "graphMode": "area",
        "textMode": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    return panel("stat", title, about, width, 4, [(query, "")], defaults, options)


def table(title, by, *columns, about="", width=24):
    """A row for each value of `by`; a column is its name, its unit and its query."""
    made = panel("table", title, about, width, 9, [(query, "") for _, _, query in columns], {}, {})
    overrides, names = [], {}
    for at, (name, unit, _) in enumerate(columns):
        letter = chr(ord("A") + at)
        names[f"Value #{letter}"] = name
        field = {"matcher": {"id": "byName", "options": name}}
        overrides.append(field | {"properties": [{"id": "unit", "value": unit}]})
    for target in made["targets"]:
        target |= {"format": "table", "instant": True, "range": False}
    made["fieldConfig"]["overrides"] = overrides
    hidden = {"excludeByName": {"Time": True}, "renameByName": names}
    made["transformations"] = [
        {"id": "joinByField", "options": {"byField": by, "mode": "outer"}},
        {"id": "organize", "options": hidden},
    ]
    return made


def panel(kind, title, about, width, height, queries, defaults, options):
    targets = [
        {
            "datasource": DATASOURCE,
            "refId": chr(ord("A") + at),
            "expr": query,
            "legendFormat": legend or "__auto",
        }
        for at, (query, legend) in enumerate(queries)
    ]
    return {
        "type": kind,
        "title": title,
        "description": about,
        "datasource": DATASOURCE,
        "gridPos": {"w": width, "h": height},
        "targets": targets,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
    }


def variable(name, label, query):
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "sort": 1,
        "current": {"text": "All", "value": "$__all"},
    }


def dashboard(uid, title, about, panels):
    """A dashboard, its panels placed one after the other."""
    x = y = height = 0
    for at, one in enumerate(panels):
        place = one["gridPos"]
        if x + place["w"] > COLUMNS:
            x, y, height = 0, y + height, 0
        one["id"] = at + 1
        place["x"], place["y"] = x, y
        x, height = x + place["w"], max(height, place["h"])
    variables = [
        {"name": "datasource", "label": "Source", "type": "datasource", "query": "prometheus"},
        variable("job", "Job", "label_values(roothold_build_info, job)"),
        # Where there is no such label, all that can be chosen is all.
        variable("namespace", "Namespace", 'label_values(roothold_build_info{job=~"$job"}, namespace)'),
        variable("instance", "Replica", f"label_values(roothold_build_info{{{PLACE}}}, instance)"),
    ]
    links = {"type": "dashboards", "tags": ["roothold"], "title": "Roothold", "asDropdown": True}
    return {
        "uid": f"roothold-{uid}",
        "title": f"Roothold: {title}",
        "description": about,
        "tags": ["roothold"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "links": [links | {"includeVars": True, "keepTime": True}],
        "annotations": {"list": []},
        "templating": {"list": variables},
        "panels": panels,
    }


def overview():
    tool = "gen_ai_tool_name"
    failing = f"(sum(rate({FAILED}[{EVERY}]) or rate({LATE}[{EVERY}])) or vector(0)) / sum(rate({COUNT}[{EVERY}]))"
    latency = "mcp_server_operation_duration_seconds"
    return dashboard("overview", "overview", "Throughput, response times and errors of tools.", [
        number("Replicas that are ready", "none", total("roothold_ready"), steps=[]),
        number("Calls a second", "reqps", f"sum(rate({COUNT}[{EVERY}]))"),
        number("Fail by our fault", "percentunit", failing, "What callers ask wrongly or may not do is not among them.",
               [("orange", 0.001), ("red", 0.01)]),
        number("95 % answered within", "s", quantile(0.95, latency, CALLS, ""), steps=[("orange", 0.5), ("red", 2)]),
        number("Calls in flight", "none", total("roothold_calls_in_flight")),
        number("Calls that wait", "none", total("roothold_calls_waiting"), steps=[("orange", 1)]),
        lines("Calls by tool", "reqps", (rate(COUNT, tool), "{{gen_ai_tool_name}}"), stack=True),
        lines("What calls came to", "reqps", (rate(COUNT, "error_type"), "{{error_type}}"),
              about="Without a name: an answer. docs/metrics.md has the others.", stack=True),
        lines("Response times", "s", *[(quantile(share, latency, CALLS, ""), f"{share * 100:g} %") for share in (0.5, 0.95, 0.99)]),
        lines("95 % of each tool's calls", "s", (quantile(0.95, latency, CALLS, tool), "{{gen_ai_tool_name}}")),
        lines("Other methods", "reqps",
              (rate(f'mcp_server_operation_duration_seconds_count{{mcp_method_name!="tools/call", {F}}}', "mcp_method_name"), "{{mcp_method_name}}")),
        lines("Calls at once", "none", (total("roothold_calls_in_flight", "instance"), "{{instance}}"),
              (least("roothold_calls_max"), "at most, each")),
        lines("Bytes of answers", "Bps", (rate(of("roothold_answer_bytes_total"), tool), "{{gen_ai_tool_name}}"), stack=True),
        lines("Answers that ended at a limit", "cps", (rate(of("roothold_answers_cut_total"), tool), "{{gen_ai_tool_name}}"),
              about="They have a next page; many of one tool mean that its callers ask for more than they use."),
        lines("HTTP requests", "reqps", (rate(of("roothold_http_requests_total"), "status, path"), "{{status}} {{path}}"), stack=True),
        lines("Connections", "none", (total("roothold_http_connections", "instance"), "{{instance}}")),
        lines("Answers that clients have not read", "bytes", (total("roothold_answers_held_bytes", "instance"), "{{instance}}"),
              (least("roothold_answers_max_bytes"), "at most, each"), about="Of those beyond 64 KiB, which the server holds in memory."),
        lines("Answers refused for want of room", "cps", (rate(of("roothold_answers_refused_total"), "instance"), "{{instance}}")),
        table("Tools", tool,
              ("calls a second", "reqps", f"sum by ({tool}) (rate({COUNT}[{EVERY}]))"),
              ("fail", "percentunit", f'sum by ({tool}) (rate(mcp_server_operation_duration_seconds_count{{{CALLS}, error_type!=""}}[{EVERY}])) / sum by ({tool}) (rate({COUNT}[{EVERY}]))'),
              ("mean", "s", f"sum by ({tool}) (rate({latency}_sum{{{CALLS}}}[{EVERY}])) / sum by ({tool}) (rate({COUNT}[{EVERY}]))"),
              ("95 %", "s", quantile(0.95, latency, CALLS, tool)),
              ("bytes a call", "bytes", f"sum by ({tool}) (rate({of('roothold_answer_bytes_total')}[{EVERY}])) / sum by ({tool}) (rate({COUNT}[{EVERY}]))")),
    ])


def files():
    tool = "gen_ai_tool_name"
    labels = f'gen_ai_tool_name=~"{FILES}", {CALLS}'
    hits = of("roothold_cache_requests_total", 'outcome="hit"')
    return dashboard("files", "files and index", "File tools, what is kept in memory for them, and the threads that they work on.", [
        lines("Calls of file tools", "reqps", (rate(f"mcp_server_operation_duration_seconds_count{{{labels}}}", tool), "{{gen_ai_tool_name}}"), stack=True),
        lines("95 % of their calls", "s", (quantile(0.95, "mcp_server_operation_duration_seconds", labels, tool), "{{gen_ai_tool_name}}")),
        lines("Answered from memory", "percentunit",
              (f"{rate(hits, 'cache')} / {rate(of('roothold_cache_requests_total'), 'cache')}", "{{cache}}"),
              about="Contents of small files, places of lines in large ones, what directories hold.", top=1),
        lines("Memory for that", "bytes", (total("roothold_cache_bytes", "cache"), "{{cache}}"), stack=True),
        lines("Threads at work on files", "none", (total("roothold_blocking_threads", "instance", 'state="in_use"'), "{{instance}}"),
              (least("roothold_blocking_threads", 'state="max"'), "at most, each"),
              (total("roothold_blocking_waiting", "instance"), "{{instance}}, waiting"),
              about="A principal has half of the threads at most; what it wants beyond waits, though others are free."),
        lines("Subscriptions to changes", "none", (total("roothold_subscriptions"), "open"),
              (f"sum(rate({of('roothold_notifications_total')}[{EVERY}]))", "told a second")),
    ])


def datasets():
    duration = "roothold_dataset_operation_duration_seconds"
    return dashboard("datasets", "datasets and jobs", "Questions about files as tables, and work that goes on after its call.", [
        lines("Operations on datasets", "ops", (rate(of(f"{duration}_count"), "operation"), "{{operation}}"), stack=True),
        lines("95 % of each", "s", (quantile(0.95, duration, F, "operation"), "{{operation}}")),
        lines("Bytes read from files", "Bps", (rate(of("roothold_dataset_read_bytes_total"), "operation"), "{{operation}}"), stack=True),
        lines("Memory of queries", "bytes", (total("roothold_dataset_memory_bytes", "instance"), "{{instance}}"),
              (least("roothold_dataset_memory_max_bytes"), "at most, each")),
        lines("Bytes of queries on disk", "bytes", (total("roothold_dataset_spill_bytes", "instance"), "{{instance}}"),
              (least("roothold_dataset_spill_max_bytes"), "at most, each"), about="What did not fit into memory."),
        lines("Jobs in the store", "none", (f"max by (state) ({of('roothold_jobs')})", "{{state}}"),
              about="Of all replicas that share the store.", stack=True),
        lines("Jobs at work", "none", (total("roothold_jobs_running", "instance"), "{{instance}}")),
        lines("Jobs taken in", "cps", (rate(of("roothold_jobs_submitted_total"), "gen_ai_tool_name"), "{{gen_ai_tool_name}}")),
        lines("Chunks committed", "cps", (rate(of("roothold_job_chunks_total"), "gen_ai_tool_name"), "{{gen_ai_tool_name}}")),
        lines("Runs by how they ended", "cps", (rate(of("roothold_job_runs_total"), "outcome"), "{{outcome}}"),
              about="`released` and `put_off` go on later, `lost` is another replica's now.", stack=True),
        lines("Half of the runs took", "s", (quantile(0.5, "roothold_job_run_duration_seconds", F, "gen_ai_tool_name"), "{{gen_ai_tool_name}}")),
        lines("Longest silence of a job", "s", (f"max by (instance) ({of('roothold_job_silence_seconds')})", "{{instance}}")),
        lines("Requests to the store that failed", "cps", (rate(of("roothold_state_outages_total"), "instance"), "{{instance}}")),
    ])


def databases():
    duration = "roothold_database_operation_duration_seconds"
    failed = of(f"{duration}_count", 'error_type!=""')
    asked = rate(of(f"{duration}_count"), "kind")
    return dashboard("databases", "databases", "Users' databases by kind; /status on the private port has them by name.", [
        lines("Asked", "ops", (rate(of(f"{duration}_count"), "kind, operation"), "{{kind}} {{operation}}"), stack=True),
        lines("Failed", "percentunit", (f"({rate(failed, 'kind')} or 0 * {asked}) / {asked}", "{{kind}}"), top=1),
        lines("95 % answered within", "s", (quantile(0.95, duration, F, "kind, operation"), "{{kind}} {{operation}}")),
        lines("Rows", "rps", (rate(of("roothold_database_rows_total"), "kind"), "{{kind}}")),
        lines("Connections", "none", (total("roothold_database_connections", "kind, state", 'state!="max"'), "{{kind}} {{state}}"),
              (total("roothold_database_connections", "kind", 'state="max"'), "{{kind}} at most"), stack=False,
              about="Of all databases of a kind: one that is full may hide behind others, and shows in the calls that wait."),
        lines("Calls that wait for a connection", "none", (total("roothold_database_calls_waiting", "kind, instance"), "{{kind}} {{instance}}")),
        lines("Databases by what is known of them", "none", (total("roothold_databases", "kind, state"), "{{kind}} {{state}}")),
        lines("Roles by what is known of them", "none", (total("roothold_database_roles", "kind, state"), "{{kind}} {{state}}")),
    ])


def refusals():
    return dashboard("refusals", "denials and audit", "What was refused, by which rule, and whether all of it is on record.", [
        number("The audit log can be written", "none", least("roothold_audit_healthy"), "Where it is 0, every call is refused.", width=6),
        number("Behind the disk", "s", f"max({of('roothold_audit_lag_seconds')})", steps=[("orange", 3), ("red", 10)], width=6),
        number("Denials a second", "cps", f"sum(rate({of('roothold_denials_total')}[{EVERY}]))", width=6),
        number("Credentials refused a second", "cps", f"sum(rate({of('roothold_auth_failures_total')}[{EVERY}]))", width=6),
        lines("Denials by rule", "cps", (rate(of("roothold_denials_total"), "rule"), "{{rule}}"), stack=True),
        lines("Refused credentials by what was wrong", "cps", (rate(of("roothold_auth_failures_total"), "class"), "{{class}}"), stack=True),
        lines("Beyond a limit", "cps", (f"sum(rate({of('roothold_rate_limited_total')}[{EVERY}]))", "a principal's rate"),
              (f"sum by (reason) (rate({of('roothold_http_connections_refused_total')}[{EVERY}]))", "connections, {{reason}}")),
        lines("Refused credentials that are not on record", "cps", (f"sum(rate({of('roothold_auth_failures_unrecorded_total')}[{EVERY}]))", "not recorded"),
              about="At most 20 a second are; the others are counted here."),
        lines("Lines of the audit log", "cps", (rate(of("roothold_audit_lines_total"), "instance"), "{{instance}}")),
        lines("Size of the log that is written now", "bytes", (total("roothold_audit_file_bytes", "instance"), "{{instance}}"),
              about="Another begins at `audit.file_bytes_max`, so it falls to little from time to time."),
        lines("Lines that are not on the disk yet", "none", (total("roothold_audit_unsynced_lines", "instance"), "{{instance}}")),
        lines("A sync takes", "s",
              (f"{rate(of('roothold_audit_sync_seconds_total'), 'instance')} / {rate(of('roothold_audit_syncs_total'), 'instance')}", "{{instance}}")),
        lines("Walls that stand", "none", (total("roothold_walls", "wall"), "{{wall}}")),
    ])


def objectives():
    windows = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
    job = PLACE
    burn = [(f"roothold:failing:ratio{w}{{{job}}} / 0.001", w) for w in windows]
    slow = [(f"roothold:slow:ratio{w}{{{job}}} / 0.01", w) for w in windows]
    return dashboard("objectives", "objectives", "How fast the error budgets of 30 days burn: at 1 they are just used up. The rules are those of deploy/prometheus.", [
        number("Budget for failures left", "percentunit", f"min(roothold:failing:budget30d{{{job}}})",
               "Of the last 30 days, or since they are recorded; of several installations the worst.", [], 8),
        number("Budget for slow calls left", "percentunit", f"min(roothold:slow:budget30d{{{job}}})", "", [], 8),
        number("Alerts that fire", "none", 'count(ALERTS{alertname=~"Roothold.*", alertstate="firing"}) or vector(0)', "", [("orange", 1)], 8),
        lines("Failures: burn rate by window", "none", *burn, about="An alert fires beyond 14.4 (1h and 5m), 6 (6h and 30m), 3 (1d and 2h), 1 (3d and 6h)."),
        lines("Slow calls: burn rate by window", "none", *slow),
        lines("Calls that fail", "percentunit", (f"roothold:failing:ratio5m{{{job}}}", "{{job}}")),
        lines("Calls that are slow", "percentunit", (f"roothold:slow:ratio5m{{{job}}}", "{{job}}")),
        lines("Calls", "reqps", (f"sum by (gen_ai_tool_name) (roothold:calls:rate5m{{{job}}})", "{{gen_ai_tool_name}}"), stack=True),
        lines("95 % of each tool's calls", "s", (f"roothold:call_duration:p95_5m{{{job}}}", "{{gen_ai_tool_name}}")),
    ])


def process():
    cores = f"{rate(of('process_cpu_seconds_total'), 'instance')}"
    busy = f"{rate(of('roothold_runtime_busy_seconds_total'), 'instance')} / sum by (instance) ({of('roothold_runtime_workers')})"
    free = f"{of('roothold_disk_free_bytes')} / {of('roothold_disk_size_bytes')}"
    return dashboard("process", "process and runtime", "What the replicas use, beside what they may.", [
        lines("Processors", "none", (cores, "{{instance}}"), (least("roothold_cpu_limit_cores"), "at most, each")),
        lines("Held back by the quota", "percentunit", (rate(of("roothold_cpu_throttled_seconds_total"), "instance"), "{{instance}}")),
        lines("Resident memory", "bytes", (total("process_resident_memory_bytes", "instance"), "{{instance}}"),
              (least("roothold_memory_limit_bytes"), "at most, each")),
        lines("File descriptors", "none", (total("process_open_fds", "instance"), "{{instance}}"), (least("process_max_fds"), "at most, each")),
        lines("Threads that answer have work", "percentunit", (busy, "{{instance}}"), top=1),
        lines("Tasks", "none", (total("roothold_runtime_tasks", "instance"), "{{instance}}"),
              (total("roothold_runtime_queued_tasks", "instance"), "{{instance}}, waiting")),
        lines("Threads", "none", (total("process_threads", "instance"), "{{instance}}")),
        lines("Free on the server's own disks", "percentunit", (f"min by (instance, disk) ({free})", "{{instance}} {{disk}}"), top=1),
        lines("Up for", "s", (f"time() - max by (instance) ({of('process_start_time_seconds')})", "{{instance}}")),
        lines("Replicas by version", "none", (f"count by (version) ({of('roothold_build_info')})", "{{version}}"), stack=True),
        lines("Ready", "none", (total("roothold_ready", "instance"), "{{instance}}"), (total("roothold_stopping", "instance"), "{{instance}}, stopping"), top=1),
        lines("The newest configuration was refused", "none", (total("roothold_config_refused", "instance"), "{{instance}}"), top=1),
        lines("Spans of traces", "cps", (rate(of("roothold_trace_spans_total"), "outcome"), "{{outcome}}"),
              about="`failed`: the collector did not take them; `dropped`: the queue had no room. Calls wait for neither.", stack=True),
        lines("Scraped", "none", (f"up{{{PLACE}}}", "{{instance}}"), top=1),
    ])


def made():
    """Returns the files: name to text."""
    all = [overview(), files(), datasets(), databases(), refusals(), objectives(), process()]
    return {f"{one['uid'].removeprefix('roothold-')}.json": json.dumps(one, indent=1) + "\n" for one in all}


def main():
    here = Path(__file__).resolve().parent / "dashboards"
    for name, text in made().items():
        (here / name).write_text(text)


if __name__ == "__main__":
    sys.exit(main())
