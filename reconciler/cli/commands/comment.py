"""`reconciler comment`: one comment a pull request and environment, updated in place."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.cli import exits
from reconciler.cli.console import Console
from reconciler.cli.parser import Parser, add_output, positive
from reconciler.core.errors import AccessError, InvalidError, UsageError

if TYPE_CHECKING:
    from reconciler.forge.ci import Surroundings
    from reconciler.forge.comments import Result
    from reconciler.forge.opening import Named, Repository

FORGES = ("github", "gitlab", "azure-devops")
_SENTENCES = {
    "created": "comment created",
    "updated": "comment updated",
    "unchanged": "the comment says so already",
    "superseded": "not written: the pull request has a newer commit, and the comment is for its run to write",
}
# GitHub shows a summary of at most 1 MiB a step; a UTF-16 unit takes three bytes at most.
_LONGEST_SUMMARY = 300_000


def configure(parser: Parser) -> None:
    """Declares the arguments."""
    parser.about(
        "Write a plan into a comment of the pull request that this run is about, in GitHub Actions, GitLab CI or\n"
        "Azure Pipelines; a later one takes its place. The token comes from GITHUB_TOKEN, GITLAB_TOKEN or\n"
        "SYSTEM_ACCESSTOKEN. A run that may not write, as one of a fork, says so, leaves the text in its summary, and\n"
        "ends with 0.",
        (
            ("reconciler plan --base origin/main -o markdown | reconciler comment", "in a run of a pull request"),
            ("reconciler comment --file plan.md --env production", "one comment for each environment"),
            ("reconciler comment --forge github --project team/models --pull-request 7 < plan.md", "from anywhere"),
        ),
    )
    parser.add_argument("--file", metavar="FILE", default="-", help="the text, as Markdown (default: standard input)")
    parser.add_argument("--env", metavar="NAME", default="", help="the environment it is about")
    parser.add_argument("--path", metavar="FOLDER", default="", help="the manifest folder it is about")
    group = parser.add_argument_group("where to (default: what the variables of the run say)")
    group.add_argument("--forge", choices=FORGES, help="where the pull request is")
    group.add_argument(
        "--project", metavar="NAME", help="OWNER/NAME, GROUP/NAME, or PROJECT/REPOSITORY at Azure DevOps"
    )
    group.add_argument("--pull-request", type=positive, metavar="NUMBER", help="or merge request")
    group.add_argument(
        "--head", metavar="SHA", help="the commit that was looked at; an older one than the newest stays out"
    )
    group.add_argument("--api-url", metavar="URL", help="the API, or the organization's or collection's address")
    token = group.add_mutually_exclusive_group()
    token.add_argument("--token-env", metavar="NAME", help="variable that holds the token")
    token.add_argument("--token-file", metavar="FILE", help="file that holds the token")
    group.add_argument("--ca-file", metavar="FILE", help="certificates (PEM) to trust in place of the machine's own")
    add_output(parser)


def run(arguments: Namespace, console: Console) -> int:
    """Writes the comment, or says why it may not."""
    from reconciler.forge.opening import Named, NoTokenError, repository_of
    from reconciler.wiring.forges import around

    markdown = _text(arguments.file)
    named = Named(
        provider=arguments.forge or "",
        project=arguments.project or "",
        api=arguments.api_url or "",
        token_env=arguments.token_env or "",
        token_file=arguments.token_file or "",
        ca_file=arguments.ca_file or "",
    )
    repository = repository_of(named, around())
    try:
        result = _put(arguments, console, repository, named, markdown)
    except AccessError as error:
        if not repository.around.untrusted:
            raise
        missing = "has no token" if isinstance(error, NoTokenError) else "has no token that may write comments"
        return _skipped(console, repository.around, missing, markdown)
    told = {"kind": "Comment", "formatVersion": 1, "result": result.written.value, "url": result.url, "reason": ""}
    if console.output == "json":
        console.json(told)
    else:
        console.line(f"{_SENTENCES[result.written.value]}{f': {result.url}' if result.url else ''}")
    return exits.DONE


def _put(arguments: Namespace, console: Console, repository: Repository, named: Named, markdown: str) -> Result:
    from reconciler.forge.body import marker
    from reconciler.forge.comments import put_comment
    from reconciler.forge.opening import open_forge, token_of

    number = arguments.pull_request or repository.around.pull_request
    if number is None:
        raise UsageError("this run belongs to no pull request", hint="run it in one, or name it: --pull-request NUMBER")
    head = arguments.head or ("" if arguments.pull_request else repository.around.head)
    token = token_of(named, repository.provider, os.environ)
    if repository.api.startswith("http://"):
        console.note(f"warning: the token goes to {repository.api} without encryption")
    forge = open_forge(repository, token)
    try:
        return put_comment(forge, number, markdown, marker(arguments.env, arguments.path), head)
    finally:
        forge.close()


def _text(file: str) -> str:
    if file == "-" and sys.stdin.isatty():
        raise UsageError("there is no text", hint="`reconciler plan -o markdown | reconciler comment`, or --file FILE")
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        text = data.decode()
    except (OSError, UnicodeDecodeError) as error:
        what = "standard input" if file == "-" else file
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        raise InvalidError(f"{what} cannot be read: {why}", hint="it is to hold Markdown") from error
    if not text.strip():
        raise InvalidError(
            "there is nothing to write: the text is empty",
            hint="what should have made it failed; in a pipe, `set -o pipefail` shows its exit code",
        )
    return text


def _skipped(console: Console, around: Surroundings, missing: str, markdown: str) -> int:
    from reconciler.forge.body import fitted

    shown = ""
    if around.summary:
        with Path(around.summary).open("a", encoding="utf-8") as summary:
            summary.write(f"{fitted(markdown, _LONGEST_SUMMARY)}\n")
        shown = "; the text stands in the run's summary instead"
    reason = f"{around.untrusted}, and its run {missing}"
    if console.output == "json":
        console.json({"kind": "Comment", "formatVersion": 1, "result": "skipped", "url": "", "reason": reason})
    else:
        console.line(f"not written: {reason}{shown}")
    return exits.DONE
