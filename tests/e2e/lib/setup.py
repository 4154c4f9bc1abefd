"""Where the pinned clients and the binaries under test are."""

import os
import shutil
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
CLIENTS = REPOSITORY / "tests" / "clients"
PROBES = CLIENTS / "probes"
MODULES = CLIENTS / "node_modules"
NODE = next(
    iter(sorted(MODULES.glob("node-linux-*/bin/node"))), Path(shutil.which("node") or "node")
)
PYTHON = CLIENTS / ".venv" / "bin" / "python"
CONFORMANCE = MODULES / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
REFERENCE = MODULES / "@modelcontextprotocol" / "server-filesystem" / "dist" / "index.js"
MCP_INSPECTOR = MODULES / ".bin" / "mcp-inspector"


def binary(variable):
    """Returns the program that an environment variable names.

    Raises RuntimeError where the variable is missing or names nothing that can be run.
    """
    value = os.environ.get(variable)
    found = shutil.which(value) if value else None
    if not found:
        raise RuntimeError(f"{variable} must name a program that was built")
    return str(Path(found).resolve())


def environment(scratch, **more):
    """Returns the environment for a child: the caller's, less what could change a result.

    Caches and settings of the clients go below `scratch`, so no run sees another's.
    """
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ROOTHOLD_", "MCP_", "NODE_"))}
    home = Path(scratch) / "home"
    home.mkdir(parents=True, exist_ok=True)
    audit = Path(scratch) / "audit"
    audit.mkdir(parents=True, exist_ok=True)
    kept.update(
        HOME=str(home),
        XDG_CONFIG_HOME=str(home / ".config"),
        XDG_STATE_HOME=str(home / ".state"),
        PATH=f"{NODE.parent}{os.pathsep}{kept.get('PATH', '')}",
        NO_COLOR="1",
        FASTMCP_CHECK_FOR_UPDATES="off",
        ROOTHOLD_AUDIT__DIR=str(audit),
        # No private port: two servers of two tests would want the same one.
        ROOTHOLD_TELEMETRY__LISTEN="",
    )
    kept.update({k: str(v) for k, v in more.items()})
    return kept
