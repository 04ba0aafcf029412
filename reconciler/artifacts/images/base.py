"""Base images: fetched where they are missing, and asked what they bring before anything is built on them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from reconciler.artifacts.images.recipe import PROBE
from reconciler.containers.engine import Engine, MissingError
from reconciler.core.errors import TerminalError

OLDEST_PYTHON = (3, 10)
# glibc versions that uv has platform names for (uv's `--python-platform`), newest first.
_GLIBC = (40, 39, 38, 37, 36, 35, 34, 33, 32, 31, 28, 17)


@dataclass(frozen=True, slots=True)
class Base:
    """What a base image brings.

    Args:
        id: The engine's id of it (`sha256:<64 hex>`), which a tag may stop meaning.
        python: Its Python's version.
        machine: As `uname -m` says it.
        glibc: Its C library's minor version.
        conda: Path of micromamba or conda in it, "" for neither. java: Of its Java runtime, "" for none.
        reference: What is built on in its place: the same image, said exactly; "" for its name.
    """

    id: str
    python: tuple[int, int, int] | None
    machine: str
    glibc: int
    conda: str = ""
    java: str = ""
    reference: str = ""

    @property
    def short(self) -> str:
        """`3.11`; "" where there is none."""
        if self.python is None:
            return ""
        return f"{self.python[0]}.{self.python[1]}"

    @property
    def platform(self) -> str:
        """The name by which uv knows it (`x86_64-manylinux_2_36`)."""
        return f"{self.machine}-manylinux_2_{next(minor for minor in _GLIBC if minor <= self.glibc)}"


def base_of(engine: Engine, reference: str, credentials: Mapping[str, str] | None, platform: str = "") -> Base:
    """Fetches a base image if the engine has none of that name, and looks what it brings.

    Raises:
        TerminalError: There is none, or it cannot be built on; the message has the list of what it must have.
        AccessError: The registry wants (other) credentials.
    """
    found = engine.image(reference)
    if found is None:
        try:
            engine.pull(reference, credentials, platform)
        except MissingError as error:
            raise TerminalError(
                f"there is no base image {reference}: {error.message}", hint="check `baseImage` and its registry"
            ) from error
        found = engine.image(reference)
    if found is None:
        raise TerminalError(f"the engine fetched {reference} and does not have it")
    return _probed(engine, reference, str(found["Id"]))


def _probed(engine: Engine, reference: str, image: str) -> Base:
    return read_probe(reference, image, _output(engine, image))


def read_probe(reference: str, image: str, said: str) -> Base:
    """What `recipe.PROBE` printed in a base image.

    Args:
        image: Its id; "" where that is not known.

    Raises:
        TerminalError: It cannot be built on; the message has the list of what it must have.
    """
    try:
        facts = cast("Mapping[str, Any]", json.loads(said.strip().splitlines()[-1]))
        numbers = cast("list[int] | None", facts["python"])
        python = None if numbers is None else (int(numbers[0]), int(numbers[1]), int(numbers[2]))
    except (ValueError, KeyError, IndexError, TypeError):
        last = said.strip().splitlines()[-1:] or ["it printed nothing"]
        raise unfit(reference, f"no Python could be run in it: {last[0][:200]}") from None
    conda = str(facts.get("conda") or "")
    if python is None and not conda:
        raise unfit(reference, "there is no Python on its PATH")
    if python is not None and python < OLDEST_PYTHON and not conda:
        raise unfit(reference, f"its Python is {'.'.join(map(str, python))}")
    name, _, version = str(facts.get("glibc") or "").partition(" ")
    minor = version.rpartition(".")[2]
    if name != "glibc" or not minor.isdecimal():
        raise unfit(reference, "its C library is not glibc")
    return Base(image, python, str(facts["machine"]), max(int(minor), _GLIBC[-1]), conda, str(facts.get("java") or ""))


def _output(engine: Engine, image: str, command: tuple[str, ...] = PROBE) -> str:
    """What a command prints in a container of the image that has no network and is removed at once."""
    with engine.calls(f"looking into {image[:19]}"):
        config = engine.api.create_host_config(network_mode="none", mem_limit=512 * 1024 * 1024)
        made = engine.api.create_container(
            image, entrypoint=list(command[:1]), command=list(command[1:]), user="0", host_config=config
        )
    container = str(made["Id"])
    try:
        with engine.calls("looking into a base image"):
            engine.api.start(container)
            engine.api.wait(container, timeout=60)
            return cast("bytes", engine.api.logs(container)).decode(errors="replace")
    except TerminalError as error:
        # The shell itself is missing.
        return error.message
    finally:
        engine.remove(container)


def unfit(reference: str, why: str) -> TerminalError:
    """The error of a base image that cannot be built on, with the list of what one must have."""
    wanted = ".".join(map(str, OLDEST_PYTHON))
    return TerminalError(
        f"base image {reference} cannot be built on: {why}",
        hint="a base image needs a shell (`sh`), glibc, and on its PATH a `python3` or `python` that is Python "
        f"{wanted} or newer",
    )
