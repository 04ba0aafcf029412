"""The entry point: finds the command, runs it, and turns whatever happens into an exit code."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from reconciler.cli import exits
from reconciler.cli.console import Console
from reconciler.cli.index import COMMANDS
from reconciler.cli.parser import Parser, closest
from reconciler.cli.streams import UnwrittenError, discard, settle, unwritten
from reconciler.core.errors import ReconcilerError, UsageError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: Without the program's name; those of the process if None.

    Returns:
        The exit code, as in docs/messages.md.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    # A short run that only adds objects: looking for garbage among them took a third of a plan's time. What may run
    # for long switches it on again (`Session.installation`).
    gc.disable()
    started = time.monotonic()
    settle()
    # Errors in the arguments are told in the form that was asked for, too.
    verbose = "-v" in words or "--verbose" in words
    console = Console(output=_output_of(words), plain="--no-color" in words, verbose=verbose)
    try:
        try:
            if "_ARGCOMPLETE" in os.environ:
                from reconciler.cli.commands.completion import complete

                complete()
            code = _dispatch(words, console)
            _flush()
            console.detail(f"took {time.monotonic() - started:.2f} s")
        except (BrokenPipeError, UnwrittenError):
            raise
        except (Exception, KeyboardInterrupt, SystemExit) as error:  # noqa: BLE001  the last place that can say it
            code = _told(error, words, console)
            _flush()
    except BrokenPipeError:
        discard(sys.stdout)
        code = exits.CLOSED_PIPE
    except UnwrittenError as error:
        discard(sys.stdout)
        code = _told(error, words, console)
    try:
        sys.stderr.flush()
    except OSError:
        discard(sys.stderr)
    return code


def _flush() -> None:
    """Writes what argparse may have left, its help for one."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise unwritten(error) from error


def _told(error: BaseException, words: Sequence[str], console: Console) -> int:
    """What ended the command, in words on standard error; the exit code for it."""
    match error:
        case KeyboardInterrupt():
            console.note("interrupted")
            return exits.INTERRUPTED
        case SystemExit():
            # argparse ends `--help` this way, after printing.
            return error.code if isinstance(error.code, int) else exits.DONE
        case ReconcilerError():
            from reconciler.cli.failure import report

            return report(error, console)
        case _:
            from reconciler.cli.failure import unexpected

            return unexpected(error, console, _state_dir(words))


def _dispatch(words: list[str], console: Console) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        return _help(words, console)
    if words[0] in ("-V", "--version", "version"):
        from importlib.metadata import version

        console.line(f"reconciler {version('reconciler')}")
        return exits.DONE
    name = words[0]
    if name.startswith("-"):
        raise UsageError(f"unknown option {name!r}", hint="options follow the command: `reconciler plan -o json`")
    name, rest = _command(words)
    entry = COMMANDS.get(name)
    if entry is None:
        below = [f"`{known}`" for known in COMMANDS if known.startswith(f"{words[0]} ")]
        hint = f"there are {', '.join(below)}" if below else closest(name, COMMANDS) or "see `reconciler --help`"
        raise UsageError(f"unknown command {name!r}", hint=hint)
    parser, command = Parser(f"reconciler {name}"), entry.load(name)
    command.configure(parser)
    found = parser.parse(rest)
    console = Console(
        output=getattr(found, "output", "text"),
        plain=getattr(found, "no_color", False),
        verbose=getattr(found, "verbose", False),
    )
    return command.run(found, console)


def _command(words: list[str]) -> tuple[str, list[str]]:
    """The command's name, of two words where there is one (`lock list`), and its arguments."""
    both = " ".join(words[:2])
    return (both, words[2:]) if len(words) > 1 and both in COMMANDS else (words[0], words[1:])


def _help(words: list[str], console: Console) -> int:
    if len(words) > 1 and _command(words[1:])[0] in COMMANDS:
        return _dispatch([*_command(words[1:])[0].split(), "--help"], console)
    width = max(len(name) for name in COMMANDS)
    lines = [f"  {name:<{width}}  {entry.summary}" for name, entry in COMMANDS.items()]
    overview = [
        "usage: reconciler COMMAND [options]",
        "",
        "GitOps for machine-learning models: what Git says is served, is served.",
        "",
        "commands:",
        *lines,
        "",
        "examples:",
        "  reconciler init demo && cd demo           # a manifest repo to start from",
        "  reconciler plan                           # what would change",
        "  reconciler apply                          # make it so, and wait until it is",
        "  reconciler plan --base main --offline     # what this branch changes, without any access",
        "",
        "`reconciler COMMAND --help` says more; exit codes and messages: docs/messages.md",
    ]
    console.write("\n".join(overview) + "\n")
    if not words:
        raise UsageError("a command is missing", hint="`reconciler init demo` makes something to play with")
    return exits.DONE


def _output_of(words: Sequence[str]) -> str:
    """The format asked for, before the arguments are parsed: usage errors are told in it, too."""
    for word, following in zip(words, [*words[1:], ""], strict=False):
        if word in ("-o", "--output") and following == "json":
            return "json"
        if word in ("-ojson", "--output=json"):
            return "json"
    return "text"


def _state_dir(words: Sequence[str]) -> Path:
    from reconciler.cli.places import state_dir

    for word, following in zip(words, [*words[1:], ""], strict=False):
        if word == "--state-dir" and following:
            return Path(following)
        if word.startswith("--state-dir="):
            return Path(word.partition("=")[2])
    return state_dir(None)
