"""Quantities of Kubernetes in one spelling each: `0.1` and `100m`, `1Gi` and `1073741824` are the same.

Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
_DECIMAL = {"E": 10**18, "P": 10**15, "T": 10**12, "G": 10**9, "M": 10**6, "k": 10**3}
_SMALL = {"m": Decimal("1e-3"), "u": Decimal("1e-6"), "n": Decimal("1e-9")}


def canonical(quantity: object) -> str:
    """The shortest spelling with a decimal suffix; what is no quantity stays as it is.

    Args:
        quantity: As the API spells it, or a number.
    """
    text = str(quantity).strip()
    try:
        value = _value(text)
    except (InvalidOperation, ValueError):
        return text
    if value == value.to_integral_value():
        whole = int(value)
        suffix = next((s for s, factor in _DECIMAL.items() if whole and whole % factor == 0), "")
        return f"{whole // _DECIMAL[suffix]}{suffix}" if suffix else str(whole)
    for suffix, factor in _SMALL.items():
        scaled = value / factor
        if scaled == scaled.to_integral_value():
            return f"{int(scaled)}{suffix}"
    return text


def _value(text: str) -> Decimal:
    for factors in (_BINARY, _DECIMAL, _SMALL):
        for suffix, factor in factors.items():
            if text.endswith(suffix):
                return Decimal(text[: -len(suffix)]) * factor
    value = Decimal(text)
    if not value.is_finite():
        raise ValueError(text)
    return value
