"""A Pod of the chart without a cluster: its command, variables and volumes, around the built program.

The program has a root of its own that cannot be written to, as in its image, with the volumes where the
Pod mounts them; a ConfigMap is swapped in the way in which a kubelet does it.
"""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from lib import chart
from lib.image import libraries, place
from lib.process import server
from lib.setup import binary

USER = 1000
PATIENCE_SECONDS = 30
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
SINGLE = chart.CHART / "values/single.yaml"
# A public key of RFC 8037.
JWK = {"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
SECRET = {
    "state-postgres": "postgresql://roothold:CANARY@postgres.example/roothold",
    "handle-k1": "A" * 43,
    "keys.jsonl": "",
    "jwks.json": json.dumps({"keys": [JWK]}),
    "sales-dsn": "postgresql://reader:CANARY@127.0.0.1:1/sales",
}
ENTER = """
mount --bind "$1" "$1" && mount -o remount,bind,ro "$1"
mount --rbind /proc "$1/proc"
root=$1; shift
while [ "$1" != -- ]; do mount --bind "$3" "$1" "$root$2"; shift 3; done; shift
exec chroot --userspec=1000:1000 --groups= "$root" "$@"
"""


class Pod:
    """What a kubelet would make of a rendering's Deployment; a context manager."""

    def __init__(self, objects, secret=None):
        spec = chart.the("Deployment", objects)["spec"]["template"]["spec"]
        (self.container,) = spec["containers"]
        self.volumes = {volume["name"]: volume for volume in spec["volumes"]}
        self.secret = SECRET if secret is None else secret
        self.home = Path(tempfile.mkdtemp(prefix="roothold-pod-"))
        self.root = self.home / "root"
        self.versions = 0
        (self.root / "proc").mkdir(parents=True)
        self.program = "/usr/local/bin/roothold"
        self._place_program()
        for mount in self.container["volumeMounts"]:
            (self.root / mount["mountPath"].lstrip("/")).mkdir(parents=True, exist_ok=True)
            directory = self.volume(mount["name"])
            directory.mkdir()
            os.chown(directory, USER, USER)
        self.configure(objects)
        if "secrets" in self.volumes:
            for item in self.volumes["secrets"]["secret"]["items"]:
                (self.volume("secrets") / item["path"]).write_text(self.secret[item["key"]])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.home)

    def _place_program(self):
        target = self.root / self.program.lstrip("/")
        target.parent.mkdir(parents=True)
        shutil.copy(binary("ROOTHOLD_BIN"), target)
        for library in libraries(target):
            place(self.root, library)

    def volume(self, name):
        """Returns the directory that stands for a volume."""
        return self.home / name

    def configure(self, objects):
        """Puts another ConfigMap in place, from one moment to the next."""
        self.versions += 1
        directory = self.volume("config")
        version = directory / f"..{self.versions}"
        version.mkdir()
        data = chart.the("ConfigMap", objects)["data"]
        for name, text in data.items():
            (version / name).write_text(text)
            if self.versions == 1:
                (directory / name).symlink_to(f"..data/{name}")
        (directory / "..next").symlink_to(version.name)
        (directory / "..next").rename(directory / "..data")

    def command(self, *arguments):
        mounts = []
        for mount in self.container["volumeMounts"]:
            way = "-r" if mount.get("readOnly") else "-w"
            mounts += [self.volume(mount["name"]), mount["mountPath"], way]
        inside = [self.program, *(arguments or self.container["args"])]
        enter = ["unshare", "--mount", "sh", "-ec", ENTER, "sh", self.root]
        return [str(part) for part in [*enter, *mounts, "--", *inside]]

    def env(self):
        found = {"PATH": os.environ["PATH"], "HOME": "/var/lib/roothold"}
        for variable in self.container["env"]:
            key = variable.get("valueFrom", {}).get("secretKeyRef", {}).get("key")
            found[variable["name"]] = self.secret[key] if key else variable["value"]
        return found


def is_accepted(checks):
    """The server reads what the chart writes."""
    for file in chart.values_files():
        name = file.stem if file else "the defaults"
        with Pod(chart.template(file)) as pod:
            command = pod.command("check", "--config", "/etc/roothold/roothold.toml")
            code, out, err = chart.run(command, env=pod.env())
            said = out + err
            if name == "databases":
                why = "a database that is required cannot be used"
                checks.true(f"roothold check takes {name}, but for the database", why in said, said)
            else:
                checks.true(f"roothold check takes {name}", code == 0, said)
            checks.true(f"{name}: no secret is shown", "CANARY" not in said, said)


