"""What keeps replicas of the chart available and apart, as it is rendered: none of it may be left out unseen."""

from lib import chart, kustomize

SAME = {"app.kubernetes.io/name": "roothold", "app.kubernetes.io/instance": "roothold"}
PLACES = ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]


def keep(checks):
    """With the defaults, and in `deploy/kubernetes`, where the number of replicas is no fixed one."""
    committed = kustomize.build(chart.kubernetes().HERE)
    for where, objects in (("the chart", chart.template()), ("deploy/kubernetes", committed)):
        rolls_without_a_gap(checks, where, objects)
        starts_in_its_time(checks, where, objects)
        stands_apart(checks, where, objects)
        lets_nobody_else_in(checks, where, objects)
    scales(checks, "deploy/kubernetes", committed)


def rolls_without_a_gap(checks, where, objects):
    deployment = chart.the("Deployment", objects)["spec"]
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    checks.equal(f"{where}: none is missing during an update", deployment["strategy"], rolling)
    spec = deployment["template"]["spec"]
    sleep = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    server = chart.configuration(objects)["server"]
    delay, drain = server["pre_stop_delay_seconds"], server["drain_timeout_seconds"]
    checks.true(
        f"{where}: it is given time before it ends", sleep > 0 and delay > 0 and drain > 0, (sleep, delay, drain)
    )
    grace, needed = spec["terminationGracePeriodSeconds"], sleep + delay + drain
    checks.true(f"{where}: the grace is longer than the end may take", grace > needed, f"{grace} of {needed}")


def starts_in_its_time(checks, where, objects):
    """A slow start is not taken for one that hangs: nobody asks whether it lives before it has begun."""
    (container,) = chart.the("Deployment", objects)["spec"]["template"]["spec"]["containers"]
    probes = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    health, ready = {"path": "/health", "port": "private"}, {"path": "/ready", "port": "http"}
    wanted = {"startup": health, "liveness": health, "readiness": ready}
    checks.equal(f"{where}: whether they live is asked where clients have no part, on their port whether they are ready", probes, wanted)
    startup = container["startupProbe"]
    patience = startup["periodSeconds"] * startup["failureThreshold"]
    checks.true(f"{where}: a start may take a minute", startup["periodSeconds"] <= 2 and patience >= 60, startup)


def stands_apart(checks, where, objects):
    deployment = chart.the("Deployment", objects)["spec"]
    checks.equal(f"{where}: replicas are known by their labels", deployment["selector"]["matchLabels"], SAME)
    spread = deployment["template"]["spec"]["topologySpreadConstraints"]
    checks.equal(f"{where}: they are spread over nodes and zones", [one["topologyKey"] for one in spread], PLACES)
    for one in spread:
        wanted = {"maxSkew": 1, "labelSelector": {"matchLabels": SAME}, "matchLabelKeys": ["pod-template-hash"]}
        found = {key: one.get(key) for key in wanted}
        checks.equal(f"{where}: evenly, each version by itself, over {one['topologyKey']}", found, wanted)
    budget = chart.the("PodDisruptionBudget", objects)["spec"]
    wanted = {"maxUnavailable": 1, "unhealthyPodEvictionPolicy": "AlwaysAllow", "selector": {"matchLabels": SAME}}
    checks.equal(f"{where}: one at a time is taken away, a broken one always", budget, wanted)


def lets_nobody_else_in(checks, where, objects):
    policy = chart.the("NetworkPolicy", objects)["spec"]
    checks.equal(f"{where}: a policy of the network is about the replicas", policy["podSelector"]["matchLabels"], SAME)
    checks.equal(f"{where}: in both directions", sorted(policy["policyTypes"]), ["Egress", "Ingress"])
    monitoring = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    rules = {rule["ports"][0]["port"]: (len(rule["ports"]), rule.get("from")) for rule in policy["ingress"]}
    checks.equal(
        f"{where}: all may call, monitoring alone sees metrics", rules, {"http": (1, None), "private": (1, monitoring)}
    )
    out = sorted((port["port"], port["protocol"]) for rule in policy["egress"] for port in rule["ports"])
    checks.equal(f"{where}: they reach DNS and PostgreSQL", out, [(53, "TCP"), (53, "UDP"), (5432, "TCP")])
    checks.equal(f"{where}: every rule names ports", [rule for rule in policy["egress"] if not rule["ports"]], [])


def scales(checks, where, objects):
    scaler = chart.the("HorizontalPodAutoscaler", objects)["spec"]
    name = chart.the("Deployment", objects)["metadata"]["name"]
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    checks.equal(f"{where}: what scales is the Deployment", scaler["scaleTargetRef"], target)
    checks.equal(f"{where}: between 3 and 9 replicas", (scaler["minReplicas"], scaler["maxReplicas"]), (3, 9))
    (metric,) = scaler["metrics"]
    wanted = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}
    checks.equal(f"{where}: by their processors", metric["resource"], wanted)
    down = scaler["behavior"]["scaleDown"]
    slowly = {"stabilizationWindowSeconds": 300, "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}
    checks.equal(f"{where}: slowly down, one by one", down, slowly)
    checks.true(f"{where}: it sets their number", "replicas" not in chart.the("Deployment", objects)["spec"])
