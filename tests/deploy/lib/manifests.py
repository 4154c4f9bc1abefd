"""Whether manifests are what a cluster takes.

Objects of Kubernetes itself are held against its published schemas, strictly: a field that does not exist
is an error. Of the others there are no schemas to be had here, so these are written out for what is used.
"""

import jsonschema
import kubernetes_validate

# The oldest that the chart says it is for, and the newest that is known.
VERSIONS = ("1.30", "1.37")


def closed(required, **properties):
    return {
        "type": "object",
        "required": required,
        "properties": properties,
        "additionalProperties": False,
    }


def listed(items, at_least=1):
    return {"type": "array", "minItems": at_least, "items": items}


TEXT = {"type": "string", "minLength": 1}
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
DURATION = {"type": "string", "pattern": "^([0-9]+(ms|s|m|h|d))+$"}
PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
METADATA = closed(["name"], name=TEXT, namespace=TEXT, labels=TEXTS, annotations=TEXTS)


def custom(version, kind, spec):
    head = {"apiVersion": {"const": version}, "kind": {"const": kind}}
    return closed(["apiVersion", "kind", "metadata", "spec"], **head, metadata=METADATA, spec=spec)


RULE = {
    **closed(
        ["expr"],
        expr=TEXT,
        record={"type": "string", "pattern": "^[a-zA-Z_:][a-zA-Z0-9_:]*$"},
        alert=TEXT,
        labels=TEXTS,
        annotations=TEXTS,
        **{"for": DURATION, "keep_firing_for": DURATION},
    ),
    "oneOf": [{"required": ["record"]}, {"required": ["alert"]}],
}
ROUTE = closed(
    ["backendRefs"],
    matches=listed(
        closed(["path"], path=closed(["type", "value"], type={"const": "PathPrefix"}, value=TEXT))
    ),
    timeouts=closed(["request"], request=DURATION),
    backendRefs=listed(closed(["name", "port"], name=TEXT, port=PORT)),
)
CUSTOM = {
    "ServiceMonitor": custom(
        "monitoring.coreos.com/v1",
        "ServiceMonitor",
        closed(
            ["selector", "endpoints"],
            jobLabel=TEXT,
            selector=closed(["matchLabels"], matchLabels=TEXTS),
            endpoints=listed(
                closed(
                    ["port"],
                    port=TEXT,
                    path=TEXT,
                    interval=DURATION,
                    scrapeTimeout=DURATION,
                    relabelings=listed(closed(["targetLabel", "replacement"], targetLabel=TEXT, replacement=TEXT)),
                )
            ),
        ),
    ),
    "PrometheusRule": custom(
        "monitoring.coreos.com/v1",
        "PrometheusRule",
        closed(
            ["groups"],
            groups=listed(
                closed(["name", "rules"], name=TEXT, interval=DURATION, rules=listed(RULE)), 0
            ),
        ),
    ),
    "HTTPRoute": custom(
        "gateway.networking.k8s.io/v1",
        "HTTPRoute",
        closed(
            ["parentRefs", "rules"],
            parentRefs=listed(
                closed(["name"], name=TEXT, namespace=TEXT, sectionName=TEXT, port=PORT)
            ),
            hostnames=listed(TEXT),
            rules=listed(ROUTE),
        ),
    ),
}


def problems(manifest):
    """Returns in words what a cluster would not take."""
    schema = CUSTOM.get(manifest["kind"])
    if schema:
        found = jsonschema.Draft7Validator(schema).iter_errors(manifest)
        return [f"{error.json_path}: {error.message}" for error in found]
    found = []
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except (jsonschema.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
            found.append(f"{version}: {getattr(error, 'message', error)}")
    return found


def restricted(pod):
    """Returns what of a Pod's spec goes beyond the standard `restricted`."""
    found = []
    security = pod.get("securityContext", {})
    if security.get("runAsNonRoot") is not True or not security.get("runAsUser"):
        found.append("may run as root")
    if security.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        found.append("no seccomp profile")
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(name):
            found.append(name)
    allowed = {"configMap", "secret", "persistentVolumeClaim", "emptyDir", "projected", "csi"}
    for volume in pod.get("volumes", []):
        if not allowed & volume.keys():
            found.append(f"the volume {volume['name']}")
    for container in pod.get("initContainers", []) + pod["containers"]:
        own = container.get("securityContext", {})
        if own.get("allowPrivilegeEscalation") is not False:
            found.append("may gain privileges")
        if own.get("capabilities") != {"drop": ["ALL"]}:
            found.append("has capabilities")
        if own.get("readOnlyRootFilesystem") is not True:
            found.append("can change its image")
    return found
