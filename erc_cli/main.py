"""The command `erc`: its commands by name, and what happens when one of them fails."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from erc_cli import __version__
from erc_cli.click_parts import LazyGroup
from erc_cli.console import silence
from erc_cli.errors import ErcError

_INTERRUPTED = 130
#: what goes wrong with a stream: closed, or nowhere to put it
_STREAM = {errno.EBADF, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}

#: name -> (where it is, its line in the help); in the order of the help
COMMANDS: dict[str, tuple[str, str]] = {
    "predict": (
        "erc_cli.commands.predict:command",
        "Say which emotion each utterance of a recording expresses.",
    ),
    "ablate": (
        "erc_cli.commands.ablate:command",
        "Show what changes without text, voice or face.",
    ),
    "explain": (
        "erc_cli.commands.explain:command",
        "Show which words and utterances moved each answer.",
    ),
    "report": (
        "erc_cli.commands.report:command",
        "Make a page or a picture of a saved result.",
    ),
    "train": (
        "erc_cli.commands.train:command",
        "Train a preset on a data set.",
    ),
    "evaluate": (
        "erc_cli.commands.evaluate:command",
        "Score a preset on a data set.",
    ),
    "data": (
        "erc_cli.commands.data:command",
        "Check a data set before training.",
    ),
    "extract": (
        "erc_cli.commands.extract:command",
        "Compute a data set's features once, to be used again.",
    ),
    "features": (
        "erc_cli.commands.features:command",
        "Import ready features, look into feature files.",
    ),
    "plugins": (
        "erc_cli.commands.plugins:command",
        "List plugins, show their options.",
    ),
    "presets": (
        "erc_cli.commands.presets:command",
        "List, show, check and copy presets.",
    ),
    "models": (
        "erc_cli.commands.models:command",
        "List, get and check models, convert checkpoints.",
    ),
    "cache": (
        "erc_cli.commands.cache:command",
        "Look at, check and clear the store of features.",
    ),
    "doctor": (
        "erc_cli.commands.doctor:command",
        "Check this installation, say what to mend.",
    ),
    "completion": (
        "erc_cli.commands.completion:command",
        "Print the completion script for a shell.",
    ),
}

_EXAMPLES = (
    "erc predict video.mp4 --transcript video.srt",
    "erc predict video.mp4 --transcript video.srt -o result.csv --drop visual",
    "erc presets list",
    "erc doctor",
)


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    examples=_EXAMPLES,
    help="Emotion recognition in conversation: text, voice and face, each a plugin.",
)
@click.version_option(__version__, "-V", "--version", prog_name="erc", message="%(prog)s %(version)s")
def erc() -> None:
    """The group; its help is given above."""
    if click.get_current_context().invoked_subcommand != "models":
        os.environ["HF_HUB_OFFLINE"] = "1"  # no other command uses the network, nor do its libraries


def main() -> NoReturn:
    """Run `erc` and exit: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    _open_streams()
    try:
        code = _run()
        sys.stdout.flush()
    except BrokenPipeError:  # `erc … | head`: the reader has gone
        code = 0
        silence(sys.stdout)
    except KeyboardInterrupt:
        code = _interrupted()
    except OSError as error:
        if error.filename is not None or error.errno not in _STREAM:
            raise  # about a file: a defect of ours
        code = ErcError.exit_code
        silence(sys.stdout)
        hint = "Send the output to another place, or make room on its disk."
        _say(ErcError(f"The answer could not be written to stdout: {error.strerror}.", hint=hint))
    sys.exit(code)


def _open_streams() -> None:
    """Make stdout and stderr usable, also where they are closed (`>&-`) or not UTF-8."""
    if sys.stdout is None:  # opened for reading, so that writing an answer fails and is told
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w", encoding="utf-8")
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - open to the end
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")  # a terminal without UTF-8 shows ? rather than a traceback


def _run() -> int:
    stdout = sys.stdout
    try:
        answer = erc.main(prog_name="erc", standalone_mode=False)
    except ErcError as error:
        _say(error)
        return error.exit_code
    except click.Abort:  # click's word for Ctrl-C
        return _interrupted()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except SystemExit:
        if sys.stdout is stdout:
            raise
        return 0  # click wraps stdout and leaves so when the reader has gone
    return answer if isinstance(answer, int) else 0


def _interrupted() -> int:
    exec("")  # where Ctrl-C fell into an exec, CPython remembers it and would end by the signal, not by 130
    click.echo("Interrupted; nothing half-written is left.", err=True)
    return _INTERRUPTED


def _say(error: ErcError) -> None:
    click.echo(f"{click.style('Error:', fg='red', bold=True)} {error.message}", err=True, color=_colour())
    if error.hint:
        click.echo(error.hint, err=True)


def _colour() -> bool | None:
    """False where NO_COLOR is set; click itself finds out about terminals."""
    return False if os.environ.get("NO_COLOR") else None
