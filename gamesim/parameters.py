"""Parameters: what may be typed as `-g name=value`, checked once for every game, solver and graphon.

A frozen dataclass declares its parameters; their types say what is allowed, the string under each says what it means.
`check(self)` in `__post_init__` turns text into values and refuses what does not fit, `build(cls, {...})` does the same
from names (dotted ones reach inside: `graphon.a`), `describe(cls)` lists them. A family of choices (schedules,
graphons, feedbacks) is a class with `kinds: dict[name, class]`; a kind is written `name` or `name(1, offset=2)`, and
`adopt(value, field)` may take other things for one of its kinds, as a bare number for a constant schedule.
"""

import ast
import dataclasses
import inspect
import json
import math
import numbers
import re
import textwrap
import types
import typing
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import torch
from torch import Tensor

from gamesim.errors import InvalidInput, refuse, unknown

T = TypeVar("T")


LOOKED_AT = (0, 1, 10, 1000, 10**6)
"""The iterations at which a schedule is checked before a run: its kinds are monotone, so the ends decide."""


@dataclass(frozen=True)
class Bounds:
    """What a number must satisfy, with the words for it."""

    words: str
    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False

    def __contains__(self, value: object) -> bool:
        if callable(value):  # a schedule: at its start, soon after and far on
            try:
                return all(value(t) in self for t in LOOKED_AT)
            except ArithmeticError:  # it overflows, or divides by zero
                return False
        x: Any = value if isinstance(value, int | float) else torch.as_tensor(value)
        if isinstance(x, Tensor) and (x.is_complex() or x.is_meta or x.layout != torch.strided):
            return False
        above = x > self.low if self.low_open else x >= self.low
        below = x < self.high if self.high_open else x <= self.high
        return bool(torch.as_tensor(above & below & (x > -math.inf) & (x < math.inf)).all())


class Temperatures(Bounds):
    """A temperature of 0 switches the entropy off for a whole run, so a batch of temperatures has none."""

    def __contains__(self, value: object) -> bool:
        return super().__contains__(value) and not (isinstance(value, Tensor) and bool((value <= 0).any()))


class OnThisMachine(Bounds):
    """A device that tensors can be made on, here and now."""

    def __contains__(self, value: object) -> bool:
        try:
            with warnings.catch_warnings():  # a machine without a driver may say so at length
                warnings.simplefilter("ignore")
                return torch.empty(1, device=str(value)).device.type != "meta"
        except (RuntimeError, AssertionError, NotImplementedError, ImportError):  # depends on how PyTorch was built
            return False


Real = Annotated[float | Tensor, Bounds("a finite number")]
Probability = Annotated[float | Tensor, Bounds("a probability, between 0 and 1", 0, 1)]
Positive = Annotated[float | Tensor, Bounds("a number above 0", 0, low_open=True)]
NonNegative = Annotated[float | Tensor, Bounds("a number of at least 0", 0)]
Temperature = Annotated[float | Tensor, Temperatures("a number of at least 0, in a batch above 0", 0)]
Fraction = Annotated[float | Tensor, Bounds("a number between 0 and 1, ends excluded", 0, 1, True, True)]
Device = Annotated[str, OnThisMachine("cpu, or a device that `gamesim doctor` lists")]
LARGEST = 10**9  # of what is counted: beyond it no memory would do, and machine integers end
Count = Annotated[int, Bounds("a whole number from 1 to 1,000,000,000", 1, LARGEST)]
Natural = Annotated[int, Bounds("a whole number from 0 to 1,000,000,000", 0, LARGEST)]


@dataclass(frozen=True)
class Parameter:
    """One row of `gamesim describe`."""

    name: str
    type: str
    default: str | None
    help: str


@cache
def hints_of(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls, include_extras=True)


def check(self: Any) -> None:
    """For `__post_init__` of a frozen dataclass: every field converted and checked, in place."""
    hints = hints_of(type(self))  # type: ignore[arg-type]
    for field in dataclasses.fields(self):
        value = getattr(self, field.name)
        object.__setattr__(self, field.name, convert(value, hints[field.name], field.name))


