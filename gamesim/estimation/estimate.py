"""What was learned from agents: a graphon, a response, how sure both are, and what one should be warned of."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gamesim.estimation.responses import Rescaled
from gamesim.files import to_json, write_json
from gamesim.graphons import Graphon
from gamesim.parameters import plain


class Number(NamedTuple):
    """A parameter with its 95% interval, from the `curvature` of the likelihood or the `bootstrap` over episodes."""

    value: float
    low: float
    high: float
    source: str


@dataclass(frozen=True, eq=False)
class Estimate:
    """What `Learner.learn` returns."""

    graphon: Graphon
    response: Rescaled
    initial: Tensor
    """The law of the first state, [s]."""
    horizon: int
    positions: Tensor
    """Of the agents, as known or as found, [n]."""
    labels: Tensor | None
    """Of the agents, where blocks were found: 0 is the block of the greatest degree, [n]."""
    numbers: dict[str, Number]
    """Parameters by name, with intervals."""
    scale: str
    """How the ambiguity between graphon and response was settled, in words."""
    placed: str
    """known, sorted or labels."""
    warnings: tuple[str, ...]
    """What the data do not tell, what was repaired, and how often, a sentence each."""
    log_likelihood: float
    """Of all moves and rewards, with the laws kept on the simplex."""
    normalize: bool
    """Whether agents feel the law of a random neighbour."""
    learner: Any
    """The Learner, with a penalty where cross-validation chose one."""
    states: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    data: Any = None
    """What it was learned from, as `AgentData.plain` says it."""
    condition: Tensor | None = None
    """Condition number of the regression of each (s, a), where there are regressions: [s, a], infinite where unseen."""

    def transition(self, h: int, z: Tensor) -> Tensor:
        """P[..., k, s, a, t] for z[..., k, s], as estimated: not yet kept on the simplex."""
        return self.response.transition(h, z)

    def slopes(self, z: Tensor) -> Tensor:
        """dP(t | s, a, z) / dz(s') at z[s]: [s, a, t, s']. Times W it is what one position does to another."""
        found: Tensor = torch.autograd.functional.jacobian(lambda at: self.response.transition(0, at[None])[0], z)
        return found

    @property
    def written(self) -> dict[str, Any]:
        """All of it as JSON data; refused where the graphon or the game cannot be written down."""
        from gamesim.estimation.storage import written

        return written(self)

    def save(self, path: Path | str) -> Path:
        """Write the estimate as JSON, whole or not at all; `load_estimate` reads it back."""
        path = Path(path)
        write_json(path, self.written)
        return path

    def plain(self) -> dict[str, Any]:
        """What a run's configuration says of it."""
        digest = sha256(to_json(self.written).encode()).hexdigest()
        return {"estimate": digest, "graphon": plain(self.graphon), "placed": self.placed, "data": self.data}

    def __str__(self) -> str:
        numbers = ", ".join(f"{n} {v.value:.4g} [{v.low:.4g}, {v.high:.4g}]" for n, v in self.numbers.items())
        return f"{self.graphon} from {self.placed} positions" + (f": {numbers}" if numbers else "")
