"""Replicas that are watched: three servers as plain processes, a PostgreSQL, and clients that call all the time."""

import glob
import http.client
import json
import os
import sqlite3
import subprocess
import threading
import time
from pathlib import Path

from lib.mcp import META, REVISION, request
from lib.process import stop
from lib.setup import binary

CONFIGURATION = """
[server]
listen = "127.0.0.1:{port}"
pre_stop_delay_seconds = 0

[telemetry]
listen = "127.0.0.1:{private}"
log_format = "json"

[[roots]]
uri = "file:///work"
name = "Work"
path = "{home}/work"
access = "rw"

[audit]
dir = "{home}/audit"

[state]
dir = "{home}/state"

[[databases]]
name = "book"
kind = "sqlite"
path = "{home}/book.sqlite3"

[[databases]]
name = "shop"
kind = "postgres"
dsn = "postgresql://shop@127.0.0.1:{postgres}/shop"
"""
POSTGRES = 5433
# A role that can do nothing but read, as docs/databases.md has it.
ROLE = """
CREATE ROLE shop LOGIN; REVOKE ALL ON SCHEMA public FROM PUBLIC; REVOKE ALL ON DATABASE shop FROM PUBLIC;
GRANT CONNECT ON DATABASE shop TO shop; CREATE SCHEMA app; GRANT USAGE ON SCHEMA app TO shop;
ALTER ROLE shop SET search_path = app; CREATE TABLE app.orders (id int PRIMARY KEY, amount int);
INSERT INTO app.orders SELECT i, i FROM generate_series(1, 100) i; GRANT SELECT ON ALL TABLES IN SCHEMA app TO shop;
"""
CALL_SECONDS = 20


