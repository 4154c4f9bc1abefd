"""An image of this machine's Rust and C compiler, in the place of the one that deploy/Dockerfile builds in.

It holds the packages of Debian that are needed, with all that they depend on, the toolchain, and of the crates that
Cargo.lock names those that were built here, so that it needs no network.
"""

import os
import re
import subprocess
import tarfile
import tomllib
from pathlib import Path

from lib.setup import REPOSITORY

PACKAGES = (
    "bash",
    "binutils",
    "ca-certificates",
    "coreutils",
    "dash",
    "findutils",
    "g++",
    "gcc",
    "grep",
    "libc6-dev",
    "perl-base",
    "python3",
    "sed",
)
HOME = "/usr/local/cargo"
# What people read of the toolchain.
LEFT_OUT = ("share/doc", "share/man")


def packages():
    """Returns the names of Debian's packages that are needed, with those that they depend on."""
    listing = "${db:Status-Status}\t${binary:Package}\t${Provides}\t${Pre-Depends}, ${Depends}\n"
    said = subprocess.run(["dpkg-query", "-W", f"-f={listing}"], check=True, capture_output=True, text=True).stdout
    name = re.compile(r"^\s*([a-z0-9][a-z0-9.+-]*)")
    wanted_by, provider = {}, {}
    for line in said.splitlines():
        status, package, provides, depends = line.split("\t")
        if status != "installed":
            continue
        bare = package.partition(":")[0]
        names = [match[1] for match in map(name.match, re.split(r"[,|]", depends)) if match]
        wanted_by[bare] = (package, names)
        for other in [bare, *(match[1] for match in map(name.match, provides.split(",")) if match)]:
            provider.setdefault(other, bare)
    found, left = {}, list(PACKAGES)
    while left:
        # One of several that would do is installed, the others need not be.
        package = provider.get(left.pop())
        if package and package not in found:
            found[package], more = wanted_by[package]
            left += more
    missing = [one for one in PACKAGES if provider.get(one) not in found]
    if missing:
        raise RuntimeError(f"packages are missing: {missing}")
    return sorted(found.values())


def files():
    """Returns the paths of the files of these packages, and of the links that name their programs, such as `cc`."""
    said = subprocess.run(["dpkg-query", "-L", *packages()], check=True, capture_output=True, text=True).stdout
    found = {line for line in said.splitlines() if line.startswith("/") and not os.path.isdir(line)}
    programs = {os.path.realpath(one) for one in found}
    found |= {f"/usr/bin/{one}" for one in os.listdir("/usr/bin") if os.path.realpath(f"/usr/bin/{one}") in programs}
    found |= {f"/etc/alternatives/{one}" for one in os.listdir("/etc/alternatives")}
    found.add("/etc/ssl/certs/ca-certificates.crt")
    # Through the links by which /bin is /usr/bin.
    return sorted(
        {
            os.path.join(os.path.realpath(os.path.dirname(one)), os.path.basename(one))
            for one in found
            if os.path.lexists(one)
        }
    )


def crates():
    """Returns cargo's own directory, and the paths below it of its index and of the crates that Cargo.lock names."""
    home = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    lock = tomllib.loads((REPOSITORY / "Cargo.lock").read_text())
    names = {f"{one['name']}-{one['version']}.crate" for one in lock["package"]}
    found = [path for path in (home / "registry/cache").glob("*/*.crate") if path.name in names]
    index = [path for path in (home / "registry/index").rglob("*") if path.is_file()]
    return home, [str(path.relative_to(home)) for path in [*found, *index]]


def make(engine, scratch, tag="rust:test"):
    """Makes the image; returns its name."""
    sysroot = subprocess.run(
        ["rustc", "--print", "sysroot"], cwd=REPOSITORY, check=True, capture_output=True, text=True
    ).stdout.strip()
    archive = Path(scratch) / "toolchain.tar"

    def kept(entry):
        return None if any(f"toolchain/{one}" in entry.name for one in LEFT_OUT) else entry

    with tarfile.open(archive, "w") as tar:
        for name in ("bin", "sbin", "lib", "lib64"):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, f"usr/{name}"
            tar.addfile(link)
        for name in ("tmp", "root", "proc", "sys", "dev"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(entry)
        for path in files():
            tar.add(path, arcname=path.lstrip("/"), recursive=False)
        tar.add(sysroot, arcname="toolchain", filter=kept)
        home, names = crates()
        for name in names:
            tar.add(home / name, arcname=f"{HOME}/{name}".lstrip("/"))
    environment = {"PATH": "/toolchain/bin:/usr/bin:/bin", "CARGO_HOME": HOME, "CARGO_NET_OFFLINE": "true"}
    changes = [f"--change=ENV {name}={value}" for name, value in environment.items()]
    engine.docker("import", *changes, archive, tag, timeout=600)
    archive.unlink()
    return tag
