"""What `docker build` of deploy/Dockerfile is given: the checkout without what .dockerignore leaves out."""

import fnmatch
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from lib.setup import REPOSITORY


def left_out():
    """Returns a function that says whether .dockerignore leaves a path out; it knows names and `**/NAME` alone."""
    patterns = [line for line in (REPOSITORY / ".dockerignore").read_text().split("\n") if line and line[0] != "#"]
    strange = [one for one in patterns if one.startswith("!") or "*" in one.removeprefix("**/")]
    if strange:
        raise RuntimeError(f"a pattern of another kind: {strange}")

    def is_left_out(path):
        whole = str(path)
        return any(path.name == one[3:] if one.startswith("**/") else whole == one for one in patterns)

    return is_left_out


def source():
    """Returns the paths of the files of the checkout that git does not leave out."""
    patterns = (REPOSITORY / ".gitignore").read_text().split()

    def is_left_out(path):
        return any(
            str(path) == one if "/" in one else fnmatch.fnmatchcase(path.name, one) for one in [*patterns, ".git"]
        )

    for directory, below, files in os.walk(REPOSITORY):
        place = Path(directory).relative_to(REPOSITORY)
        below[:] = [name for name in below if not is_left_out(place / name)]
        yield from (str(place / name) for name in files if not is_left_out(place / name))


def lay_out(target):
    """Copies the context to `target`."""
    is_left_out = left_out()

    def ignored(directory, names):
        place = Path(directory).relative_to(REPOSITORY)
        return [name for name in names if is_left_out(place / name)]

    shutil.copytree(REPOSITORY, target, symlinks=True, ignore=ignored)


def cargo(directory, *arguments):
    """Runs cargo without a network; returns its output. Raises RuntimeError with its words where it fails."""
    done = subprocess.run(["cargo", *arguments, "--locked", "--offline"], cwd=directory, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"cargo {arguments[0]}: {done.stderr[-2000:]}")
    return done.stdout


def sources(directory):
    """Returns the packages of a checkout and the files that their targets begin with, below it."""
    found = json.loads(cargo(directory, "metadata", "--no-deps", "--format-version=1"))
    root = os.path.realpath(directory)
    return sorted(os.path.relpath(one["src_path"], root) for package in found["packages"] for one in package["targets"])


def is_complete(checks):
    """The first stage has all that it needs: every file of the source, of which cargo makes the same."""
    with tempfile.TemporaryDirectory(prefix="roothold-context-") as scratch:
        copy = Path(scratch) / "src"
        lay_out(copy)
        checks.equal("the build's context: cargo finds the same there", sources(copy), sources(REPOSITORY))
        bills = [
            subprocess.run([one / "deploy/sbom", "--offline"], capture_output=True, check=True).stdout
            for one in (copy, REPOSITORY)
        ]
        checks.true("the build's context: it is built of the same", bills[0] and bills[0] == bills[1])
        found = set(source())
        missing = sorted(name for name in found if not (copy / name).is_symlink() and not (copy / name).exists())
        checks.equal("the build's context: it has every file of the source", missing, [])
        checks.true(
            "the build's context: there are such files", {"Cargo.lock", "deploy/sbom"} <= found, sorted(found)[:9]
        )
        places = [".git", "target", "deploy/.env", "deploy/secrets"]
        checks.equal(
            "the build's context: nothing that is built, or secret",
            [name for name in places if (copy / name).exists()],
            [],
        )