def build(cls: type[T], values: Mapping[str, Any], what: str | None = None) -> T:
    """An instance of a dataclass from names and values (text or objects); unknown names are refused.

    >>> from gamesim.schedules import Power
    >>> build(Power, {"scale": "1", "exponent": "0.5"})
    Power(scale=1.0, exponent=0.5, offset=1.0)
    """
    if inspect.isabstract(cls):
        missing = ", ".join(sorted(getattr(cls, "__abstractmethods__", ())))
        raise InvalidInput(f"{cls.__name__}: it lacks {missing}; define that to make it a {cls.__mro__[1].__name__}")
    if not dataclasses.is_dataclass(cls):
        if values:
            raise refuse(
                next(iter(values)), next(iter(values.values())), f"no parameters: {cls.__name__} is not a dataclass"
            )
        if _needs_arguments(cls):
            raise InvalidInput(
                f"{cls.__name__}: {cls.__name__}() needs arguments; make it a dataclass: its fields are its parameters"
            )
        return cls()
    what = what or cls.__name__
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}
    own, inner = dict[str, Any](), dict[str, dict[str, Any]]()
    for name, value in values.items():
        head, dot, rest = name.partition(".")
        if head not in fields:
            raise unknown(f"parameter of {what}", head, fields)
        if dot:
            inner.setdefault(head, {})[rest] = value
        else:
            left_out = default_of(fields[name]) is None and _is_none(value)  # its default says what that means
            own[name] = None if left_out else convert(value, hints_of(cls)[name], name)
    for head, rest_values in inner.items():
        base = own[head] if head in own else default_of(fields[head])
        if not dataclasses.is_dataclass(base) or isinstance(base, type):
            is_ = "required and not given" if base is dataclasses.MISSING else f"{base}"
            raise refuse(
                f"{head}.{next(iter(rest_values))}",
                next(iter(rest_values.values())),
                f"no inner parameters: {head} is {is_}",
            )
        kept = {f.name: getattr(base, f.name) for f in dataclasses.fields(base) if f.init}
        own[head] = build(type(base), {**kept, **rest_values}, what=head)
    lacking = [n for n, f in fields.items() if n not in own and default_of(f) is dataclasses.MISSING]
    if lacking:
        raise InvalidInput(f"{lacking[0]}: {what} needs a value for it")
    return cls(**own)


def _needs_arguments(cls: type) -> bool:
    try:
        inspect.signature(cls).bind()
    except TypeError:
        return True
    except ValueError:  # a class of C, which does not say
        return False
    return False


def default_of(field: "dataclasses.Field[Any]") -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def convert(value: Any, hint: Any, name: str) -> Any:
    """The value as its declared type, from text or from an object; refused with the field's name otherwise."""
    origin = get_origin(hint)
    if origin is Annotated:
        base, *rules = get_args(hint)
        value = convert(value, base, name)
        for rule in rules:
            if isinstance(rule, Bounds) and value is not None and value not in rule:
                raise refuse(
                    name, value, rule.words + (", at every iteration up to a million" if callable(value) else "")
                )
        return value
    if origin is Literal:
        if not isinstance(value, str | int | float | None) or value not in get_args(hint):
            raise unknown(name, str(value), map(str, get_args(hint)))
        return value
    if origin in (types.UnionType, typing.Union):
        return _convert_union(value, get_args(hint), name)
    if origin is tuple:
        return _convert_tuple(value, get_args(hint), name)
    if hasattr(hint, "kinds"):
        return _convert_kind(value, hint, name)
    if hint is bool:
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in words:
            return words[value.lower()]
        raise refuse(name, value, "true or false")
    if hint is int:
        return _convert_int(value, name)
    if hint is float:
        return _convert_float(value, name)
    if hint is str:
        if isinstance(value, str):
            return value
        raise refuse(name, value, "text")
    if hint is not Any and isinstance(hint, type) and not isinstance(value, hint):
        raise refuse(name, value, f"a {hint.__name__}")
    return value


