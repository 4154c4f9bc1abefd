#!/usr/bin/env python3
"""The static images as they are released: built whole by `deploy/image-root`, measured, and held to what an image promises.

For `./test --full` and by hand: to link everything as one takes many minutes.
"""

import os
import subprocess
import tempfile
import time
from pathlib import Path

import container
from lib.checks import Checks
from lib.engine import Engine
from lib.image import build_roothold
from lib.setup import REPOSITORY
from lib.site import Site

# The flags of cargo, and the most megabytes that the image takes.
VARIANTS = {"with datasets": ([], 125), "without datasets": (["--no-default-features"], 32)}
CASES = [
    container.describes_itself,
    container.refuses_the_open,
    container.is_confined,
    container.answers_what_runs,
]


def build(out, flags):
    """Lays out the image's root; returns how many seconds that took."""
    began = time.monotonic()
    environment = {key: value for key, value in os.environ.items() if key != "RUSTFLAGS"}
    command = [REPOSITORY / "deploy" / "image-root", out, *flags]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the image is not built: {done.stderr[-2000:]}")
    return time.monotonic() - began


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


def examine(checks, engine, scratch, name, flags, most):
    """Builds one variant and holds it to its promises."""
    out = scratch / name.replace(" ", "-")
    seconds = build(out, flags)
    program = out / "usr/local/bin/roothold"
    kind = subprocess.run(["ldd", program], capture_output=True, text=True)
    # As one that can be placed anywhere, or as one that cannot.
    static = "statically linked" in kind.stdout or "not a dynamic" in kind.stderr
    checks.true(f"{name}: the program is static", static, kind.stdout)
    build_roothold(engine, root=out, VERSION="1.2.3")
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
        for name, (flags, most) in VARIANTS.items():
            with checks.guard(name):
                examine(checks, engine, Path(scratch), name, flags, most)
    checks.finish()


if __name__ == "__main__":
    main()
