"""Arguments: argparse with our exit code, did-you-mean, examples in the help, and the options all commands share.

argparse and not typer: typer 0.29 takes 0.07 s to import and loads pydantic for another 0.17 s as soon as a command
has an option, where argparse takes 0.01 s; a warm offline plan of a thousand services has 0.35 s in all (docs/cli.md).
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NoReturn

from reconciler.core.errors import UsageError

# As `difflib` measures it: 1 for the same, 0 for nothing in common.
_ALIKE = 0.6
_MOST_COMMANDS = 3
FORMATS = ("text", "json", "markdown")
# For these, nothing is something that can be meant: no environment, the root of the repo, no body, no reason.
_MAY_BE_EMPTY = frozenset(("--env", "--path", "--data", "--reason"))


class Parser(argparse.ArgumentParser):
    """A command's parser: no abbreviations, errors as `UsageError`."""

    def __init__(self, prog: str, description: str = "") -> None:
        super().__init__(
            prog=prog,
            description=description,
            formatter_class=_formatter,
            allow_abbrev=False,
            add_help=False,
        )
        self.common = self.add_argument_group("common options")

    def about(self, description: str, examples: Sequence[tuple[str, str]]) -> None:
        """Sets the description and the examples, each a command and what it does."""
        self.description = description
        width = max(len(command) for command, _ in examples)
        lines = [f"  {command:<{width}}  # {what}" for command, what in examples]
        self.epilog = "\n".join(["examples:", *lines])

    def error(self, message: str) -> NoReturn:
        """Raises what was wrong instead of exiting with argparse's code.

        Raises:
            UsageError: Always.
        """
        raise UsageError(message, hint=f"see `{self.prog} --help`")

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """The arguments; unknown options get a did-you-mean.

        Raises:
            UsageError: They do not fit.
        """
        found, rest = self.parse_known_args(arguments)
        if rest:
            known = [option for action in self._actions for option in action.option_strings]
            option = rest[0].partition("=")[0] if rest[0].startswith("-") else ""
            near = (closest(option, known) or _elsewhere(option)) if option else ""
            what = "unknown option" if option else "unexpected argument"
            raise UsageError(f"{what} {rest[0]!r}", hint=near or f"see `{self.prog} --help`")
        self._refuse_empty(arguments, found)
        return found

    def _refuse_empty(self, arguments: Sequence[str], found: argparse.Namespace) -> None:
        """A script whose variable is not set must not get another plan, target or state than it asked for.

        Raises:
            UsageError: An option or argument was given, but has nothing in it.
        """
        for action in self._actions:
            name = next((option for option in reversed(action.option_strings) if option.startswith("--")), "")
            if not name:
                value = getattr(found, action.dest, None)
                empty = "" in value if isinstance(value, list) else value == "" and "" in arguments
            else:
                given = any(one in action.option_strings and next_ == "" for one, next_ in pairwise(arguments))
                empty = action.nargs != 0 and name not in _MAY_BE_EMPTY and (given or f"{name}=" in arguments)
            if empty:
                raise UsageError(
                    f"{name or action.metavar or action.dest.upper()} is empty",
                    hint="give it a value, or leave it out; a variable that is not set?",
                )


def _formatter(prog: str) -> argparse.HelpFormatter:
    # The width is asked for here, since argparse imports the compressors along with `shutil` to ask for it, and makes a
    # formatter for every option.
    try:
        columns = int(os.environ.get("COLUMNS") or 0) or os.get_terminal_size().columns
    except (ValueError, OSError):
        columns = 0
    return argparse.RawDescriptionHelpFormatter(prog, width=(columns if columns > 0 else 80) - 2)


def closest(word: str, known: Iterable[str]) -> str:
    """`did you mean 'plan'?`, or nothing."""
    import difflib

    near = difflib.get_close_matches(word, list(known), n=5, cutoff=_ALIKE)
    meant = next((each for each in near if _alike(word, each)), "")
    return f"did you mean {meant!r}?" if meant else ""


