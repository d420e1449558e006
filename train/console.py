"""What the commands of train share: a mistake that a user can mend is one line on stderr, and exit code 2."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from kuaihl.errors import KuaiHLError


@contextmanager
def plain_errors() -> Iterator[None]:
    """End the program without a traceback on a KuaiHLError."""
    try:
        yield
    except KuaiHLError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
