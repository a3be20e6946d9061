"""Which code computes an attention: what each can serve, the order in which they are asked, and why one was taken.

    CPU    fused, sdpa, plain
    GPU    triton, varlen, sdpa, plain

`plain` serves everything and is the definition. A path answers with None, or with the reason why it does not serve a
call, or why it is not chosen for it of itself; a path that is asked for by name is only refused where it cannot serve.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from gamesim.attention import plain, stock
from gamesim.attention.call import Answer, Call
from gamesim.attention.compiled import FUSED, TRITON, VARLEN, Kernel
from gamesim.errors import refuse, unknown

SDPA_FROM = 100
"""Rows of a set from which torch's own attention wins over fused loops where all sets are of one size."""


@dataclass(frozen=True)
class Choice:
    """The path of a call, why it was taken, and why the others were not."""

    path: str
    why: str
    others: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return "\n".join([f"{self.path}: {self.why}", *(f"not {name}: {why}" for name, why in self.others.items())])


class Path(NamedTuple):
    name: str
    about: str
    serves: Callable[[Call], str | None]
    """None, or why it cannot serve the call."""
    yields: Callable[[Call], str | None]
    """None, or why another one is better though it could."""
    attend: Callable[[Call], Answer]
    """Without the sink, unless `takes_sink`."""
    takes_sink: Callable[[Call], bool] = lambda call: False


def choose(call: Call, wanted: str | None = None) -> Path:
    """The path that a call takes, or the wanted one, refused with the reason where it cannot serve."""
    if wanted is not None:
        if wanted not in PATHS:
            raise unknown("path", wanted, PATHS)
        reason = PATHS[wanted].serves(call)
        if reason is not None:
            raise refuse("path", wanted, f"one that serves this call: {wanted} does not, {reason}")
        return PATHS[wanted]
    order = GPU if call.q.is_cuda else CPU
    return next(path for path in order if path.serves(call) is None and path.yields(call) is None)


def explained(call: Call, wanted: str | None = None) -> Choice:
    """What `choose` answers, in words."""
    taken = choose(call, wanted)
    order = GPU if call.q.is_cuda else CPU
    others = dict[str, str]()
    for name, path in PATHS.items():
        if path is not taken:
            reason = path.serves(call) or path.yields(call)
            others[name] = reason or (f"{taken.name} comes first" if path in order else "for other devices")
    return Choice(taken.name, taken.about if wanted is None else "asked for", others)


def _always(call: Call) -> None:
    return None


def _plain(call: Call) -> Answer:
    return plain.attend(
        call.q,
        call.k,
        call.v,
        call.queries,
        call.keys,
        kind=call.kind,
        scale=call.scale,
        top=call.top,
        bias=call.bias,
        key_bias=call.key_bias,
        feature=call.feature,
        normalised=call.normalised,
    )


def _dense_and_long(call: Call) -> str | None:
    if call.even and call.longest >= SDPA_FROM and stock.serves(call) is None:
        return f"sdpa is faster from {SDPA_FROM} rows on where all sets have as many"
    return None


def _paths(*paths: Path) -> dict[str, Path]:
    return {path.name: path for path in paths}


def _compiled(name: str, about: str, kernel: Kernel, yields: Callable[[Call], str | None]) -> Path:
    return Path(name, about, kernel.serves, yields, kernel.attend, kernel.takes_sink)


PATHS = _paths(
    _compiled("fused", "a compiled loop over sets on the CPU, without padding", FUSED, _dense_and_long),
    _compiled("triton", "a compiled kernel on the GPU that packs sets into tiles", TRITON, _always),
    _compiled("varlen", "torch's attention over packed sets on the GPU", VARLEN, _always),
    Path("sdpa", "torch's attention, over sets padded to the longest", stock.serves, _always, stock.attend),
    Path("plain", "torch operations on padded sets, which serve everything", _always, _always, _plain),
)
CPU = tuple(PATHS[name] for name in ("fused", "sdpa", "plain"))
GPU = tuple(PATHS[name] for name in ("triton", "varlen", "sdpa", "plain"))
