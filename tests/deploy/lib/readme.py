"""What deploy/README.md and the runbook tell people to type, so that tests can type it."""

import re
import textwrap

from lib.setup import REPOSITORY


def blocks(heading, page="deploy/README.md"):
    """Returns the indented blocks of the section under a heading, without their indentation.

    Raises RuntimeError where there is no such section.
    """
    text = (REPOSITORY / page).read_text()
    for section in re.split(r"^##+ ", text, flags=re.MULTILINE)[1:]:
        title, _, body = section.partition("\n")
        if title == heading:
            found = re.findall(r"(?:^    .*\n|^\n(?=    ))+", body, flags=re.MULTILINE)
            return [textwrap.dedent(block).strip("\n") + "\n" for block in found]
    raise RuntimeError(f"{page} has no section {heading!r}")
