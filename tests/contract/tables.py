"""The tables of docs/drivers.md, made from the code: abilities by `isinstance`, rules and hooks from the suite."""

from __future__ import annotations

import re
from pathlib import Path

from reconciler.artifacts.environments.driver import EnvironmentsDriver
from reconciler.artifacts.models.driver import ModelsDriver
from reconciler.core.driver import Access, Catalogue, Describes, Endpoint, Events, Hosts, Logs, Rehearses, Surroundings
from reconciler.targets.aks.clusters.driver import ClustersDriver
from reconciler.targets.aks.driver import AksDriver
from reconciler.targets.local.driver import LocalDriver
from reconciler.targets.local.process.driver import ProcessDriver
from reconciler.targets.memory import MemoryDriver

from .fixture import HOOKS, DriverFixture
from .memory import MemoryFixture
from .rules import Contract
from .test_clusters import ClustersFixture
from .test_kubernetes import KubernetesFixture
from .test_models import ModelsFixture
from .test_process import ProcessFixture

DOCUMENT = Path(__file__).parents[2] / "docs" / "drivers.md"
DRIVERS: dict[str, type] = {
    "models (registry)": ModelsDriver,
    "environments (registry)": EnvironmentsDriver,
    "clusters (registry)": ClustersDriver,
    "local, both engines": LocalDriver,
    "local, process engine": ProcessDriver,
    "aks": AksDriver,
    "memory (tests only)": MemoryDriver,
}
ABILITIES: tuple[type, ...] = (Endpoint, Logs, Events, Describes, Catalogue, Hosts, Surroundings, Access, Rehearses)
FIXTURES: dict[str, type[DriverFixture]] = {
    "models (registry)": ModelsFixture,
    "clusters (registry)": ClustersFixture,
    "local, process engine": ProcessFixture,
    "aks": KubernetesFixture,
    "memory": MemoryFixture,
}


def _methods(protocol: type) -> list[str]:
    return sorted(name for name in vars(protocol) if not name.startswith("_"))


def _has(driver: type, ability: type) -> bool:
    # The same question as isinstance on a runtime protocol, asked of a class instead of an object.
    return all(callable(getattr(driver, name, None)) for name in _methods(ability))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def abilities() -> str:
    """Drivers by their optional abilities."""
    head = [_row("driver", *(f"`{a.__name__}`" for a in ABILITIES)), _row(*["---"] * (len(ABILITIES) + 1))]
    rows = [_row(name, *("yes" if _has(driver, a) else "no" for a in ABILITIES)) for name, driver in DRIVERS.items()]
    return "\n".join([*head, *rows])


def cannot() -> str:
    """What the fixture of a driver cannot do to its target, with the reason."""
    head = [_row("driver", "hook", "why its rules are not run"), _row("---", "---", "---")]
    rows = [_row(name, f"`{h}`", f.cannot[h]) for name, f in FIXTURES.items() for h in HOOKS if h in f.cannot]
    return "\n".join([*head, *rows])


def rules() -> str:
    """Every rule with the sentence that states it."""
    lines: list[str] = []
    for chapter in Contract.__mro__:
        names = [name for name in vars(chapter) if name.startswith("test_")]
        if names:
            lines += [f"\n**{chapter.__name__.removesuffix('Rules')}.** {(chapter.__doc__ or '').strip()}\n"]
            lines += [f"- {' '.join((vars(chapter)[name].__doc__ or '').split())}" for name in names]
    return "\n".join(lines).strip()


TABLES = {"abilities": abilities, "cannot": cannot, "rules": rules}


def written() -> str:
    """The document as it stands."""
    return DOCUMENT.read_text()


def fresh() -> str:
    """The document with every table made anew."""
    text = written()
    for name, make in TABLES.items():
        block = f"<!-- {name}: made by tests/contract/tables.py -->\n\n{make()}\n\n<!-- end of {name} -->"
        pattern = rf"<!-- {name}: .*?<!-- end of {name} -->"
        text = re.sub(pattern, lambda _, block=block: block, text, flags=re.DOTALL)
    return text


def main() -> None:
    """Writes the tables into the document."""
    DOCUMENT.write_text(fresh())
