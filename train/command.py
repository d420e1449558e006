"""What the training commands share: errors in one line, and the command line of a configuration."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

import tyro
from upath import UPath

from kuaihl.errors import KuaiHLError

_POSITIONAL = tyro.conf.Positional[Any].__metadata__
_REPEATED = tyro.conf.UseAppendAction[Any].__metadata__


@contextmanager
def plain_errors() -> Iterator[None]:
    """End the program with one line on stderr: exit code 2 on a KuaiHLError, 130 on Ctrl-C."""
    try:
        yield
    except KuaiHLError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def command_line(program: str, config: Any) -> str:
    """Return the command that tyro parses into the dataclass ``config``.

    Options with their default are left out, and paths are without their folders, for use in a model card. Weights keep
    the name of their folder.
    """
    words = [program]
    for option in fields(config):
        value, flag = getattr(config, option.name), f"--{option.name.replace('_', '-')}"
        markers = getattr(option.type, "__metadata__", ())
        values = [shlex.quote(_short(item)) for item in (value if isinstance(value, tuple) else (value,))]
        if is_dataclass(value):
            words += command_line("", value).split()
        elif option.default is not MISSING and value == option.default:
            continue
        elif option.type is bool:
            words.append(flag if value else flag.replace("--", "--no-", 1))
        elif set(_POSITIONAL) <= set(markers):
            words += values
        elif markers == _REPEATED:
            words += [f"{flag} {item}" for item in values]
        else:
            words.append(" ".join([flag, *values]))
    return " ".join(words)


def _short(value: object) -> str:
    if not isinstance(value, Path | UPath):
        return str(value)
    return "/".join(value.parts[-2:]) if value.suffix == ".safetensors" else value.name
