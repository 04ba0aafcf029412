"""What docs/cli.md and docs/messages.md say is what there is."""

from __future__ import annotations

import re
from pathlib import Path

from reconciler.cli import exits
from reconciler.cli.index import COMMANDS
from reconciler.core.errors import ReconcilerError
from tests.cli.codes import codes

DOCS = Path(__file__).parents[2] / "docs"


def test_every_code_is_documented() -> None:
    """Each code in the source has a row in docs/messages.md."""
    documented = set(re.findall(r"`([a-z][a-z0-9-]*)`", (DOCS / "messages.md").read_text()))
    assert codes() - documented == set()


def test_every_exit_code_is_documented() -> None:
    """Each exit code has its row, and the classes of errors have none of their own."""
    rows = {int(number) for number in re.findall(r"^\| (\d+) \|", (DOCS / "messages.md").read_text(), re.MULTILINE)}
    ours = {value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}
    assert rows == ours

    def below(kind: type[ReconcilerError]) -> set[int]:
        return {kind.exit_code}.union(*(below(inner) for inner in kind.__subclasses__()))

    assert below(ReconcilerError) <= ours


def test_every_command_is_documented() -> None:
    """Each command has a row in docs/cli.md."""
    text = (DOCS / "cli.md").read_text()
    assert [name for name in COMMANDS if f"`{name}" not in text] == []
