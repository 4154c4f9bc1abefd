"""The nginx of `deploy/nginx`, as it stands there but for its limits."""

import os
import shutil
import ssl
import subprocess
from pathlib import Path

from lib.image import BUSYBOX, nginx, stand_in
from lib.setup import REPOSITORY

# A load of few clients on one machine is more than one address may ask for.
NO_LIMITS = """
limit_req_zone $binary_remote_addr zone=callers:1m rate=100000r/s;
limit_req_zone $binary_remote_addr zone=addresses:1m rate=100000r/s;
limit_conn_zone $binary_remote_addr zone=connections:1m;
"""


def certificates(directory):
    """Makes certificates with the script that is there for it, for trying out; returns a TLS client."""
    script = REPOSITORY / "deploy" / "certificates"
    subprocess.run([script, directory], check=True, capture_output=True)
    return client(Path(directory) / "ca.crt")


def client(authority):
    """Returns a TLS client that trusts one authority."""
    return ssl.create_default_context(cafile=authority)


def settings(directory, limits=NO_LIMITS):
    """Copies the settings to `directory/nginx` and makes certificates in `directory/tls`; returns a TLS client."""
    directory = Path(directory)
    shutil.copytree(REPOSITORY / "deploy" / "nginx", directory / "nginx")
    tls = certificates(directory / "tls")
    if limits:
        (directory / "nginx" / "roothold" / "limits.conf").write_text(limits)
    for path in [directory, *directory.rglob("*")]:
        os.chown(path, 101, 101)
    return tls


def nginx_image(engine, tag="nginx:test"):
    """Makes an image of the pinned nginx, for the user that the official one has."""
    return stand_in(
        engine,
        tag,
        {"/usr/sbin/nginx": nginx(), "/usr/bin/wget": BUSYBOX, "/bin/sh": BUSYBOX},
        directories=["/tmp"],
        entrypoint='["nginx", "-c", "/etc/nginx/nginx.conf", "-g", "daemon off;"]',
        user="101:101",
    )
