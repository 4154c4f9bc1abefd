#!/usr/bin/env python3
"""The static images as they are released: built, measured, and held to what an image promises.

The one with datasets is laid out by `deploy/image-root` on this machine, the one without by all of deploy/Dockerfile,
whose first stage runs in an image of this machine's compilers, without a network. For `./test --full` and by hand: to
link everything as one takes many minutes.
"""

import filecmp
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

import container
from lib import toolchain
from lib.checks import Checks
from lib.engine import Engine
from lib.image import DOCKERFILE, build_roothold
from lib.setup import REPOSITORY
from lib.site import Site

DOCUMENTS = ["LICENSE-APACHE", "LICENSE-MIT", "roothold.cdx.json"]
BUILD_SECONDS = 4500
CASES = [
    container.describes_itself,
    container.refuses_the_open,
    container.is_confined,
    container.answers_what_runs,
]


def laid_out(engine, scratch):
    """Builds the image with datasets of what `deploy/image-root` lays out."""
    out = scratch / "out"
    environment = {key: value for key, value in os.environ.items() if key != "RUSTFLAGS"}
    done = subprocess.run([REPOSITORY / "deploy/image-root", out], env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the image is not built: {done.stderr[-2000:]}")
    build_roothold(engine, root=out, VERSION="1.2.3")


def dockerfile(engine, scratch, **arguments):
    """Builds the image without datasets by both stages of the Dockerfile."""
    toolchain.make(engine, scratch)
    arguments = {"BUILD_IMAGE": "rust:test", "FEATURES": "--no-default-features", "VERSION": "1.2.3"} | arguments
    options = [f"--build-arg={name}={value}" for name, value in arguments.items()]
    command = ["build", "--network=none", f"--file={DOCKERFILE}", "--tag=roothold:test", *options, REPOSITORY]
    engine.docker(*command, timeout=BUILD_SECONDS)


# How it is built, whether it has datasets, and the most megabytes that it takes.
VARIANTS = {"with datasets": (laid_out, True, 125), "without datasets": (dockerfile, False, 32)}


def unpacked(engine, target):
    """Unpacks what the image holds."""
    name = engine.docker("create", "roothold:test")
    archive = target.with_suffix(".tar")
    engine.docker("export", f"--output={archive}", name)
    target.mkdir()
    subprocess.run(["tar", "-xf", archive, "-C", target], check=True)
    archive.unlink()
    engine.docker("rm", name)
    return target


def holds_its_parts(checks, name, root, datasets):
    """Licences, and a bill of materials of what this image's program is built of."""
    place = root / "usr/share/doc/roothold"
    checks.equal(f"{name}: what comes with the program", sorted(path.name for path in place.iterdir()), DOCUMENTS)
    for licence in DOCUMENTS[:2]:
        same = filecmp.cmp(place / licence, REPOSITORY / licence, shallow=False)
        checks.true(f"{name}: {licence} is the source's", same)
    container.check_parts(checks, f"{name}: parts", json.loads((place / DOCUMENTS[2]).read_text()), datasets)
    program = (root / "usr/local/bin/roothold").read_bytes()
    checks.equal(f"{name}: and so is the program", b"datafusion" in program, datasets)


def resolves_names(checks, engine, site):
    """A static program looks names up as others do: in the hosts file and in DNS."""
    engine.docker("network", "create", "named")
    served = container.Container(engine, site, "served", "--network=named")
    for kind, host in (("DNS", "served"), ("the hosts file", "written.test")):
        address = engine.docker(
            *["inspect", "--format={{.NetworkSettings.Networks.named.IPAddress}}", served.name]
        ).strip()
        said = engine.docker(
            *["run", "--rm", "--network=named", f"--add-host=written.test:{address}"],
            *["roothold:test", "healthcheck", f"--url=http://{host}:8000/health"],
        )
        checks.true(f"a name is found by {kind}", said, said)
    engine.docker("rm", "--force", served.name)
    engine.docker("network", "rm", "named")


def examine(checks, engine, scratch, name, build, datasets, most):
    """Builds one variant and holds it to its promises."""
    began = time.monotonic()
    build(engine, scratch)
    seconds = time.monotonic() - began
    root = unpacked(engine, scratch / name.replace(" ", "-"))
    program = root / "usr/local/bin/roothold"
    kind = subprocess.run(["ldd", program], capture_output=True, text=True)
    # As one that can be placed anywhere, or as one that cannot.
    static = "statically linked" in kind.stdout or "not a dynamic" in kind.stderr
    checks.true(f"{name}: the program is static", static, kind.stdout)
    with checks.guard(f"{name}: parts"):
        holds_its_parts(checks, name, root, datasets)
    size = engine.inspect("roothold:test", "image")["Size"] / 1e6
    print(
        f"note  image {name}: {size:.1f} MB, the program {program.stat().st_size / 1e6:.1f} MB; "
        f"built in {seconds:.0f} s"
    )
    checks.true(f"{name}: at most {most} MB", size <= most, size)
    for case in [*CASES, resolves_names]:
        home = scratch / f"{name} {case.__name__}".replace(" ", "-")
        home.mkdir()
        with checks.guard(f"{name}: {case.__name__}"):
            case(checks, engine, Site(home, principals=4))
    for left in engine.docker("ps", "--all", "--quiet").split():
        engine.docker("rm", "--force", left)


def main():
    checks = Checks("release")
    with (
        checks.guard("the engine runs"),
        tempfile.TemporaryDirectory(prefix="rh-", dir="/tmp") as scratch,
        Engine() as engine,
    ):
        Path(scratch).chmod(0o755)
        for name, (build, datasets, most) in VARIANTS.items():
            with checks.guard(name):
                examine(checks, engine, Path(scratch), name, build, datasets, most)
    checks.finish()


if __name__ == "__main__":
    main()
