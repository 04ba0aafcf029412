"""`dataclass`, `field` and `replace` of the standard library, with methods that are built when they are first used.

The standard decorator compiles up to eight functions a class at its import, of which a short run calls few: for the
ninety classes of an offline plan that took a fifth of its time, and importing `inspect` for it as long as ten of them.
Here a method is compiled by its first call, and only that one. Type checkers see the standard decorator.

Taken over: `frozen`, `slots`, `order`, `eq`, `__post_init__`, `ClassVar`, and of fields `default`, `default_factory`,
`init`, `repr`, `compare`. Not: inheritance of fields, `InitVar`, `kw_only`; classes that need those use the standard
decorator. `dataclasses.fields`, `replace` and `asdict` work on both alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from reprlib import recursive_repr
from types import FunctionType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

T = TypeVar("T")


class _Missing:
    """The type of "no default was given"."""


_MISSING = _Missing()
_COMPARISONS = {"__lt__": "<", "__le__": "<=", "__gt__": ">", "__ge__": ">="}


class _Field:
    """What was said of one field."""

    __slots__ = ("compare", "default", "factory", "init", "repr")

    def __init__(
        self,
        *,
        default: Any = _MISSING,
        default_factory: Any = _MISSING,
        init: bool = True,
        repr: bool = True,
        compare: bool = True,
    ) -> None:
        self.default = default
        self.factory = default_factory
        self.init = init
        self.repr = repr
        self.compare = compare


class _Fields:
    """`__dataclass_fields__`, made by the standard library for those of its functions that ask for it."""

    def __init__(self, fields: Mapping[str, _Field], kinds: Mapping[str, Any]) -> None:
        self._fields = fields
        self._kinds = kinds
        self._made: Any = None

    def __get__(self, instance: object, owner: type) -> Any:
        if self._made is None:
            import dataclasses

            specs: list[Any] = []
            for name, one in self._fields.items():
                given: dict[str, Any] = {"init": one.init, "repr": one.repr, "compare": one.compare, "kw_only": True}
                given |= {"default": one.default} if one.default is not _MISSING else {}
                given |= {"default_factory": one.factory} if one.factory is not _MISSING else {}
                specs.append((name, self._kinds[name], dataclasses.field(**given)))
            made: Any = dataclasses.make_dataclass(owner.__name__, specs)
            self._made = made.__dataclass_fields__
        return self._made


def _dataclass(
    cls: type[T] | None = None, /, *, frozen: bool = False, slots: bool = False, order: bool = False, eq: bool = True
) -> Any:
    """See `dataclasses.dataclass`."""

    def made(one: type[T]) -> type[T]:
        return _process(one, frozen=frozen, slots=slots, order=order, eq=eq)

    return made if cls is None else made(cls)


def _process(cls: type[T], *, frozen: bool, slots: bool, order: bool, eq: bool) -> type[T]:
    kinds: dict[str, Any] = cls.__annotations__
    fields: dict[str, _Field] = {}
    for name, kind in kinds.items():
        if str(kind).startswith("ClassVar"):
            continue
        default = cls.__dict__.get(name, _MISSING)
        fields[name] = default if isinstance(default, _Field) else _Field(default=default)
        if default.__class__.__hash__ is None:
            raise ValueError(f"mutable default {type(default)} for field {name} is not allowed: use default_factory")
    if slots:
        cls = _slotted(cls, fields)
    else:
        for name, one in fields.items():
            if one.default is not _MISSING:
                setattr(cls, name, one.default)
            elif name in cls.__dict__:
                delattr(cls, name)
    late: dict[str, Callable[[], Any]] = {
        "__init__": lambda: _init(cls, fields, frozen=frozen, slots=slots),
        "__repr__": lambda: _repr(cls, fields),
    }
    if eq:
        late["__eq__"] = lambda: _compiled(cls, "__eq__", "self, other", _comparison(fields, "=="))
        if frozen:
            late["__hash__"] = lambda: _compiled(cls, "__hash__", "self", [f"return hash({_values('self', fields)})"])
        elif "__hash__" not in cls.__dict__ or cls.__dict__["__hash__"] is None:
            cls.__hash__ = None  # type: ignore[assignment]
    for name, sign in _COMPARISONS.items() if order else ():
        late[name] = lambda name=name, sign=sign: _compiled(cls, name, "self, other", _comparison(fields, sign))
    for name, build in late.items():
        if name not in cls.__dict__:
            setattr(cls, name, _late(cls, name, build))
    if frozen:
        cls.__setattr__ = _refuse  # type: ignore[method-assign]
        cls.__delattr__ = _refuse  # type: ignore[method-assign]
    names = tuple(name for name, one in fields.items() if one.init)
    every = cast("Any", cls)
    every.__match_args__ = names
    every.__dataclass_fields__ = _Fields(fields, kinds)
    return cls


def _slotted(cls: type[T], fields: Mapping[str, _Field]) -> type[T]:
    """The class anew, since slots can only be had from the beginning; defaults give way to them."""
    namespace = {name: value for name, value in cls.__dict__.items() if name not in fields}
    namespace.pop("__dict__", None)
    namespace.pop("__weakref__", None)
    namespace["__slots__"] = tuple(fields)
    # As the standard library does, since slots that refuse to be set cannot be restored one by one.
    namespace.setdefault("__getstate__", _get_state)
    namespace.setdefault("__setstate__", _set_state)
    made: Any = type(cls)(cls.__name__, cls.__bases__, namespace)
    made.__qualname__ = cls.__qualname__
    return made


def _late(cls: type, name: str, build: Callable[[], Any]) -> Any:
    """A method that is compiled and put in its own place by its first call; calling twice at once does no harm."""

    def method(self: Any, *args: Any, **named: Any) -> Any:
        built = build()
        setattr(cls, name, built)
        return built(self, *args, **named)

    return method


def _init(cls: type, fields: Mapping[str, _Field], *, frozen: bool, slots: bool) -> Any:
    inside: dict[str, Any] = {"_MISSING": _MISSING}
    arguments = ["self"]
    lines: list[str] = []
    for name, one in fields.items():
        value = name
        if one.factory is not _MISSING:
            inside[f"_new_{name}"] = one.factory
            value = f"_new_{name}() if {name} is _MISSING else {name}" if one.init else f"_new_{name}()"
            given = f"{name}=_MISSING"
        elif one.default is not _MISSING:
            inside[f"_default_{name}"] = one.default
            value = name if one.init else f"_default_{name}"
            given = f"{name}=_default_{name}"
        else:
            given = name
        if one.init:
            arguments.append(given)
        elif value == name:
            continue
        if not frozen:
            lines.append(f"self.{name} = {value}")
        elif slots:
            inside[f"_set_{name}"] = cls.__dict__[name].__set__
            lines.append(f"_set_{name}(self, {value})")
        else:
            lines.append(f"self.__dict__[{name!r}] = {value}")
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    return _compiled(cls, "__init__", ", ".join(arguments), lines, inside)


def _repr(cls: type, fields: Mapping[str, _Field]) -> Any:
    shown = ", ".join(f"{name}={{self.{name}!r}}" for name, one in fields.items() if one.repr)
    line = f"return self.__class__.__qualname__ + f'({shown})'"
    return recursive_repr()(_compiled(cls, "__repr__", "self", [line]))


def _comparison(fields: Mapping[str, _Field], sign: str) -> list[str]:
    mine, theirs = _values("self", fields), _values("other", fields)
    lines = ["if self is other: return True"] if sign == "==" else []
    return [*lines, f"if other.__class__ is self.__class__: return {mine} {sign} {theirs}", "return NotImplemented"]


def _values(of: str, fields: Mapping[str, _Field]) -> str:
    return "(" + "".join(f"{of}.{name}," for name, one in fields.items() if one.compare) + ")"


def _compiled(cls: type, name: str, arguments: str, lines: list[str], inside: Mapping[str, Any] | None = None) -> Any:
    body = "".join(f"\n {line}" for line in lines) or "\n pass"
    found: dict[str, Any] = {"__name__": cls.__module__, **(inside or {})}
    exec(f"def {name}({arguments}):{body}", found)  # noqa: S102 - field names of our own classes alone
    method = cast("FunctionType", found[name])
    method.__qualname__ = f"{cls.__qualname__}.{name}"
    return method


def _refuse(self: object, name: str, *_: object) -> NoReturn:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _get_state(self: Any) -> list[Any]:
    return [getattr(self, name) for name in self.__slots__]


def _set_state(self: Any, state: list[Any]) -> None:
    for name, value in zip(self.__slots__, state, strict=True):
        object.__setattr__(self, name, value)


def _replace(instance: T, /, **changes: Any) -> T:
    """See `dataclasses.replace`."""
    cls: Any = instance.__class__
    for name in cls.__match_args__:
        if name not in changes:
            changes[name] = getattr(instance, name)
    return cls(**changes)


if TYPE_CHECKING:
    from dataclasses import dataclass, field, replace
else:
    dataclass, field, replace = _dataclass, _Field, _replace

__all__ = ["dataclass", "field", "replace"]
