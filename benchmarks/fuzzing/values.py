"""Good and bad values of declared types: as texts, as they are typed, and as objects, as they are passed.

Good ones are small, since what they begin is run: counts up to 3, lists up to 3 long. Bad ones are what people and
programs get wrong (nan, -1, 1e400, an empty text, another language's digits, brackets without end), whatever the type.
"""

import dataclasses
import json
import math
import types
import typing
from typing import Any, Literal, get_args, get_origin

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from gamesim.parameters import Bounds, hints_of

NUMBERS = (0, 1, 2, 3, 0.5, 0.1, 5, 4, 0.9, 10)
ODD_TEXTS = (
    "", " ", "nan", "inf", "-inf", "-0", "-1", "0", "1e400", "1e-400", "-1e308", "1e30", "1.5", "1_000",
    "\uff11\uff12", "0x10", "1e5", "1000000001", "99999999999999999999", "9" * 5000, "none", "None", "null", "true",
    "[]", "[1", "[[1]]", "[NaN, 1]", "[1e999]", '["a"]', "{}", '{"a": 1}', "\u00e9", "\u202e\u200b", "\udcff", "a\nb",
    "a=b", "=", "-", "--", "../../etc/passwd", "/dev/null", "/dev/zero", ".", "~", "~nobody/x", "$HOME", "%s%n",
    "power(", "power(1, 0.5", "power(1,,2)", "constant(nan)", "constant(constant(1))", "power(1, -400)",
    "geometric(2, 2)", "blocks(0)", "exp(1)", "exp(inf)", "(" * 3000, "[" * 3000, "power(" * 1000, "x" * 100_000,
    "\x00", "a\x00b", "con", "os:system", "os.path:join", "gamesim:solve", "no_such_module:X", "..:x", "matrix/random",
    "ftrl", "cuda", "cuda:99", "meta", "log", "1/2",
)  # fmt: skip


def texts() -> SearchStrategy[str]:
    """Anything that may be typed."""
    return st.one_of(st.sampled_from(ODD_TEXTS), st.text(max_size=12), st.integers().map(str), st.floats().map(str))


def good(hint: Any) -> SearchStrategy[Any]:
    """Small values of a type, as objects."""
    origin, members = get_origin(hint), get_args(hint)
    if origin is typing.Annotated:
        rules = [rule for rule in members[1:] if isinstance(rule, Bounds)]
        inner = good(members[0])
        return inner.filter(lambda x: all(_within(x, rule) for rule in rules)) if rules else inner
    if origin is Literal:
        return st.sampled_from(members)
    if origin in (types.UnionType, typing.Union):
        parts = [good(m) for m in members if m is not type(None) and "Tensor" not in str(m)]
        return st.one_of(*parts, *[st.none()] * (type(None) in members)) if parts else st.none()
    if origin is tuple:
        return st.lists(good(members[0]), min_size=1, max_size=3).map(tuple)
    if hasattr(hint, "kinds"):
        return st.sampled_from(sorted(hint.kinds)).flatmap(lambda name: _choice(name, hint.kinds[name]))
    if hint is bool:
        return st.booleans()
    if hint in (int, float):
        return st.sampled_from([x for x in NUMBERS if hint is float or isinstance(x, int)])
    return st.sampled_from(("a", "game.nfg", "agents.npz", "graph.csv"))


def _within(x: Any, rule: Bounds) -> bool:
    if isinstance(x, str) or x is None:
        return True
    try:
        return x in rule
    except (TypeError, ValueError, RuntimeError):  # no number, and no tensor of numbers
        return False


def _choice(name: str, kind: type) -> SearchStrategy[str]:
    """A kind as it is typed, with some of its parameters."""
    hints = hints_of(kind)
    fields = [f.name for f in dataclasses.fields(kind) if f.init and not f.name.startswith("_")]
    if not fields:
        return st.just(name)
    some = st.lists(st.sampled_from(fields), unique=True, max_size=2)
    return some.flatmap(
        lambda names: st.tuples(*(good(hints[n]).map(spelled) for n in names)).map(
            lambda values: f"{name}({', '.join(map('{}={}'.format, names, values))})" if names else name
        )
    )


