"""What a server needs to be run by these tests: a workspace, a configuration, keys."""

import os
import subprocess
from pathlib import Path

from lib.setup import binary

CONFIGURATION = """
[server]
public_url = "https://localhost:8443/mcp"
pre_stop_delay_seconds = {pre_stop}
drain_timeout_seconds = {drain}

[[roots]]
uri = "file:///work"
name = "{name}"
path = "/srv/work"
access = "rw"

[auth]
keys_file = "/etc/roothold/keys.jsonl"

[handles]
keys = ["test:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]
{more}
"""
# As the image runs.
USER = 1000


class Site:
    """Directories below `home`: `etc` with configurations and keys, `work` with files, `var` with what is kept."""

    def __init__(self, home, principals=1):
        self.home = Path(home)
        self.home.mkdir(parents=True, exist_ok=True)
        self.home.chmod(0o755)
        for name in ("etc", "work", "var"):
            (self.home / name).mkdir(parents=True)
            os.chown(self.home / name, USER, USER)
        self.keys = [self._key(f"agent-{number}") for number in range(principals)]
        self.own(self.home / "etc" / "keys.jsonl")

    def _key(self, principal):
        command = [binary("ROOTHOLD_BIN"), "keys", "new", principal, "--scopes"]
        command += ["files:read files:write datasets:read", "--file", self.home / "etc/keys.jsonl"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def configure(self, name="roothold", pre_stop=0, drain=20, more=""):
        """Writes the configuration `NAME.toml`, whose root tells callers that name."""
        text = CONFIGURATION.format(name=name, pre_stop=pre_stop, drain=drain, more=more)
        self.own(self.put(f"etc/{name}.toml", text))
        return f"/etc/roothold/{name}.toml"

    def put(self, path, text):
        """Writes a file below the home, owned by whom the image runs as."""
        target = self.home / path
        target.write_text(text)
        return self.own(target)

    @staticmethod
    def own(path):
        os.chown(path, USER, USER)
        return path

    def mounts(self):
        """Returns pairs of a directory here and its place in a container, and whether it is only read."""
        return [
            (self.home / "etc", "/etc/roothold", True),
            (self.home / "work", "/srv/work", False),
            (self.home / "var", "/var/lib/roothold", False),
        ]

    def options(self):
        """Returns the options of `docker run` and `docker service create` for these mounts."""
        return [
            f"--mount=type=bind,source={here},target={there}" + (",readonly" if only_read else "")
            for here, there, only_read in self.mounts()
        ]

    def audit_lines(self):
        """Returns the raw lines of all replicas' audit logs."""
        files = sorted((self.home / "var" / "audit").glob("*.jsonl"))
        return [line for file in files for line in file.read_text().splitlines()]