def _alike(word: str, other: str) -> bool:
    """Whether two names are alike beyond the words that both begin with: `--allow-dirty` is no `--allow-http`."""
    import difflib

    one, two = word.strip("-").split("-"), other.strip("-").split("-")
    while one and two and one[0] == two[0]:
        del one[0], two[0]
    return not one or not two or difflib.SequenceMatcher(None, "-".join(one), "-".join(two)).ratio() >= _ALIKE


def _elsewhere(option: str) -> str:
    """Which commands have an option, in words; nothing if none has."""
    from reconciler.cli.index import COMMANDS

    having: list[str] = []
    for name, entry in COMMANDS.items():
        parser = Parser(f"reconciler {name}")
        entry.load(name).configure(parser)
        if any(option in action.option_strings for action in parser._actions):
            having.append(f"`{parser.prog}`")
    many = f" and {len(having) - _MOST_COMMANDS} more" if len(having) > _MOST_COMMANDS else ""
    return f"it is an option of {', '.join(having[:_MOST_COMMANDS])}{many}" if having else ""


def add_output(parser: Parser, formats: Sequence[str] = ("text", "json")) -> None:
    """`-o`, with the first of the formats as its default, `--no-color`, `-v`, `--help`."""
    group = parser.common
    default = formats[0]
    group.add_argument(
        "-o", "--output", choices=formats, default=default, help=f"format of the output (default: {default})"
    )
    group.add_argument("--no-color", action="store_true", help="plain text; so does the variable NO_COLOR")
    group.add_argument("-v", "--verbose", action="store_true", help="say more on standard error")
    group.add_argument("-h", "--help", action="help", help="show this help")


def add_settings(parser: Parser) -> None:
    """`--settings` and `--state-dir`."""
    group = parser.common
    group.add_argument("--settings", metavar="FILE", help="the operator's settings (default: $RECONCILER_SETTINGS)")
    group.add_argument(
        "--state-dir",
        metavar="DIR",
        help="where state is kept (default: $RECONCILER_STATE_DIR, else ~/.local/state/reconciler)",
    )


def add_source(parser: Parser, *, path: bool = True) -> None:
    """`--repo`, `--ref`, `--path`, `--env`."""
    group = parser.common
    group.add_argument(
        "--repo",
        metavar="PATH|URL",
        help="the manifest repo, or the manifest folder in one (default: the settings', else the Git repo around here)",
    )
    group.add_argument("--ref", help="branch, tag or commit (default: what lies in the working copy, else HEAD)")
    if path:
        group.add_argument("--path", metavar="FOLDER", help="the manifest folder in the repo (default: its root)")
    group.add_argument(
        "--env", metavar="NAME", help="the environment whose overlay counts (default: the settings'; '' for none)"
    )


def add_annotations(parser: Parser) -> None:
    """`--annotations`."""
    parser.add_argument(
        "--annotations",
        choices=("github",),
        help="also tell problems on standard error in the form that makes a CI service show them beside the files",
    )


def percent(text: str) -> float:
    """A percentage from 0 to 100.

    Raises:
        ArgumentTypeError: It is none (argparse makes a usage error of it).
    """
    number = _number(text.removesuffix("%"))
    if not 0 <= number <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is no percentage from 0 to 100")
    return number


def seconds(text: str) -> float:
    """A duration: `90`, `90s`, `15m`, `2h`.

    Raises:
        ArgumentTypeError: It is none.
    """
    factor = {"s": 1, "m": 60, "h": 3600}.get(text[-1:], 0)
    number = _number(text[:-1]) * factor if factor else _number(text)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 90s, 15m or 2h")
    return number


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def count(text: str) -> int:
    """A number from 0 on.

    Raises:
        ArgumentTypeError: It is none.
    """
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 on")
    return int(text)


def positive(text: str) -> int:
    """A number from 1 on.

    Raises:
        ArgumentTypeError: It is none.
    """
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)
