"""Long chains of many seeds and step sizes at once, kept as means of cells of iterations.

Every step size sees the same random numbers: the numbers of a seed are those that `solve` would draw for it, shared by
all chains of the seed, so that differences between step sizes are not drowned in noise. The means of the normal numbers
that were drawn are kept, too. Their expectation is known to be 0 while they explain nearly all that moves an average:

    x_{t+1} = x_t - g (F(x_t) + U_t)   gives   mean F(x_t) = -mean U_t + (x_0 - x_T) / (g T)

so that `Chains.adjusted`, the residual of a regression on them over seeds, has a much smaller variance.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gamesim.errors import InvalidInput, refuse
from gamesim.parameters import Positive, convert
from gamesim.randomness import Stream
from gamesim.schedules import Constant
from gamesim.states import expanded

LONG = 100_000  # numbers: from here on compiled draws pay for their loading


@dataclass(frozen=True)
class Chains:
    """What is left of long chains; the last but one dimension d goes through the coordinates of all players."""

    cells: Tensor = field(repr=False)
    """Means of successive iterations, [seed, step, d, cell]; [seed, d, cell] without step sizes."""
    width: int
    """Iterations in a cell."""
    burn_in: int
    """Iterations before the first cell."""
    noise: Tensor = field(repr=False)
    """Means of the normal numbers drawn, [seed, k], over all cells; k = 0 for a feedback without any."""
    state: Any = field(repr=False)
    """The solver's last state."""

    @property
    def averages(self) -> Tensor:
        """Long-run averages [seed, step, d]."""
        return self.cells.mean(-1)

    @property
    def adjusted(self) -> Tensor:
        """Long-run averages with the part that the drawn noise explains taken out, [seed, step, d]."""
        return adjusted(self.averages, self.noise)


def run_chains(
    problem: Any,
    solver: Any,
    *,
    step_sizes: Sequence[float] | None = None,
    seeds: int = 256,
    seed: int = 0,
    iterations: int = 10_000,
    burn_in: int | None = None,
    cells: int = 100,
) -> Chains:
    """Chains of a solver on a problem, one for each seed and step size.

    step_sizes: constant steps in place of the solver's own; they make a dimension, and share the random numbers.
    burn_in:    iterations that are not averaged, a tenth if left out; what does not fill the cells joins them.
    cells:      means are kept of so many stretches of equal length.
    """
    iterations, seeds, cells = (
        _whole(n, v) for n, v in (("iterations", iterations), ("seeds", seeds), ("cells", cells))
    )
    burn_in = iterations // 10 if burn_in is None else _whole("burn_in", burn_in, 0)
    width = (iterations - burn_in) // cells
    if width < 1:
        raise refuse("iterations", iterations, f"at least {burn_in + cells}: burn_in and one for each of {cells} cells")
    start = problem.start()
    batch: tuple[int, ...] = (seeds,)
    if step_sizes is not None:
        steps = [convert(g, Positive, f"step_sizes[{k}]") for k, g in enumerate(step_sizes)]
        if not steps or not hasattr(solver, "step_size"):
            wanted = "at least one number above 0" if not steps else f"none: {type(solver).__name__} has no step_size"
            raise refuse("step_sizes", list(step_sizes), wanted)
        shape = (len(steps), *[1] * max(x.dim() for x in start))
        solver = dataclasses.replace(solver, step_size=Constant(torch.tensor(steps).to(start[0]).reshape(shape)))
        batch = (seeds, len(steps))

    state = expanded(solver.init(problem), batch)
    stream = Stream([seed + i for i in range(seeds)])
    if seeds * iterations > LONG:
        stream.at(0).uniform((seeds, LONG // seeds + 1))  # a long draw loads the compiled loop; short ones use it then
    numbers = Shared(stream, len(batch) - 1)
    first = iterations - cells * width
    kept = []
    for t in range(first):
        state = solver.step(t, problem, state, numbers.at(t))
    numbers.restart()
    for cell in range(cells):
        total = torch.zeros_like(_joined(state.policy, len(batch)))
        for t in range(first + cell * width, first + (cell + 1) * width):
            state = solver.step(t, problem, state, numbers.at(t))
            total += _joined(state.policy, len(batch))
        kept.append(total / width)
        if cell == 0 and not bool(total.isfinite().any()):
            raise InvalidInput("step_sizes: every chain has left the finite numbers, take smaller steps")
    return Chains(torch.stack(kept, -1), width, first, numbers.means(cells * width).to(kept[0]), state)


class Shared:
    """The random numbers of a stream, shared by the chains of a seed: what is drawn for [seed, ..., d] is [seed, 1, d].

    It keeps the sum of each normal draw of an iteration.
    """

    def __init__(self, stream: Stream, dimensions: int) -> None:
        self._stream, self._dimensions = stream, dimensions
        self._sums: list[Tensor] = []
        self._drawn = 0
        self.seeds, self.iteration = stream.seeds, stream.iteration

    def at(self, iteration: int) -> "Shared":
        self._stream = self._stream.at(iteration)
        self.iteration, self._drawn = iteration, 0
        return self

    def alike(self, batch: Sequence[int]) -> tuple[int, ...]:
        return self._stream.alike(batch)

    def restart(self) -> None:
        self._sums = []

    def means(self, iterations: int) -> Tensor:
        """[seed, k]."""
        seeds = len(self._stream.keys)
        sums = [s.reshape(seeds, -1) for s in self._sums]
        return torch.cat(sums, -1) / iterations if sums else torch.zeros(seeds, 0)

    def normal(self, shape: Sequence[int], dtype: torch.dtype = torch.float64, device: object = "cpu") -> Tensor:
        found = self._stream.normal(self._own(shape), dtype, device)
        if self._drawn < len(self._sums):
            self._sums[self._drawn] += found
        else:
            self._sums.append(found.clone())
        self._drawn += 1
        return found

    def uniform(self, shape: Sequence[int], dtype: torch.dtype = torch.float64, device: object = "cpu") -> Tensor:
        return self._stream.uniform(self._own(shape), dtype, device)

    def quick(self, shape: Sequence[int], dtype: torch.dtype = torch.float64, device: object = "cpu") -> Tensor:
        return self._stream.quick(self._own(shape), dtype, device)

    def _own(self, shape: Sequence[int]) -> tuple[int, ...]:
        return (shape[0], *[1] * self._dimensions, *shape[1 + self._dimensions :])


def adjusted(averages: Tensor, noise: Tensor) -> Tensor:
    """averages[seed, ..., d] without their linear regression over seeds on noise[seed, k] of mean 0; shapes stay."""
    seeds, k = noise.shape
    if k == 0:
        return averages
    if seeds < 2 * (k + 1):
        raise refuse("seeds", seeds, f"at least {2 * (k + 1)} to take {k} means of noise into account")
    flat = averages.reshape(seeds, -1)
    centred = noise - noise.mean(0)
    slope: Tensor = torch.linalg.lstsq(centred, flat - flat.mean(0)).solution
    return (flat - noise @ slope).reshape(averages.shape)


def _joined(point: Sequence[Tensor], batch: int) -> Tensor:
    """All coordinates of all players, [*batch, d]."""
    return torch.cat([x.flatten(batch) for x in point], -1)


def _whole(name: str, value: Any, low: int = 1) -> int:
    number: int = convert(value, int, name)
    if not low <= number <= 10**9:
        raise refuse(name, value, f"a whole number from {low} to 1,000,000,000")
    return number