class Postgres:
    """A PostgreSQL in a directory, as a user that is not root."""

    def __init__(self, home):
        self.home = Path(home)
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
        if not found:
            raise RuntimeError("PostgreSQL is missing: install Debian's postgresql")
        self.programs = Path(found[-1]).parent
        self.home.mkdir()
        os.chown(self.home, 65534, 65534)
        data = ["-D", self.home / "data"]
        self._run("initdb", *data, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
        self.child = None

    def _run(self, name, *arguments, stdin=None):
        command = [self.programs / name, *arguments]
        done = subprocess.run(
            command, user=65534, group=65534, cwd=self.home, input=stdin, text=True, capture_output=True
        )
        if done.returncode != 0:
            raise RuntimeError(f"{name}: {done.stderr[-1000:]}{done.stdout[-1000:]}")

    def start(self, address="127.0.0.1"):
        command = [self.programs / "postgres", "-D", self.home / "data", "-c", "fsync=off"]
        for option in (f"listen_addresses={address}", f"port={POSTGRES}", f"unix_socket_directories={self.home}"):
            command += ["-c", option]
        with open(self.home / "log", "ab") as log:
            self.child = subprocess.Popen(
                command, user=65534, group=65534, cwd=self.home, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + 30
        while True:
            try:
                return self.say("postgres", "SELECT 1")
            except RuntimeError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def say(self, database, sql):
        options = ["-h", self.home, "-p", str(POSTGRES), "-U", "postgres", "-v", "ON_ERROR_STOP=1", "-qX"]
        self._run("psql", *options, database, stdin=sql)

    def stop(self):
        if self.child:
            # An orderly stop would wait for the clients, who stay.
            self.child.kill()
            self.child.wait()


class Replica:
    """A server, its directories and its ports."""

    def __init__(self, number, home, env):
        self.number = number
        self.home = Path(home)
        self.env = env
        self.port = 8000 + number
        self.private = 9460 + number
        self.child = None
        for name in ("work", "audit", "state"):
            (self.home / name).mkdir(parents=True)
        self.fill()
        text = CONFIGURATION.format(
            port=self.port, private=self.private, home=self.home, postgres=POSTGRES
        )
        (self.home / "roothold.toml").write_text(text)

    def fill(self):
        work = self.home / "work"
        (work / "note.txt").write_text("a line\n" * 50)
        (work / ".env").write_text("SECRET=1\n")
        (work / "edit.txt").write_text("turn 0\n")
        rows = "".join(f"{number},name {number},{number % 7}\n" for number in range(3000))
        (work / "rows.csv").write_text("id,name,kind\n" + rows)
        for number in range(200):
            (work / f"file-with-a-long-name-{number:04}.md").write_text(f"# {number}\n")
        with sqlite3.connect(self.home / "book.sqlite3") as book:
            book.execute("CREATE TABLE entries (id INTEGER PRIMARY KEY, text TEXT)")
            book.executemany("INSERT INTO entries (text) VALUES (?)", [("x",)] * 200)
        book.close()

    def start(self):
        command = [binary("ROOTHOLD_BIN"), "serve", "--config", self.home / "roothold.toml"]
        with open(self.home / "log", "ab") as log:
            self.child = subprocess.Popen(
                command, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + 30
        while self.get("/ready") != 200:
            if self.child.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"a replica is never ready: {self.log()}")
            time.sleep(0.05)

    def log(self):
        return (self.home / "log").read_text(errors="replace")[-2000:]

    def get(self, path):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            connection.request("GET", path)
            return connection.getresponse().status
        except OSError:
            return None

    def kill(self):
        self.child.kill()
        self.child.wait()

    def stop(self):
        if self.child:
            stop(self.child)

    def call(self, tool, **arguments):
        """Calls a tool and returns its result; an empty one where there is no answer."""
        head, body = request(tool, arguments)
        lines = head.decode().split("\r\n")[1:-2]
        return self.post(dict(line.split(": ", 1) for line in lines), body)

    def ask(self, method, **params):
        """Asks for anything else than a tool."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params | {"_meta": META}}
        headers = {
            "Host": "localhost",
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": REVISION,
            "Mcp-Method": method,
        }
        if "uri" in params:
            headers["Mcp-Name"] = params["uri"]
        return self.post(headers, json.dumps(body))

    def post(self, headers, body):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=CALL_SECONDS)
            connection.request("POST", "/mcp", body, headers)
            text = connection.getresponse().read()
            connection.close()
            return json.loads(text).get("result", {})
        except (OSError, ValueError, http.client.HTTPException):
            return {}


class Load:
    """A context manager: a client of each replica calls every tool again and again, while its block runs."""

    def __init__(self, replicas, datasets):
        self._stop = threading.Event()
        self.datasets = datasets
        self._threads = [threading.Thread(target=self._client, args=[one], daemon=True) for one in replicas]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(CALL_SECONDS + 5)

    def _client(self, replica):
        turn = 0
        while not self._stop.is_set():
            turn += 1
            self._turn(replica, turn)
            self._stop.wait(0.2)

    def _turn(self, replica, turn):
        replica.call("read_text_file", path="/work/note.txt")
        replica.call("list_directory", path="/work", max_bytes=2048)
        replica.call("search_files", path="/work", pattern="*.md", max_bytes=2048)
        replica.call("edit_file", path="/work/edit.txt", edits=[{"oldText": "turn", "newText": "turn"}])
        replica.call("write_file", path=f"/work/new-{turn % 3}.txt", content=f"{turn}")
        replica.ask("tools/list")
        replica.ask("resources/read", uri="file:///work/note.txt")
        replica.call("no_such_tool")
        for database in ("book", "shop"):
            table = "entries" if database == "book" else "orders"
            replica.call("query_database", database=database, sql=f"SELECT id FROM {table}")
            replica.call("query_database", database=database, sql="SELECT nothing FROM nowhere")
        if turn % 10 == 0:
            replica.call("read_text_file", path="/work/.env")
        if self.datasets:
            replica.call("query_dataset", data_source="/work/rows.csv", sql="SELECT count(*) FROM data")
            replica.call("process_large_dataset", data_source="/work/rows.csv", operation="profile")
            if turn % 3 == 0:
                replica.call(
                    "process_large_dataset", data_source="/work/rows.csv", operation="profile", background=True
                )
