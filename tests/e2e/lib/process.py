"""Starts servers, waits until they answer, and ends exactly what it started."""

import json
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

START_SECONDS = 20
STOP_SECONDS = 20


def free_port():
    """Returns a loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(url):
    """Says whether an HTTP server is there, whatever it answers."""
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


@contextmanager
def server(command, url, env, log):
    """Runs a server until the block ends; raises RuntimeError if it never answers at `url`."""
    with open(log, "wb") as output:
        child = subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        try:
            wait_until_it_answers(child, url, log)
            yield child
        finally:
            stop(child)


def wait_until_it_answers(child, url, log):
    deadline = time.monotonic() + START_SECONDS
    while not answers(url):
        if child.poll() is not None or time.monotonic() > deadline:
            with open(log, "rb") as file:
                tail = file.read()[-2000:].decode(errors="replace")
            raise RuntimeError(f"the server did not start (exit {child.poll()}): {tail}")
        time.sleep(0.05)


def stop(child):
    """Asks a child to end, and kills it if it does not; returns its exit code."""
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
    return child.wait()


def run(command, env, timeout, cwd=None):
    """Runs a command to its end and returns (exit code, output, errors); bounded in time."""
    child = subprocess.Popen(
        command,
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        out, err = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        child.kill()
        out, err = child.communicate()
        return 124, out.decode(errors="replace"), f"took longer than {timeout} s"
    return child.returncode, out.decode(errors="replace"), err.decode(errors="replace")


def run_json(command, env, timeout, codes=(0,)):
    """Runs a command that prints JSON; raises RuntimeError if it fails or prints anything else."""
    code, out, err = run(command, env, timeout)
    try:
        if code not in codes:
            raise ValueError(f"exit code {code}")
        return json.loads(out)
    except ValueError as problem:
        raise RuntimeError(f"{problem}\n{out[-1500:]}\n{err[-1500:]}") from None


class Stdio:
    """One MCP server on pipes, spoken to line by line in the 2025-11-25 revision."""

    def __init__(self, command, env, log):
        self._log = open(log, "wb")
        self._child = subprocess.Popen(
            command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log
        )
        self._next = 0
        client = {"name": "differential", "version": "1"}
        hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client}
        self.info = self.request("initialize", hello)
        self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def _send(self, message):
        self._child.stdin.write(json.dumps(message).encode() + b"\n")
        self._child.stdin.flush()

    def request(self, method, params):
        """Returns the whole answer, result or error."""
        self._next += 1
        self._send({"jsonrpc": "2.0", "id": self._next, "method": method, "params": params})
        while True:
            line = self._child.stdout.readline()
            if not line:
                raise RuntimeError(f"the server ended during {method}")
            answer = json.loads(line)
            if answer.get("id") == self._next and "method" not in answer:
                return answer

    def call(self, tool, arguments):
        """Calls a tool and returns its result; raises RuntimeError on a protocol error."""
        answer = self.request("tools/call", {"name": tool, "arguments": arguments})
        if "error" in answer:
            raise RuntimeError(f"{tool}: {answer['error']}")
        return answer["result"]

    def close(self):
        """Closes the input, as a client does, and returns the server's exit code."""
        self._child.stdin.close()
        try:
            code = self._child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            code = self._child.wait()
        self._child.stdout.close()
        self._log.close()
        return code
