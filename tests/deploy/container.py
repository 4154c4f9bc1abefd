#!/usr/bin/env python3
"""What the image promises whoever runs it, on a real container engine."""

from lib.checks import Checks
from lib.engine import Engine
from lib.image import build_roothold


def describes_itself(checks, image):
    settings = image["Config"]
    checks.equal("it runs as uid 1000", settings["User"], "1000:1000")
    checks.equal("it stops on SIGTERM", settings["StopSignal"], "SIGTERM")
    wanted = ["CMD", "/usr/local/bin/roothold", "healthcheck"]
    checks.equal("its health check needs no shell", settings["Healthcheck"]["Test"], wanted)
    labels = settings["Labels"]
    checks.equal("its version is told", labels["org.opencontainers.image.version"], "1.2.3")
    checks.true("its server has a name", labels["io.modelcontextprotocol.server.name"])


def main():
    checks = Checks("container")
    with checks.guard("the engine runs"), Engine() as engine:
        tag = build_roothold(engine, VERSION="1.2.3")
        with checks.guard("the image describes itself"):
            describes_itself(checks, engine.inspect(tag, "image"))
    checks.finish()


if __name__ == "__main__":
    main()
