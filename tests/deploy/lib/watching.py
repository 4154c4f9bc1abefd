"""Prometheus and Alertmanager as they are deployed, but faster: what takes minutes there takes seconds here."""

import http.server
import json
import re
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from lib.process import stop, wait_until_it_answers
from lib.setup import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
RULES = DEPLOY / "prometheus" / "roothold.rules.yaml"
ROUTES = DEPLOY / "alertmanager" / "alertmanager.yml"
PROMETHEUS = "http://127.0.0.1:9090"
ALERTMANAGER = "http://127.0.0.1:9093"
HOOK = 9999
# The label that a target in a cluster has.
NAMESPACE = "agents"
# So much faster does time pass in the rules.
FASTER = 30
SCRAPED_SECONDS = 60
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def faster(rules):
    """Returns the rules with every duration shortened; none is less than one second."""

    def shorter(match):
        seconds = int(match[2]) * UNITS[match[3]]
        return f"{match[1]}{max(1, seconds // FASTER)}s"

    return re.sub(r"(\[|offset |for: |interval: )(\d+)([smhd])", shorter, rules)


def hooked(routes):
    """Returns the routes with receivers that are reached here, and without waiting."""
    routes = re.sub(r"group_wait: \w+", "group_wait: 1s", routes)
    routes = re.sub(r"group_interval: \w+", "group_interval: 1s", routes)
    hook = r"\g<0>\n    webhook_configs:\n      - url: http://127.0.0.1:%d/\1\n        send_resolved: true" % HOOK
    before, receivers = routes.split("\nreceivers:\n")
    return before + "\nreceivers:\n" + re.sub(r"  - name: (\w+)", hook, receivers)


def settings(ports):
    return f"""
global:
  scrape_interval: 1s
  evaluation_interval: 1s
rule_files: [rules.yaml]
alerting:
  alertmanagers:
    - static_configs: [{{targets: ["127.0.0.1:9093"]}}]
scrape_configs:
  - job_name: roothold
    static_configs: [{{targets: {json.dumps([f"127.0.0.1:{port}" for port in ports])}, labels: {{namespace: {NAMESPACE}}}}}]
"""


class Hook:
    """Where Alertmanager sends what it has to say."""

    def __init__(self):
        self.heard = []
        self._lock = threading.Lock()
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                text = self.rfile.read(int(self.headers["Content-Length"]))
                with hook._lock:
                    for alert in json.loads(text)["alerts"]:
                        hook.heard.append((self.path[1:], alert["status"], alert["labels"]))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", HOOK), Handler)

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()

    def has(self, receiver, status, name, **labels):
        """Says whether an alert arrived at a receiver."""
        wanted = {"alertname": name, **labels}
        with self._lock:
            return any(
                (to, how) == (receiver, status) and wanted.items() <= alert.items()
                for to, how, alert in self.heard
            )

    def forget(self):
        with self._lock:
            self.heard.clear()

    def names(self):
        with self._lock:
            return sorted({(alert["alertname"], status) for _, status, alert in self.heard})


class Watching:
    """Both programs; a context manager."""

    def __init__(self, home, ports, env):
        self.home = Path(home)
        self.env = env
        self.home.mkdir()
        (self.home / "prometheus.yml").write_text(settings(ports))
        (self.home / "routes.yml").write_text(hooked(ROUTES.read_text()))
        self._children = []

    def __enter__(self):
        try:
            self._start(
                ALERTMANAGER,
                "prometheus-alertmanager",
                f"--config.file={self.home}/routes.yml",
                f"--storage.path={self.home}/alerts",
                "--web.listen-address=127.0.0.1:9093",
                "--cluster.listen-address=",
            )
            self._start(
                PROMETHEUS,
                "prometheus",
                f"--config.file={self.home}/prometheus.yml",
                f"--storage.tsdb.path={self.home}/series",
                "--web.listen-address=127.0.0.1:9090",
            )
            self._judge()
        except Exception:
            self.__exit__()
            raise
        return self

    def _judge(self):
        """Has the rules looked at from when targets are known: until then, which takes longer than rules wait here, none is."""
        if not wait(lambda: query("up"), SCRAPED_SECONDS):
            raise RuntimeError("Prometheus scrapes nothing")
        (self.home / "rules.yaml").write_text(faster(RULES.read_text()))
        self._children[-1].send_signal(signal.SIGHUP)

    def _start(self, url, name, *arguments):
        log = self.home / f"{name}.log"
        with open(log, "wb") as output:
            child = subprocess.Popen(
                [name, *arguments], env=self.env, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        self._children.append(child)
        wait_until_it_answers(child, f"{url}/-/ready", log)

    def __exit__(self, *_):
        for child in self._children:
            stop(child)


def query(expression):
    """Runs an instant query and returns its samples, labels and number; none while Prometheus starts."""
    data = ask(f"query?{urllib.parse.urlencode({'query': expression})}", expression)
    return [(one["metric"], float(one["value"][1])) for one in data["result"]] if data else []


def label_values(selector, label):
    """Returns the values of a label of the series that are selected, as Grafana asks for those of a variable."""
    return ask(f"label/{label}/values?{urllib.parse.urlencode({'match[]': selector})}", selector) or []


def ask(path, what):
    """Asks Prometheus and returns the data of its answer; None while it starts."""
    try:
        with urllib.request.urlopen(f"{PROMETHEUS}/api/v1/{path}", timeout=20) as answer:
            return json.load(answer)["data"]
    except urllib.error.HTTPError as error:
        # While it reads what it wrote before, it says that it is unavailable.
        if error.code == 503:
            return None
        raise RuntimeError(f"{what}: {error.read().decode(errors='replace')[:500]}") from None


def wait(claim, seconds):
    """Waits until a claim holds; says whether it does."""
    deadline = time.monotonic() + seconds
    while not claim():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True