def _convert_union(value: Any, members: tuple[Any, ...], name: str) -> Any:
    if type(None) in members and _is_none(value):
        return None
    members = tuple(m for m in members if m is not type(None))
    if Tensor in members and isinstance(value, Tensor):
        return value
    members = tuple(m for m in members if m is not Tensor)
    if any(isinstance(m, type) and not isinstance(value, bool | int | float) and isinstance(value, m) for m in members):
        return value
    plural = [m for m in members if get_origin(m) is tuple]
    if plural and (isinstance(value, list | tuple) or (isinstance(value, str) and value.lstrip().startswith("["))):
        return convert(value, plural[0], name)
    return convert(value, members[0], name)


def _is_none(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.lower() == "none")


def _convert_tuple(value: Any, members: tuple[Any, ...], name: str) -> Any:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise refuse(name, value, "a list such as [0.5, 0.5]") from None
    if isinstance(value, Tensor) and value.layout == torch.strided and not value.is_meta:
        value = value.tolist()
    if not isinstance(value, list | tuple):
        raise refuse(name, value, "a list such as [0.5, 0.5]")
    return tuple(convert(v, members[0], f"{name}[{i}]") for i, v in enumerate(value))


def _convert_int(value: Any, name: str) -> int:
    if isinstance(value, bool):
        raise refuse(name, value, "a whole number")
    if isinstance(value, numbers.Integral):  # of Python or NumPy
        return int(value)
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            value = _convert_float(value, name, "a whole number")
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    raise refuse(name, value, "a whole number")


def _convert_float(value: Any, name: str, wanted: str = "a finite number") -> float:
    try:
        if isinstance(value, bool):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # the last of a complex tensor
        raise refuse(name, value, wanted) from None
    if not math.isfinite(number):
        raise refuse(name, value, wanted)
    return number


def _convert_kind(value: Any, family: Any, name: str) -> Any:
    if isinstance(value, family):
        return value
    adopted = family.adopt(value, name) if hasattr(family, "adopt") else None
    if adopted is not None:
        return adopted
    if not isinstance(value, str):
        raise refuse(name, value, f"one of {', '.join(sorted(family.kinds))}")
    match = re.fullmatch(r"\s*([A-Za-z][\w-]*)\s*(?:\((.*)\))?\s*", value, re.DOTALL)
    if match is None or match[1] not in family.kinds:
        raise unknown(name, match[1] if match else value, family.kinds)
    kind = family.kinds[match[1]]
    fields = [f.name for f in dataclasses.fields(kind) if f.init]
    given = dict[str, Any]()
    for i, part in enumerate(_split(match[2] or "")):
        key, equals, text = part.partition("=")
        if not equals and i >= len(fields):
            raise refuse(name, value, f"at most {len(fields)} values: {match[1]}({', '.join(fields)})")
        key = key.strip() if equals else fields[i]
        if key in given:
            raise refuse(name, value, f"each parameter once; {key} stands twice")
        given[key] = (text if equals else part).strip()
    try:
        return build(kind, given, what=match[1])
    except InvalidInput as error:
        raise InvalidInput(f"{name}.{error}") from None


def _split(text: str) -> list[str]:
    """The arguments between the parentheses, split at the commas that no bracket encloses."""
    parts, depth, current = list[str](), 0, ""
    for letter in text:
        depth += letter in "[("
        depth -= letter in "])"
        if letter == "," and depth == 0:
            parts.append(current)
            current = ""
        else:
            current += letter
    return [*parts, current] if current.strip() or parts else []


def kind_of(cls: type) -> str:
    """The name of a choice as it is typed, from that of its class.

    >>> kind_of(OnThisMachine)
    'on-this-machine'
    """
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", cls.__name__).lower()


