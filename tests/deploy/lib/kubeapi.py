"""As much of a cluster's API as Helm asks for what is there: a server that knows some objects, and changes none."""

import http.server
import json
import os
import tempfile
import threading
from pathlib import Path

from lib import chart

RESOURCES = {
    "v1": ["ConfigMap", "PersistentVolumeClaim", "Secret", "Service", "ServiceAccount"],
    "apps/v1": ["Deployment"],
    "autoscaling/v2": ["HorizontalPodAutoscaler"],
    "networking.k8s.io/v1": ["Ingress", "NetworkPolicy"],
    "policy/v1": ["PodDisruptionBudget"],
}


def plural(kind):
    return kind.lower().removesuffix("y") + ("ies" if kind.endswith("y") else "s")


def answers(objects):
    """Returns what is answered, by path."""
    groups = []
    found = {
        "/version": {"major": "1", "minor": "30", "gitVersion": "v1.30.0"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {"kind": "APIGroupList", "groups": groups},
    }
    for version, kinds in RESOURCES.items():
        group, _, last = version.rpartition("/")
        root = f"/apis/{version}" if group else f"/api/{version}"
        listed = [{"name": plural(kind), "kind": kind, "namespaced": True, "verbs": ["get"]} for kind in kinds]
        found[root] = {"kind": "APIResourceList", "groupVersion": version, "resources": listed}
        if group:
            groups.append({"name": group, "versions": [{"groupVersion": version, "version": last}]})
        for one in objects:
            if one["apiVersion"] == version:
                found[f"{root}/namespaces/roothold/{plural(one['kind'])}/{one['metadata']['name']}"] = one
    return found


class Cluster:
    """A cluster in which the given objects are; a context manager."""

    def __init__(self, objects):
        known = answers(objects)

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                answer = known.get(self.path.partition("?")[0])
                self.send_response(200 if answer else 404)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                gone = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
                self.wfile.write(json.dumps(answer or gone).encode())

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._home = tempfile.TemporaryDirectory()

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._home.cleanup()

    def template(self, values):
        """Returns the objects that Helm would make of values there."""
        home = Path(self._home.name)
        cluster = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{self._server.server_port}"}}
        config = {"apiVersion": "v1", "kind": "Config", "clusters": [cluster], "current-context": "c"}
        config |= {"contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}], "users": [{"name": "u", "user": {}}]}
        (home / "kubeconfig").write_text(json.dumps(config))
        env = os.environ | {"KUBECONFIG": str(home / "kubeconfig"), "HOME": str(home)}
        return chart.template(values=values, more=["--dry-run=server", "--is-upgrade", "--disable-openapi-validation"], env=env)


def chosen(objects):
    """Returns the Deployment's replicas, the name of the ConfigMap that it mounts, and those that there are by name."""
    spec = chart.the("Deployment", objects)["spec"]
    (volume,) = [one for one in spec["template"]["spec"]["volumes"] if one["name"] == "config"]
    maps = {one["metadata"]["name"]: one for one in objects if one["kind"] == "ConfigMap"}
    return spec.get("replicas"), volume["configMap"]["name"], maps


def keeps_what_replicas_have(checks):
    """An update leaves the replicas that there are their configuration and their number."""
    before = chart.template(values={"replicaCount": 7})
    _, old, maps = chosen(before)
    changed = {"config": {"limits": {"calls_max": 17}}}
    with Cluster(before) as cluster:
        _, new, both = chosen(cluster.template(changed))
        checks.true("another configuration has another name", new != old, new)
        checks.equal("that of the replicas there are stays beside it", sorted(both), sorted([old, new]))
        same = [both[old].get("data") == maps[old]["data"], both[old].get("immutable")] if old in both else both
        checks.equal("as it was", same, [True, True])
        checks.equal("the same configuration is there once", list(chosen(cluster.template({"replicaCount": 8}))[2]), [old])
        in_place = chosen(cluster.template({"rollOnEveryChange": False, **changed}))
        checks.equal("it stays, too, where the next one changes in place", sorted(in_place[2]), sorted(["roothold", old]))
        scaled = chosen(cluster.template({"autoscaling": {"enabled": True}}))[0]
        checks.equal("the autoscaler begins with as many replicas as there are", scaled, 7)
    foreign = chart.the("ConfigMap", before)
    foreign["metadata"]["labels"]["app.kubernetes.io/instance"] = "another"
    with Cluster(before) as cluster:
        checks.equal("what is another release's is not taken in", list(chosen(cluster.template(changed))[2]), [new])
    with Cluster([]) as cluster:
        replicas, _, maps = chosen(cluster.template({"autoscaling": {"enabled": True}}))
        checks.equal("where nothing is there, there is one, and the autoscaler decides", (len(maps), replicas), (1, None))