def spelled(x: Any) -> str:
    """An object as it is typed."""
    if isinstance(x, bool):
        return str(x).lower()
    if isinstance(x, tuple | list):
        return json.dumps(x, default=str)
    return "none" if x is None else str(x)


def typed(hint: Any) -> SearchStrategy[str]:
    """What is typed as a value of a type: good, bent a little, or anything."""
    fine = good(hint).map(spelled)
    bent = st.tuples(fine, st.sampled_from(("-{}", "{}0000000000", "{} ", "{},", "[{}]", "{}(1)", "{}{}", "({})"))).map(
        lambda pair: pair[1].replace("{}", pair[0])
    )
    return st.one_of(fine, fine, bent, texts())


def passed(hint: Any) -> SearchStrategy[Any]:
    """What is passed as a value of a type: good, or any object."""
    return st.one_of(good(hint), good(hint), typed(hint), objects())


def objects() -> SearchStrategy[Any]:
    """Objects that are no value of most types."""
    return st.one_of(st.sampled_from(range(len(ODD))).map(lambda i: ODD[i]()), arrays())


def _loop() -> list[Any]:
    found: list[Any] = [1.0]
    found.append(found)
    return found


def _tensor(values: Any, **more: Any) -> Any:
    import torch

    return torch.tensor(values, **more)


ODD: tuple[typing.Callable[[], Any], ...] = (
    lambda: None, lambda: True, lambda: 0, lambda: -1, lambda: 10**30, lambda: math.nan, lambda: math.inf,
    lambda: -math.inf, lambda: 1e308, lambda: 5e-324, lambda: 1j, lambda: b"bytes", lambda: "", lambda: (), lambda: [],
    lambda: {}, lambda: {1}, lambda: {"a": 1}, lambda: object(), lambda: object, lambda: int, lambda: len,
    lambda: lambda: 1, lambda: range(3), lambda: iter([1, 2]), lambda: [[1, 2], [3]], lambda: [None], lambda: ["a"],
    lambda: [math.nan, 1], _loop, lambda: _tensor([]), lambda: _tensor(math.nan), lambda: _tensor([0.5, math.inf]),
    lambda: _tensor([1, 2]), lambda: _tensor([True]), lambda: _tensor([1j]), lambda: _tensor([[0.7, 0.7], [0.5, 0.5]]),
    lambda: _tensor(0.5), lambda: _tensor([0.5], dtype=__import__("torch").float16), lambda: _tensor([0.5]).to("meta"),
    lambda: _tensor([[0.0, 1.0], [0.0, 0.0]]), lambda: _tensor([1.0]).requires_grad_() * 2,
    lambda: _tensor([[1.0]]).to_sparse(),
)  # fmt: skip


def arrays() -> SearchStrategy[Any]:
    """Arrays and tensors of few dimensions, with numbers that are not fit for most things among them."""
    shapes = st.lists(st.integers(0, 3), max_size=4)
    entries = st.sampled_from((0.0, 0.5, 1.0, 2.0, -1.0, math.nan, math.inf, 1e308, 1e-320))
    return st.tuples(
        shapes,
        st.lists(entries, min_size=1, max_size=4),
        st.sampled_from(("float64", "float32", "int64", "bool", "complex128", "numpy", "object", "list")),
    ).map(lambda parts: _filled(*parts))


def _filled(shape: list[int], entries: list[float], form: str) -> Any:
    import numpy as np
    import torch

    with np.errstate(all="ignore"):
        found = np.resize(np.array(entries), shape)
        if form == "numpy":
            return found
        if form == "object":
            return found.astype(object)
        if form == "list":
            return found.tolist()
        return torch.as_tensor(np.nan_to_num(found) if form in ("int64", "bool") else found).to(getattr(torch, form))