def spelled(choice: Any, kind: str | None = None) -> str:
    """A choice as it is typed: its kind, and what differs from the defaults."""
    said = list[str]()
    for field in dataclasses.fields(choice):
        value, usual = getattr(choice, field.name), default_of(field)
        if field.init and (isinstance(value, Tensor) or value != usual):
            said.append(f"{field.name}={value if hasattr(value, 'kinds') else plain(value)}")
    return (kind or kind_of(type(choice))) + (f"({', '.join(said)})" if said else "")


def describe(cls: type) -> list[Parameter]:
    """The parameters of a dataclass, in order, with type, default and meaning in words."""
    if not dataclasses.is_dataclass(cls):
        return []
    help_ = _help(cls)
    rows = []
    for field in dataclasses.fields(cls):
        if not field.init:
            continue
        default = default_of(field)
        shown = None if default is dataclasses.MISSING else _shown(default)
        rows.append(Parameter(field.name, type_words(hints_of(cls)[field.name]), shown, help_.get(field.name, "")))
        if dataclasses.is_dataclass(default) and not isinstance(default, type) and not callable(default):
            rows += [
                Parameter(f"{field.name}.{p.name}", p.type, p.default, f"of {_shown(default)}: {p.help}")
                for p in describe(type(default))
            ]
    return rows


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return str(list(value))
    return "none" if value is None else str(value)


def type_words(hint: Any) -> str:
    """A declared type in words for people."""
    origin = get_origin(hint)
    if origin is Annotated:
        return next(rule.words for rule in get_args(hint)[1:] if isinstance(rule, Bounds))
    if origin is Literal:
        return " | ".join(map(str, get_args(hint)))
    if origin in (types.UnionType, typing.Union):
        words = [type_words(m) for m in get_args(hint) if m is not Tensor and m is not type(None)]
        if len(words) == 2 and words[1] == f"a list of: {words[0]}":
            words[1] = "a list of these"
        return " or ".join(words) + (" or none" if type(None) in get_args(hint) else "")
    if origin is tuple:
        return f"a list of: {type_words(get_args(hint)[0])}"
    if hasattr(hint, "kinds"):
        return " | ".join(sorted(hint.kinds))
    plainly = {bool: "true | false", int: "a whole number", float: "a finite number", str: "text"}
    return plainly.get(hint) or (hint.__name__ if isinstance(hint, type) else str(hint))


@cache
def _help(cls: type) -> dict[str, str]:
    """The string under each field, gathered from the class and those it inherits from."""
    found = dict[str, str]()
    for part in reversed(cls.__mro__):
        if not dataclasses.is_dataclass(part):
            continue
        try:
            body = ast.parse(textwrap.dedent(inspect.getsource(part))).body[0]
        except (OSError, TypeError, SyntaxError):
            continue
        lines = getattr(body, "body", [])
        for line, after in pairwise(lines):
            match line, after:
                case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(text)):
                    found[name] = " ".join(str(text).split())
    return found


def plain(x: Any) -> Any:
    """A parameter dataclass as JSON data: its kind and its fields; tensors as lists; non-finite numbers as null.

    An object that is too large to be written out says what stands for it by a method `plain`.
    """
    if callable(getattr(x, "plain", None)) and not isinstance(x, type):
        return plain(x.plain())
    if dataclasses.is_dataclass(x) and not isinstance(x, type):
        fields = {f.name: plain(getattr(x, f.name)) for f in dataclasses.fields(x) if f.init}
        return {"kind": f"{type(x).__module__}:{type(x).__qualname__}", **fields}
    if isinstance(x, Tensor):
        return plain(x.tolist())
    if isinstance(x, Mapping):
        return {str(k): plain(v) for k, v in x.items()}
    if isinstance(x, list | tuple):
        return [plain(v) for v in x]
    if isinstance(x, float):
        return x if math.isfinite(x) else None
    if isinstance(x, str | int | bool | None):
        return x
    return getattr(x, "__qualname__", None) or type(x).__qualname__
