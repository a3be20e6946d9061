"""Which code computes an attention: what each can serve, the order in which they are asked, and why one was taken.

    CPU    fused, sdpa, plain
    GPU    triton, varlen, sdpa, plain

`plain` serves everything and is the definition. A path answers with None, or with the reason why it does not serve a
call; the first one that serves it is taken, whatever its size, so that a set has the same bits in any company. On CPUs
the compiled loops won at every size measured, from 3 to 4,000 rows (`gamesim bench attention`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from gamesim.attention import plain, stock
from gamesim.attention.call import Answer, Call
from gamesim.attention.compiled import FUSED, TRITON, VARLEN, Kernel
from gamesim.errors import refuse, unknown


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
    return next(path for path in order if path.serves(call) is None)


def explained(call: Call, wanted: str | None = None) -> Choice:
    """What `choose` answers, in words."""
    taken = choose(call, wanted)
    order = GPU if call.q.is_cuda else CPU
    others = dict[str, str]()
    for name, path in PATHS.items():
        if path is not taken:
            reason = path.serves(call)
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
        causal=call.causal,
    )


def _paths(*paths: Path) -> dict[str, Path]:
    return {path.name: path for path in paths}


def _compiled(name: str, about: str, kernel: Kernel) -> Path:
    return Path(name, about, kernel.serves, kernel.attend, kernel.takes_sink)


PATHS = _paths(
    _compiled("fused", "a compiled loop over sets on the CPU, without padding", FUSED),
    _compiled("triton", "a compiled kernel on the GPU that packs sets into tiles", TRITON),
    _compiled("varlen", "torch's attention over packed sets on the GPU", VARLEN),
    Path("sdpa", "torch's attention, over sets padded to the longest", stock.serves, stock.attend),
    Path("plain", "torch operations on padded sets, which serve everything", _always, _plain),
)
CPU = tuple(PATHS[name] for name in ("fused", "sdpa", "plain"))
GPU = tuple(PATHS[name] for name in ("triton", "varlen", "sdpa", "plain"))
