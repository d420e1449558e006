"""What the commands of train share: a mistake that a user can mend, or Ctrl-C, is one line on stderr, no traceback."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from kuaihl.errors import KuaiHLError


@contextmanager
def plain_errors() -> Iterator[None]:
    """End the program without a traceback: with exit code 2 on a KuaiHLError, and 130, as shells tell it, on Ctrl-C."""
    try:
        yield
    except KuaiHLError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped; what was written whole is kept", file=sys.stderr)
        sys.exit(130)
