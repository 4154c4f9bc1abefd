"""What the chart refuses in words, and that no refusal shows a secret."""

import json
import re

from lib import chart
from lib.setup import REPOSITORY

PASSWORD = "hunter2"

DATABASE = {"name": "a", "kind": "postgres"}
SINGLE = {"replicaCount": 1, "state": "sqlite", "handles": [], "data": {"accessModes": ["ReadWriteOnce"]}}
SCOPES = re.findall(r"^\| `([a-z]+:[a-z]+)` \|", (REPOSITORY / "docs/policy.md").read_text(), flags=re.MULTILINE)

# What cannot work, and what helm must say of it.
REFUSED = [
    *(
        (f"a variable that nothing sets: {what}", {"config": values, **more}, said)
        for what, values, more, said in [
            ("a database's", {"databases": [{**DATABASE, "dsn": "${SALES}"}]}, {}, "secret.env has no SALES"),
            ("misspelt", {"databases": [{**DATABASE, "dsn": "${SALE}"}]}, {"secret": {"env": {"SALES": "s"}}}, "secret.env has no SALE:"),
            ("a role's", {"databases": [{**DATABASE, "roles": [{"principal": "b", "dsn": "${B}"}]}]}, {}, "secret.env has no B:"),
            ("a store's", {"stores": [{"url": "s3://a", "credentials": "${LAKE}"}]}, {}, "secret.env has no LAKE"),
            ("a collector's", {"telemetry": {"otlp_headers": {"authorization": "${TOKEN}"}}}, {}, "secret.env has no TOKEN"),
            ("the chart's, with other state", {"databases": [{**DATABASE, "dsn": "${STATE_POSTGRES}"}]}, SINGLE, "secret.env has no STATE_POSTGRES"),
            ("another key's", {"databases": [{**DATABASE, "dsn": "${HANDLE_K2}"}]}, {}, "secret.env has no HANDLE_K2"),
        ]
    ),
    ("several replicas with a file for jobs", {"state": "sqlite"}, "postgres for several replicas"),
    ("several replicas with a file for jobs, by what to change", {"state": "sqlite"}, "replicaCount to 1"),
    *(
        (f"more replicas than values/single.yaml has, by {said}", {**SINGLE, "replicaCount": 2}, said)
        for said in ("postgres for several replicas", "one id at least for several replicas", "ReadWriteMany for several replicas")
    ),
    ("state in PostgreSQL without keys", {"replicaCount": 1, "handles": []}, "one id at least with state postgres"),
    ("nothing to spill to, in words", {"spill": {"sizeLimit": "0Gi"}}, "more than 0 bytes"),
    ("a password, in words", {"config": {"databases": [{**DATABASE, "dsn": "postgresql://a:b@c/d"}]}}, "without a password, or one variable of secret.env"),
    *(
        (f"a scope that does not exist: {scope}", {"config": {"principals": [{"name": "a", "scopes": [scope]}]}}, "'files:read', 'files:write'")
        for scope in ("files:raed", "file:read", "jobs", "*", "")
    ),
    *(
        (f"two of one name in {section}", {"config": {section: [one, one]}}, f'config.{section} has two of the name "a"')
        for section, one in [
            ("principals", {"name": "a"}),
            ("datasets", {"name": "a", "files": ["/files/a.csv"]}),
            ("databases", {"name": "a", "kind": "sqlite", "path": "/a"}),
            ("tools", {"name": "a", "database": "b", "sql": "s"}),
        ]
    ),
    *(
        (f"the pattern {pattern!r} in {where}", {"config": values}, said)
        for pattern, said in [("!a", "there is no negation"), *((one, "can match a path") for one in ("", "/", "a/", "..", "a/../b", "/./a"))]
        for where, values in [
            *((f"policy.{key}", {"policy": {key: ["a", pattern]}}) for key in ("exclude", "read", "write")),
            *((f"roots.{key}", {"roots": [{"path": "/a", key: [pattern]}]}) for key in ("exclude", "read", "write", "write_exclude")),
        ]
    ),
]

