"""Saved plans: the JSON document of a plan in a file, with what tells whether it may still be carried out.

The file is sealed with the installation's key, so that what is applied is what was planned here and not what somebody
made of it since. It holds no secret: values are masked as in every view, and digests name secrets by where they come
from.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from reconciler.core.change import PLAN_VERSION
from reconciler.core.errors import InvalidError
from reconciler.core.reviewed import Reviewed
from reconciler.core.values import canonical
from reconciler.engine.identity import Identity
from reconciler.engine.outcome import Look
from reconciler.views.plan_json import FORMAT_VERSION, as_json

LARGEST = 256 * 1024 * 1024
_AGAIN = "make a new one with `reconciler plan --out FILE`"


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """A plan as it was saved.

    Args:
        document: As `schema/plan.json` says.
        origin: The repo and path it was made from.
        follows: The ref that must still name its commit; empty for a plan of a commit by its id.
    """

    document: Mapping[str, Any]
    reviewed: Reviewed
    origin: str
    follows: str

    @property
    def sha(self) -> str:
        """The commit it was made from."""
        return str(self.document["revision"]["sha"])

    @property
    def ref(self) -> str:
        """The ref by which that was read; empty for none."""
        return str(self.document["revision"]["ref"])

    @property
    def environment(self) -> str:
        """The environment it was made for; empty for none."""
        return str(self.document["environment"])


def save(path: Path, look: Look, identity: Identity, *, origin: str, follows: str) -> None:
    """Writes a plan, whole or not at all, so that only its owner can read it.

    Args:
        look: With the plan, and the record as it was then.
        origin: The repo and path it was made from.
        follows: The ref that must still name its commit when it is applied; empty for none.

    Raises:
        InvalidError: The file cannot be written.
    """
    document = as_json(look.plan)
    document["saved"] = {
        "planVersion": PLAN_VERSION,
        "installation": identity.installation,
        "origin": origin,
        "follows": follows,
        **Reviewed.of(look.plan, look.situation.baselines).to_json(),
    }
    document["saved"]["seal"] = _seal(document, identity)
    _write(path.resolve(), json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def load(path: Path, identity: Identity) -> SavedPlan:
    """Reads a saved plan of this installation.

    Raises:
        InvalidError: The file cannot be read, is no saved plan, is damaged, or is another release's or installation's.
    """
    document = _read(path)
    saved = cast("dict[str, Any] | None", document.get("saved"))
    if document.get("kind") != "Plan" or not isinstance(saved, dict):
        hint = "`-o json` prints a plan to be read; `reconciler plan --out FILE` saves one to be applied"
        raise InvalidError(f"{path} is not a saved plan", hint=hint)
    if document.get("formatVersion") != FORMAT_VERSION or saved.get("planVersion") != PLAN_VERSION:
        theirs = f"{document.get('formatVersion')}.{saved.get('planVersion')}"
        raise InvalidError(
            f"{path} was saved by another release: its format is {theirs}, this release reads "
            f"{FORMAT_VERSION}.{PLAN_VERSION}",
            hint=_AGAIN,
        )
    if saved.get("installation") != identity.installation:
        raise InvalidError(
            f"{path} was saved by another installation ({saved.get('installation')}); this one is "
            f"{identity.installation}",
            hint="name the state directory that it was made with (--state-dir), or " + _AGAIN,
        )
    sealed = saved.pop("seal", "")
    if not hmac.compare_digest(str(sealed).encode(), _seal(document, identity).encode()):
        raise InvalidError(f"{path} is damaged, or was changed after it was saved", hint=_AGAIN)
    try:
        reviewed = Reviewed.from_json(saved)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidError(f"{path} is damaged", hint=_AGAIN) from error
    return SavedPlan(document, reviewed, str(saved.get("origin", "")), str(saved.get("follows", "")))


def _seal(document: Mapping[str, Any], identity: Identity) -> str:
    """An HMAC under the installation's key over all but the seal itself."""
    return hmac.new(identity.key, b"saved-plan\0" + canonical(document).encode(), hashlib.sha256).hexdigest()


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise InvalidError(f"{path} cannot be read: {error.strerror or type(error).__name__}") from error
    if len(data) > LARGEST:
        raise InvalidError(f"{path} is larger than {LARGEST // 2**20} MiB, so it is not a saved plan")
    try:
        found: Any = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidError(f"{path} is not a saved plan, or is damaged: it is not JSON", hint=_AGAIN) from error
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _write(path: Path, text: str) -> None:
    try:
        if path.exists() and not path.is_file():
            raise InvalidError(f"{path} is not a file, so no plan is saved there", hint="name a file: --out FILE")
        # mkstemp makes it readable by its owner alone.
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise InvalidError(
            f"the plan cannot be saved as {path}: {why}", hint="check the folder, and the disk"
        ) from error
