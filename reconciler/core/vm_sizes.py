"""What the name of an Azure virtual machine size tells: how many vCPUs it has, and one spelling of it."""

from __future__ import annotations

import re

# Sizes up to the second generation are numbered, not counted ("Previous generations of virtual machine sizes").
_NUMBERED = {
    "A": {0: 1, 1: 1, 2: 2, 3: 4, 4: 8, 5: 2, 6: 4, 7: 8, 8: 8, 9: 16, 10: 8, 11: 16},
    "D": {1: 1, 2: 2, 3: 4, 4: 8, 5: 16, 11: 2, 12: 4, 13: 8, 14: 16, 15: 20},
    "G": {1: 2, 2: 4, 3: 8, 4: 16, 5: 32},
}
_SIZE = re.compile(
    r"(?:standard|basic)_(?P<family>[a-z]+)(?P<number>\d+)(?:-(?P<active>\d+))?[a-z]*(?:_[a-z0-9]+)*?(?:_v(?P<version>\d+))?",
    re.IGNORECASE,
)


def vcpus(size: str) -> int | None:
    """The vCPUs of a virtual machine of a size, in any case; None where the name does not tell.

    Source: "Azure virtual machine sizes naming conventions": family, vCPUs, constrained vCPUs, features, version.
    """
    found = _SIZE.fullmatch(size)
    if found is None:
        return None
    family, number, version = found["family"].upper(), int(found["number"]), int(found["version"] or 1)
    family = family.removesuffix("S") if family in ("DS", "GS") else family
    if found["active"]:
        return int(found["active"])
    if family in _NUMBERED and version <= 2 and not (family == "A" and version == 2):
        return _NUMBERED[family].get(number)
    return number or None


def spelled(size: str) -> str:
    """A size in one spelling, since Azure takes it in any case: `STANDARD_ds3_V2` is `Standard_DS3_v2`."""
    head, _, rest = size.partition("_")
    begins = re.match(r"[a-zA-Z]*", rest)
    family = begins[0] if begins is not None else ""
    return f"{head.capitalize()}_{family.upper()}{rest[len(family) :].lower()}"
