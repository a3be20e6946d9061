"""What was measured along a run, and where an earlier run was."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from gamesim.errors import missing_extra

HEADER = ("iteration", "seed", "metric", "value")
"""The columns of a trace."""
Every = int | Literal["log"]
"""How often a run is measured: each so many iterations, or at about twelve iterations to a decade."""


def rises(metric: str) -> bool:
    """Whether more of it is better, as of what play pays; everything else that is measured is a distance or a loss."""
    return metric.partition("_")[0] in ("return", "score")


def about(metrics: Iterable[str], *wanted: str) -> str:
    """The metric that a run is about: the first of those wanted that it has, the exploitability, or its first.

    >>> about(["entropy", "exploitability"], "regularized_exploitability"), about(["regret", "pulls"])
    ('exploitability', 'regret')
    """
    names = list(metrics)
    return next((name for name in (*wanted, "exploitability") if name in names), names[0])


def next_due(iteration: int, every: Every) -> int:
    """The first iteration after this one that is measured.

    >>> t, seen = -1, []
    >>> while t < 100: seen.append(t := next_due(t, "log"))
    >>> seen
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 18, 22, 26, 32, 38, 46, 56, 68, 83, 100]
    """
    if every != "log":
        return (iteration // every + 1) * every
    if iteration < 1:
        return iteration + 1
    k = max(0, math.floor(12 * math.log10(iteration)) - 1)
    while (found := round(10 ** (k / 12))) <= iteration:
        k += 1
    return found


@dataclass
class Trace:
    """What was measured: iterations[row] and, for each metric, values[row], each of the run's batch shape."""

    iterations: list[int] = field(default_factory=list)
    metrics: dict[str, list[Tensor]] = field(default_factory=dict)
    first_seed: int = 0
    members: dict[str, list[Any]] = field(default_factory=dict)
    """What tells the members of a batch apart, by name: `seed`, and hyper-parameters; each flat, as rows are."""

    def add(self, iteration: int, measured: Mapping[str, Tensor]) -> None:
        self.iterations.append(iteration)
        for name, value in measured.items():
            self.metrics.setdefault(name, []).append(value.detach().to("cpu", torch.float64))

    def told(self, which: Sequence[int], count: int, most: int = 8) -> str:
        """Members of a flat batch of so many, in words: their seeds, or all that tells them apart.

        >>> Trace(members={"seed": [7, 3]}).told([0, 1], 2), Trace(members={"seed": [7, 3]}).told([3], 4)
        ('seed 7, 3', 'seed 3 of game 1')
        >>> Trace(members={"seed": [0, 0], "step_size": [0.1, 90.0]}).told([1], 2)
        'seed 0 with step_size 90'
        """
        games = count // max(map(len, self.members.values()), default=1)
        seeds = self.members.get("seed") or [self.first_seed] * (count // games)
        hyper = {name: values for name, values in self.members.items() if name != "seed"}

        def words(i: int) -> str:
            more = " and ".join(f"{name} {values[i // games]:.6g}" for name, values in hyper.items())
            more = f" with {more}" if more else ""
            return f"{seeds[i // games]}{more}" + (f" of game {i % games}" if games > 1 else "")

        rest = f", ... ({len(which)} in all)" if len(which) > most else ""
        return "seed " + ", ".join(words(i) for i in which[:most]) + rest

    def only(self, kept: Callable[[int], bool]) -> "Trace":
        """The rows of some iterations."""
        which = [i for i, iteration in enumerate(self.iterations) if kept(iteration)]
        return Trace(
            [self.iterations[i] for i in which],
            {name: [x[i] for i in which] for name, x in self.metrics.items()},
            self.first_seed,
            self.members,
        )

    def ended(self, batch: tuple[int, ...]) -> Tensor:
        """Which members of a batch were no longer measured at the newest measure, [*batch]: those that diverged."""
        newest = [x[-1].reshape(*batch, -1).isnan().all(-1) for x in self.metrics.values()]
        return torch.stack(newest).all(0) if newest else torch.zeros(batch, dtype=torch.bool)

    def losses(self) -> list[tuple[int, int]]:
        """(seed, iteration) for every member of the batch that diverged: when it was first not finite."""
        if not self.metrics:
            return []
        fine = torch.stack([torch.stack([v.reshape(-1) for v in x]) for x in self.metrics.values()]).isfinite().all(0)
        firsts = (~fine).to(torch.uint8).argmax(0).tolist()
        gone = (~fine[-1]).nonzero()[:, 0].tolist()
        return [(self.first_seed + i, self.iterations[firsts[i]]) for i in gone]

    def rows(self, last: bool = False) -> list[tuple[int, int, str, float]]:
        """Tidy (iteration, seed, metric, value); a batch of more than seeds is flattened. `last`: only the newest."""
        which = range(len(self.iterations))[-1:] if last else range(len(self.iterations))
        return [
            (self.iterations[i], seed, name, value)
            for i in which
            for name, found in self.metrics.items()
            for seed, value in enumerate(found[i].reshape(-1).tolist(), start=self.first_seed)
        ]

    def frame(self) -> Any:
        """The rows as a tidy pandas.DataFrame."""
        try:
            import pandas
        except ModuleNotFoundError:
            raise missing_extra("frame()", "pandas", "gamesim[data]") from None
        return pandas.DataFrame(self.rows(), columns=HEADER)


@dataclass(frozen=True)
class Snapshot:
    """Where an earlier run was: its iteration, its state by names (`gamesim.states.tensors`) and its trace."""

    iteration: int
    tensors: Mapping[str, Tensor]
    trace: Trace