# What is right, and looks a little like the above.
TAKEN = [
    SINGLE,
    {"config": {"databases": [{**DATABASE, "dsn": "${STATE_POSTGRES}"}]}},
    {"config": {"databases": [{**DATABASE, "dsn": "${SALES}", "roles": [{"principal": "b", "dsn": "${B}"}]}]}, "secret": {"env": {"SALES": "s", "B": "b"}}},
    {"config": {"databases": [{**DATABASE, "description": "$ {A} or x${A}"}], "tools": [{"name": "t", "database": "a", "sql": "${A}"}]}},
    {"config": {"principals": [{"name": "a", "scopes": SCOPES}, {"name": "A", "scopes": []}, {"name": "*"}]}},
    {"config": {"policy": {"exclude": ["a!", "[!a]", "/a", "...", "..a/.b", "**/*.key"]}}},
]

# Where somebody might write a secret that belongs elsewhere.
MISPLACED = [
    *(
        {"config": {"databases": [{**DATABASE, "dsn": dsn}]}}
        for dsn in (f"postgresql://u:{PASSWORD}@h/d", f"host=h password={PASSWORD}", f"u:{PASSWORD}@h", f"mysql://u:${{{PASSWORD}}}@h/d")
    ),
    {"config": {"databases": [{**DATABASE, "roles": [{"principal": "b", "dsn": f"postgresql://u:{PASSWORD}@h/d"}]}]}},
    {"config": {"stores": [{"url": f"https://u:{PASSWORD}@h/a"}]}},
    {"config": {"stores": [{"url": "s3://a", "endpoint": f"https://h/?key={PASSWORD}"}]}},
    {"config": {"stores": [{"url": "s3://a", "credentials": f"key:{PASSWORD}"}]}},
    {"config": {"datasets": [{"name": "a", "files": [f"https://h/a.csv?sig={PASSWORD}"]}]}},
    {"config": {"telemetry": {"otlp_endpoint": f"https://u:{PASSWORD}@c"}}},
    {"config": {"telemetry": {"otlp_headers": {"authorization": f"Bearer {PASSWORD}"}}}},
    {"config": {"server": {"public_url": f"https://u:{PASSWORD}@h/mcp"}}},
    {"config": {"state": {"postgres": f"postgresql://u:{PASSWORD}@h/d"}}},
    {"state": f"postgresql://u:{PASSWORD}@h/d"},
    {"handles": [f"k1:{PASSWORD}"]},
    {"secret": {"env": {"SALES": f"postgresql://u:{PASSWORD}@h/d"}}},
    {"secret": {"files": [f"a={PASSWORD}"]}},
]

# What a validator tries without showing it.
SILENT = {"if", "not", "propertyNames", "patternProperties"}


def show_no_secret(checks):
    """Helm's words go to the logs of pipelines."""
    for values in MISPLACED:
        try:
            chart.template(values=values)
            checks.fail(f"refused: {values}", "it was rendered")
        except RuntimeError as error:
            checks.true(f"refused without its secret: {values}", PASSWORD not in str(error), error)
    schema = json.loads((chart.CHART / "values.schema.json").read_text())

    def shown(part, where):
        """Returns where below a part a value that does not match would be shown."""
        if isinstance(part, list):
            return [one for below in part for one in shown(below, where)]
        if not isinstance(part, dict):
            return []
        if "$ref" in part:
            return shown(schema["definitions"][part["$ref"].rpartition("/")[2]], where)
        found = [where] if isinstance(part.get("pattern"), str) else []
        return found + [one for key, below in part.items() if key not in SILENT for one in shown(below, f"{where}/{key}")]

    checks.equal("the scopes are those that the server has", schema["definitions"].get("scope"), {"enum": SCOPES})
    places = {key: shown(schema["properties"][key], key) for key in ("config", "secret", "handles")}
    checks.equal("nothing there is checked by a pattern that shows it", places, {key: [] for key in places})
