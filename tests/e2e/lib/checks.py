"""Counts what passed and what failed, and says so in one closing line.

A check that could not be made counts as failed: nothing here is ever skipped.
"""

import json
import os
import sys
import traceback
from contextlib import contextmanager


class Checks:
    """The checks of one script."""

    def __init__(self, name):
        self.name = name
        self.passed = 0
        self.failed = 0

    def ok(self, what):
        self.passed += 1
        print(f"ok    {what}", flush=True)

    def fail(self, what, why=""):
        self.failed += 1
        print(f"FAIL  {what}", flush=True)
        for line in str(why).splitlines()[:40]:
            print(f"      {line[:600]}", flush=True)

    def equal(self, what, found, wanted):
        if found == wanted:
            self.ok(what)
            return
        left, right = show(found), show(wanted)
        same = len(os.path.commonprefix([left, right]))
        start = max(0, same - 40)
        cut = slice(start, start + 300)
        self.fail(what, f"from character {start}:\nfound  {left[cut]}\nwanted {right[cut]}")

    def true(self, what, claim, why=""):
        if claim:
            self.ok(what)
        else:
            self.fail(what, why)

    @contextmanager
    def guard(self, what):
        """Turns whatever goes wrong inside into one failed check."""
        try:
            yield
        except Exception:
            self.fail(what, traceback.format_exc())

    def finish(self):
        """Prints the closing line and ends the script."""
        if self.passed + self.failed == 0:
            self.fail("something was checked")
        print(f"{self.name}:")
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        sys.exit(1 if self.failed else 0)


def show(value):
    """Returns a value on one line."""
    return repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
