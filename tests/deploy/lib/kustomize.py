"""`deploy/kubernetes`, and kustomizations of one's own over it, by the pinned kubectl."""

import shutil
import tempfile
import tomllib
from pathlib import Path

import yaml

from lib import chart, manifests
from lib.pod import Pod
from lib.readme import blocks
from lib.setup import REPOSITORY

OPTIONAL = {"auditarchive": "CronJob", "httproute": "HTTPRoute", "ingress": "Ingress", "prometheusrule": "PrometheusRule", "servicemonitor": "ServiceMonitor"}


def build(directory):
    """Returns the objects of a kustomization; raises RuntimeError with kubectl's words where it refuses or warns."""
    code, out, err = chart.run([chart.program("kubectl"), "kustomize", directory])
    if code or err:
        raise RuntimeError(f"{code}: {err}")
    return list(yaml.safe_load_all(out))


def problems(objects):
    return [problem for one in objects for problem in manifests.problems(one)]


def kinds(objects):
    return sorted(one["kind"] for one in objects)


def is_committed(checks):
    render = chart.kubernetes()
    checks.equal(
        "deploy/kubernetes is what the chart renders",
        render.committed(),
        render.rendered(chart.program("helm")),
    )
    objects = build(render.HERE)
    wanted = {path for path in render.committed() if "/" not in path}
    checks.equal("kubectl kustomize has all but what is optional or kept", len(objects), len(wanted))
    checks.equal("its objects are as their schemas say", problems(objects), [])
    spaces = {one["metadata"].get("namespace") for one in objects}
    checks.equal("they are in one namespace", sorted(spaces, key=str), ["roothold"])


def keeps_the_log(checks):
    """What is deleted with a kustomization is what it has: not the audit log, nor the namespace around it."""
    render = chart.kubernetes()
    kept = build(render.HERE / "kept")
    checks.equal("the namespace and the claim of the log are apart", kinds(kept), ["Namespace", "PersistentVolumeClaim"])
    checks.equal("as their schemas say", problems(kept), [])
    namespace, claim = (chart.the(kind, kept)["metadata"] for kind in kinds(kept))
    checks.equal("the claim is in the namespace", claim["namespace"], namespace["name"])
    used = [one["persistentVolumeClaim"]["claimName"] for one in template(build(render.HERE))["spec"]["volumes"] if one["name"] == "data"]
    checks.equal("and the one that replicas write to", used, [claim["name"]])
    told = [claim["annotations"].get(key) for key in ("helm.sh/resource-policy", "argocd.argoproj.io/sync-options")]
    checks.equal("neither Helm nor Argo CD takes it away", told, ["keep", "Prune=false,Delete=false"])
    for directory in (render.HERE, render.HERE.parent / "kubernetes-own"):
        taken = {"Namespace", "PersistentVolumeClaim"} & set(kinds(build(directory)))
        checks.equal(f"`kubectl delete -k` of {directory.name} leaves them", sorted(taken), [])


class Own:
    """Copies of the base and of the kustomization over it, which can be changed."""

    def __init__(self, scratch):
        for name in ("kubernetes", "kubernetes-own"):
            shutil.copytree(REPOSITORY / "deploy" / name, Path(scratch) / name)
        self.base, self.home = Path(scratch) / "kubernetes", Path(scratch) / "kubernetes-own"

    def over_the_base(self, text):
        """Returns the objects of a kustomization of the base and `text`."""
        (self.home / "kustomization.yaml").write_text("resources: [../kubernetes]\n" + text)
        return build(self.home)


def template(objects):
    return chart.the("Deployment", objects)["spec"]["template"]


def mounted(objects):
    (volume,) = [one for one in template(objects)["spec"]["volumes"] if one["name"] == "config"]
    return volume["configMap"]["name"]


def accepts(objects):
    """Returns how the server as such a Pod would end, asked whether it takes its configuration, and what it says."""
    with Pod(objects) as pod:
        code, out, err = chart.run(pod.command("check", "--config", "/etc/roothold/roothold.toml"), env=pod.env())
        return code, out + err


def can_be_begun_with(checks):
    """`deploy/kubernetes-own` as it stands."""
    with tempfile.TemporaryDirectory() as scratch:
        own = Own(scratch)
        objects = build(own.home)
        checks.equal("a kustomization of one's own is taken", problems(objects), [])
        base = kinds(build(own.base))
        checks.equal("it has what it names, and no more", kinds(objects), sorted([*base, "Ingress", "ServiceMonitor"]))
        spaces = {one["metadata"].get("namespace") for one in objects if one["kind"] != "Namespace"}
        checks.equal("all of it in one namespace", spaces, {"roothold"})
        config = chart.the("ConfigMap", objects)
        server = tomllib.loads(config["data"]["roothold.toml"])["server"]
        (rule,) = chart.the("Ingress", objects)["spec"]["rules"]
        checks.equal("the public URL is the Ingress's", server["public_url"], f"https://{rule['host']}/mcp")
        image = template(objects)["spec"]["containers"][0]["image"]
        checks.true("the image is its own", image.startswith("registry.example/"), image)
        code, said = accepts(objects)
        checks.true("the server takes its configuration", code == 0, said)
        grace = template(objects)["spec"]["terminationGracePeriodSeconds"]
        needed = server["pre_stop_delay_seconds"] + server["drain_timeout_seconds"]
        checks.true("and may take as long to end as it says", needed < grace, needed)
        checks.equal("the Deployment mounts it by its name", mounted(objects), config["metadata"]["name"])
        toml = own.home / "roothold.toml"
        toml.write_text(toml.read_text() + "[limits]\ncalls_max = 17\n")
        checks.true("another configuration replaces the replicas", template(build(own.home)) != template(objects))


def takes_parts(checks):
    """Each component alone, the patch of the README, and what a changed ConfigMap of the base does."""
    with tempfile.TemporaryDirectory() as scratch:
        own = Own(scratch)
        base = build(own.base)
        for name, kind in OPTIONAL.items():
            objects = own.over_the_base(f"namespace: roothold\ncomponents: [../kubernetes/optional/{name}]\n")
            checks.equal(f"{kind} can be added", kinds(objects), sorted([*kinds(base), kind]))
            checks.equal(f"{kind} is where the others are", chart.the(kind, objects)["metadata"]["namespace"], "roothold")
            checks.equal(f"{kind} is as its schema says", problems([chart.the(kind, objects)]), [])
        (patch,) = [block for block in blocks("With kustomize") if block.startswith("patches:")]
        objects = own.over_the_base(patch)
        variables = {one["name"]: one.get("value") for one in template(objects)["spec"]["containers"][0]["env"]}
        url = variables["ROOTHOLD_SERVER__PUBLIC_URL"]
        checks.equal("a patch sets the public URL", (url, accepts(objects)[0]), ("https://agents.example/mcp", 0))
        checks.true("and replaces the replicas", template(objects) != template(base))
        config = own.base / "configmap.yaml"
        config.write_text(config.read_text().replace("drain_timeout_seconds = 30", "drain_timeout_seconds = 20"))
        changed = build(own.base)
        checks.true("the base's own ConfigMap can be changed", chart.the("ConfigMap", changed) != chart.the("ConfigMap", base))
        checks.equal("which replaces nothing", template(changed), template(base))
