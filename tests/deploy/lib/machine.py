"""A machine of its own that systemd has booted, of the programs of this one.

Its `/usr` is this machine's, only read; `/etc` is a copy of this machine's, in which nothing is to be started; everything
else is empty. It runs in the network of the script, and is gone with it.
"""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

BOOT_SECONDS = 60
STOP_SECONDS = 30
COMMAND_SECONDS = 60
# Nothing of these is for a machine that has just been installed.
LEFT_OUT = ("systemd/system", "fstab", *(f"rc{level}.d" for level in "0123456S"), "hosts")
# A real machine has them; this container of systemd leaves them out by itself.
SYSTEM_CALLS = "openat2 landlock_create_ruleset landlock_add_rule landlock_restrict_self"
DIRECTORIES = ("dev", "proc", "run", "srv", "sys", "root", "tmp", "usr", "var/lib/nginx", "var/log/nginx", "var/tmp")


class Machine:
    """A booted machine, with `files` at `/src`, from where commands run; a context manager."""

    def __init__(self, home, files):
        self.home, self.root, self.files = Path(home), Path(home) / "root", Path(files)
        self.log = self.home / "console"
        for name in DIRECTORIES:
            (self.root / name).mkdir(parents=True)
        (self.root / "src").mkdir()
        # By which a root of an operating system is told, before anything is mounted.
        (self.root / "usr/lib").mkdir()
        shutil.copy("/usr/lib/os-release", self.root / "usr/lib/os-release")
        for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
            if os.path.islink(f"/{name}"):
                (self.root / name).symlink_to(os.readlink(f"/{name}"))
        subprocess.run(["cp", "-a", "/etc", self.root / "etc"], check=True)
        for name in LEFT_OUT:
            path = self.root / "etc" / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        (self.root / "etc/systemd/system").mkdir(parents=True)
        # With none it would be a first boot, at which everything that is installed is enabled.
        (self.root / "etc/machine-id").write_text(f"{os.urandom(16).hex()}\n")
        (self.home / "programs").mkdir()

    def __enter__(self):
        command = ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", f"--directory={self.root}"]
        command += ["--bind-ro=/usr", f"--bind={self.home}/programs:/usr/local/bin", f"--bind={self.files}:/src"]
        command += [f"--system-call-filter={SYSTEM_CALLS}"]
        with open(self.log, "wb") as log:
            self._spawn = subprocess.Popen(
                [*command, "--boot"], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + BOOT_SECONDS
        while not self._has_booted():
            if self._spawn.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise RuntimeError(f"the machine did not boot: {self.log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.2)
        return self

    def __exit__(self, *_):
        if self._spawn.poll() is None:
            self._spawn.send_signal(signal.SIGTERM)
            try:
                self._spawn.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._spawn.kill()
                self._spawn.wait()

    def _has_booted(self):
        self._first = first_process(self._spawn.pid)
        return self._first and self.run("systemctl is-active --quiet multi-user.target")[0] == 0

    def run(self, text, **variables):
        """Runs lines of a shell as root; returns exit code, output and errors together."""
        enter = ["nsenter", f"--target={self._first}", "--all"]
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        given = [f"{name}={value}" for name, value in variables.items()]
        done = subprocess.run(
            [*enter, "env", "-i", path, "HOME=/root", *given, "bash", "-ec", f"cd /src\n{text}"],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=COMMAND_SECONDS,
        )
        return done.returncode, done.stdout + done.stderr

    def says(self, text, **variables):
        """Runs lines of a shell as root and returns what they say; raises RuntimeError where one fails."""
        code, said = self.run(text, **variables)
        if code:
            journal = self.run("journalctl --no-pager --lines=20")[1]
            raise RuntimeError(f"{code}: {said[-1000:]}\n{journal}")
        return said


def first_process(pid):
    """Returns the process below `pid` that is the first one of its namespace, or None."""
    try:
        below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for child in below:
            status = Path(f"/proc/{child}/status").read_text()
            (numbers,) = [line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")]
            if len(numbers) > 1 and numbers[-1] == "1":
                return int(child)
            found = first_process(child)
            if found:
                return found
    except OSError:
        pass
    return None