def get(url, key=None, body=None):
    """Returns (status, body) of a request."""
    request = urllib.request.Request(url, data=body)
    if key:
        request.add_header("Authorization", f"Bearer {key}")
    if body:
        request.add_header("Content-Type", "application/json")
        request.add_header("Accept", "application/json, text/event-stream")
        request.add_header("MCP-Protocol-Version", "2025-11-25")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def call(tool, key, **arguments):
    params = {"name": tool, "arguments": arguments}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    return get("http://127.0.0.1:8000/mcp", key, json.dumps(body).encode())


def status():
    return json.loads(get("http://127.0.0.1:9464/status")[1])


def eventually(is_so):
    """Waits until something is so; says whether it became so in time."""
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        if is_so():
            return True
        time.sleep(0.1)
    return False


def values(*databases):
    """One replica with databases that change while it runs."""
    sections = [
        {"name": name, "kind": "sqlite", "path": f"/srv/db/{name}.sqlite3"} for name in databases
    ]
    config = {"server": {"config_poll_seconds": 1}, "databases": sections}
    volumes = [{"name": name, "emptyDir": {}} for name in ("files", "db")]
    mounts = [{"name": name, "mountPath": f"/srv/{name}", "readOnly": True} for name in ("files", "db")]
    return {
        "rollOnEveryChange": False,
        "config": config,
        "volumes": volumes,
        "volumeMounts": mounts,
        "shutdown": {"preStopDelaySeconds": 2},
    }


def serves(checks):
    """It runs as the Pod says, takes a swapped ConfigMap, and ends as the chart says that it does."""
    with Pod(chart.template(SINGLE, values("shop"))) as pod:
        (pod.volume("files") / "a.txt").write_text("PUBLIC")
        for name in ("shop", "ledger"):
            with sqlite3.connect(pod.volume("db") / f"{name}.sqlite3") as database:
                database.execute("CREATE TABLE orders (id INTEGER)")
        keys = pod.volume("secrets") / "keys.jsonl"
        new = [binary("ROOTHOLD_BIN"), "keys", "new", "ci", "--file", keys, "--scopes", "files:read,databases:read"]
        keys.unlink()
        key = subprocess.run(new, check=True, capture_output=True, text=True).stdout.strip()
        keys.chmod(0o444)
        log = pod.home / "log"
        with server(pod.command(), "http://127.0.0.1:8000/ready", pod.env(), log) as child:
            try:
                checks.true("it is ready", eventually(lambda: get("http://127.0.0.1:8000/ready")[0] == 200))
                checks.equal("every probe of the Pod is answered", probed(pod.container), {name: 200 for name in PROBES})
                checks.equal("who proves nothing is refused", call("listRoots", None)[0], 401)
                code, body = call("read_text_file", key, path="/files/a.txt")
                checks.true("a key of the Secret reads a file of the volume", code == 200 and b"PUBLIC" in body, body)
                print(f"note kube: Landlock in the Pod: {status()['walls']['landlock']['state']}")
                swaps(checks, pod, key)
                ends(checks, child, key)
            except Exception:
                print(log.read_text()[-3000:])
                raise


def probed(container):
    """Returns what a kubelet is answered, by probe."""
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    asked = {name: container[name]["httpGet"] for name in PROBES}
    return {name: get(f"http://127.0.0.1:{ports[one['port']]}{one['path']}")[0] for name, one in asked.items()}


def databases():
    return sorted(one["name"] for one in status().get("databases", []))


def swaps(checks, pod, key):
    pod.configure(chart.template(SINGLE, values("shop", "ledger")))
    taken = eventually(lambda: databases() == ["ledger", "shop"])
    checks.true("a swapped ConfigMap is taken without a restart", taken, status())
    wrong = values("shop")
    wrong["config"]["databases"][0]["rows_max"] = 0
    pod.configure(chart.template(SINGLE, wrong))
    metric = "roothold_config_refused 1"
    refused = eventually(lambda: metric in get("http://127.0.0.1:9464/metrics")[1].decode())
    checks.true("a wrong one is refused, and seen by its metric", refused)
    checks.equal("and changes nothing", databases(), ["ledger", "shop"])
    checks.equal("calls go on", call("listRoots", key)[0], 200)


def ends(checks, child, key):
    child.send_signal(signal.SIGTERM)
    unready = eventually(lambda: get("http://127.0.0.1:8000/ready")[0] == 503)
    checks.true("after SIGTERM it says that it is not ready", unready)
    checks.equal("and still takes calls", call("listRoots", key)[0], 200)
    checks.equal("and ends well", child.wait(PATIENCE_SECONDS), 0)
