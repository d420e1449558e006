"""The command line; see ``kuaihl --help``.

A command is a function. Heavy imports are inside it, so that ``--help`` is fast.
"""

import functools
import io
import logging
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

import kuaihl
from kuaihl.cli.comments import comments
from kuaihl.cli.console import print_error, rows
from kuaihl.cli.explain import explain
from kuaihl.cli.options import SWITCH, hint
from kuaihl.cli.predict import predict
from kuaihl.cli.watch import watch
from kuaihl.errors import KuaiHLError

if TYPE_CHECKING:
    from kuaihl.model.config import KuaiHLConfig

_ABOUT = "Find the best moments of a live stream from its video, speech and chat. kuaihl --version prints the version."
_USER_ERROR, _STOPPED = 2, 130  # exit codes; 130 is what a shell reports for Ctrl-C


def info(
    checkpoint: Annotated[
        tyro.conf.Positional[str | None], hint("(default: the checkpoint of KuaiHL)", "[PATH_OR_REPO]")
    ] = None,
) -> None:
    """Describe a checkpoint.

    Parameters
    ----------
    checkpoint
        Folder or Hugging Face Hub id.
    """
    from kuaihl.model.kuaihl import load, sha256_of
    from kuaihl.predictor import DEFAULT_CHECKPOINT
    from kuaihl.records import SEGMENT_S

    model, folder = load(checkpoint or DEFAULT_CHECKPOINT)
    config = model.config
    parameters = sum(p.numel() for p in model.parameters())
    files = sorted(file for file in folder.iterdir() if file.is_file())
    print(
        rows(
            [
                ("checkpoint", f"{folder} (SHA-256 {sha256_of(folder)[:12]}…)"),
                *(("predicts", f"{target.name}, trained on {target.trained_on}") for target in config.targets),
                ("vision", config.visual_encoder),
                ("text", config.text_encoder),
                ("speech", f"Whisper {config.speech_model}"),
                *(("streamers", names) for names in _known_streamers(config)),
                (
                    "model",
                    f"{parameters:,} parameters; width {config.dim}, {config.perceiver_layers} perceiver and "
                    f"{config.decoder_layers} decoder layers",
                ),
                ("context", f"{config.window} segments ({config.window * SEGMENT_S / 60:g} min)"),
                *(("file", f"{file.name} ({file.stat().st_size / 1000:,.1f} kB)") for file in files),
            ]
        )
    )


def _known_streamers(config: "KuaiHLConfig") -> list[str]:
    """List the streamers that a checkpoint knows, by target if they differ."""
    from kuaihl.model.targets import streamers_of

    by_target = {target.name: streamers_of(config, target.name) for target in config.targets}
    if set(by_target.values()) == {config.streamers}:
        return [f"{len(config.streamers):,} known{': ' if config.streamers else ''}{', '.join(config.streamers)}"]
    return [f"{len(names):,} known for {target}: {', '.join(names)}" for target, names in by_target.items() if names]


def pull(
    repo: Annotated[tyro.conf.Positional[str], hint("", "REPO")],
    *,
    revision: Annotated[str | None, hint("(default: the newest)", "NAME")] = None,
) -> None:
    """Download a checkpoint from the Hugging Face Hub into its cache.

    Parameters
    ----------
    repo
        Id of the repository: owner/name.
    revision
        Branch, tag or commit.
    """
    from kuaihl.model.hub import fetch

    if Path(repo).exists():
        raise KuaiHLError(f"{repo} is a local path, not the id of a repository on the Hub.")
    print(fetch(repo, revision=revision))


def demo(*, mcp: Annotated[bool, SWITCH] = False, local_paths: Annotated[bool, SWITCH] = False) -> None:
    """Serve the page on http://127.0.0.1:7860, and endpoints for programs.

    Parameters
    ----------
    mcp
        Serve the endpoints to assistants too, as an MCP server.
    local_paths
        Let everyone who can reach the page name recordings by their paths on this machine.
    """
    from kuaihl.demo.server import serve

    logging.disable(logging.NOTSET)
    serve(mcp=mcp, local_paths=local_paths)


app = tyro.extras.SubcommandApp()


def _add(function: Callable[..., int | None]) -> None:
    """Add a command. Parsing binds its arguments and does not run it, so that its errors are not the parser's."""

    @functools.wraps(function)
    def bind(*args: object, **kwargs: object) -> Callable[[], int | None]:
        return functools.partial(function, *args, **kwargs)

    app.command(bind)


for _function in (predict, watch, explain, comments, info, pull, demo):
    _add(_function)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code: 2 for a user error, with one line on stderr, and 130 for Ctrl-C.

    Raises
    ------
    SystemExit
        After ``--help``, and with code 2 after a description of wrong arguments.
    """
    if list(arguments) == ["--version"]:
        print(f"kuaihl {kuaihl.__version__}")
        return 0
    config = (tyro.conf.DisallowNone, tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes)
    try:
        return app.cli(prog="kuaihl", description=_ABOUT, args=arguments, config=config)() or 0
    except KuaiHLError as error:
        print_error(" ".join(str(error).split()))
        return _USER_ERROR
    except KeyboardInterrupt:
        print_error("stopped")
        return _STOPPED


def main() -> None:
    """Run the command line of this process and exit."""
    # Warnings and logs of libraries are of no use to users; errors and results say what matters.
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # the terminal's encoding may lack letters of speech and names
    sys.exit(run(sys.argv[1:]))
