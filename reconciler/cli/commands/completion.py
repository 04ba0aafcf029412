"""Shell completion: the script a shell loads, and the answers it then asks for."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from reconciler.cli import exits
from reconciler.cli.console import Console
from reconciler.cli.index import COMMANDS
from reconciler.cli.parser import Parser, add_output

SHELLS = ("bash", "zsh", "fish")


def configure(parser: Parser) -> None:
    """Declares the arguments."""
    parser.about(
        "Print the completion script of a shell.",
        (
            ('eval "$(reconciler completion bash)"', "in ~/.bashrc"),
            ('eval "$(reconciler completion zsh)"', "in ~/.zshrc, after compinit"),
            ("reconciler completion fish | source", "in config.fish"),
        ),
    )
    parser.add_argument("shell", choices=SHELLS, help="which shell")
    add_output(parser, ("text",))


def run(arguments: Namespace, console: Console) -> int:
    """Prints the script."""
    from argcomplete.shell_integration import shellcode

    console.write(shellcode(["reconciler"], shell=arguments.shell))
    return exits.DONE


def complete() -> None:
    """Answers a shell that asks how a line can go on, and ends the process."""
    import argparse

    import argcomplete

    top = argparse.ArgumentParser("reconciler", allow_abbrev=False)
    commands = top.add_subparsers(parser_class=Parser)
    groups: dict[str, Any] = {"": commands}
    for name, entry in COMMANDS.items():
        first, _, second = name.rpartition(" ")
        if first in COMMANDS:
            # Its first word is a command with arguments of its own, which a shell completes instead.
            continue
        if first not in groups:
            groups[first] = commands.add_parser(first, prog=f"reconciler {first}").add_subparsers(parser_class=Parser)
        parser = groups[first].add_parser(second, prog=f"reconciler {name}")
        entry.load(name).configure(parser)
    argcomplete.autocomplete(top)
