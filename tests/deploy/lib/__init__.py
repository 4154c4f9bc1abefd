"""What the deployment tests share; besides, the library of tests/e2e is here under the same name."""

from pathlib import Path

__path__.append(str(Path(__file__).resolve().parents[2] / "e2e" / "lib"))
