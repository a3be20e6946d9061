"""What of two runs is not the same, bit for bit, and by how much; and the table of docs/reliability.md.

.venv/bin/python tests/same_bits.py       # measures seeds alone and in a batch, and prints the table (minutes)
"""

import math
import warnings
from collections.abc import Callable
from itertools import product
from typing import Any

import torch
from torch import Tensor

import gamesim as gs
from gamesim.loop import Result
from gamesim.states import mapped
from golden_traces import CASES, Case, game_of, solver_of, start_of

SEEDS = [4, 1, 9]
BATCHES = (SEEDS[:2], SEEDS, list(range(5)), list(range(16)))
"""Of the table: a matrix product sums in another order as its rows grow."""
ROUNDED = {
    "matrix/bertrand": "payoff tensor of more than 64 profiles",
    "matrix/guess-two-thirds": "payoff tensor of more than 64 profiles",
    "matrix/minimum-effort": "payoff tensor of more than 64 profiles",
    "matrix/polymatrix": "payoffs of all neighbours in one product",
    "matrix/public-goods": "payoff tensor of more than 64 profiles",
    "matrix/travelers-dilemma": "payoff tensor of more than 64 profiles",
    "mean-field/linear-quadratic": "kernel that no mean moves, summed over the next place",
    "sets/offline": "layers of networks, in float32",
    "variational/quadratic": "matrix of the operator",
}
"""Games whose numbers depend on the batch, by rounding alone, and the matrix product that does it."""


class Spoiled:
    """A solver whose state is no number for one member of the batch after step `at`; it takes one step at a time."""

    def __init__(self, solver: Any, at: int = -1, which: Any = 1) -> None:
        self.solver, self.at, self.which = solver, at, which

    def __getattr__(self, name: str) -> Any:
        if name == "leap":
            raise AttributeError(name)
        return getattr(self.solver, name)

    def init(self, game: Any) -> Any:
        return self.solver.init(game)

    def step(self, t: int, game: Any, state: Any, generator: Any) -> Any:
        new = self.solver.step(t, game, state, generator)
        return mapped(new, self._spoil) if t == self.at else new

    def _spoil(self, name: str, x: Tensor) -> Tensor:
        if not x.is_floating_point():
            return x
        x = x.clone()
        x[self.which] = math.nan
        return x


def solved(case: Case, change: Callable[[Any], Any] = Spoiled, seeds: list[int] | None = None, **asked: Any) -> Result:
    """A short run of a pair, of a batch of seeds or of `seed` alone."""
    game, solver, options = case
    asked = {"iterations": 4, "every": 2, "seeds": seeds} | asked
    start = start_of(game, solver, seeds, asked.get("seed", 0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gs.Caution)
        return gs.solve(game_of(game), change(solver_of(solver, options)), start=start, **asked)


def far(x: Tensor, y: Tensor) -> float:
    """The largest difference, relative to the largest number; 0 where all bits are the same."""
    same = (x == y) | (x.isnan() & y.isnan())
    if bool(same.all()):
        return 0.0
    x, y = x.double(), y.double()
    size = float(x.abs().nan_to_num(0, 0, 0).max())
    return float(torch.where(same, 0.0, x - y).abs().nan_to_num(math.inf).max()) / (size or 1.0)


def differences(one: Result, other: Result, here: Any = ..., there: Any = ...) -> dict[str, float]:
    """How far apart the metrics and last policies are, of members `here` and `there`."""
    found = {}
    for name in one.trace.metrics:
        x, y = (torch.stack([v[at] for v in r.trace.metrics[name]]) for r, at in ((one, here), (other, there)))
        found[name] = far(x, y.reshape(x.shape))
    parts = [far(p[here], q[there]) for p, q in zip(one.policy, other.policy, strict=True)]
    return found | {"policy": max(parts)}


def alone_and_among(case: Case, seeds: list[int] = SEEDS, **asked: Any) -> dict[str, float]:
    """How far a seed alone is from the same seed in the middle of a batch."""
    among = solved(case, lambda solver: solver, seeds, **asked)
    alone = solved(case, lambda solver: solver, seed=seeds[1], **asked)
    return differences(among, alone, 1)


def main() -> None:
    worst: dict[str, list[float]] = {}
    for case, seeds in product(CASES, BATCHES):
        if case[0] in ROUNDED:
            found = alone_and_among(case, seeds, iterations=10, every=1)
            now = max(x for name, x in found.items() if name != "policy"), found["policy"]
            worst[case[0]] = [max(x, y) for x, y in zip(worst.get(case[0], now), now, strict=True)]
    print("| game | product | metrics | policy |\n|---|---|---|---|")
    for game, (metrics, policy) in worst.items():
        print(f"| `{game}` | {ROUNDED[game]} | {metrics:.0e} | {policy:.0e} |")


if __name__ == "__main__":
    main()
