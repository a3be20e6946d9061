"""Random hierarchical decision processes: a base kernel that all latents share but for a few redrawn rows.

    P_0(. | o, g)   a point of the simplex, uniform (Dirichlet with weights `concentration`), for all pairs (o, g)
    P_z             is P_0, but for `redrawn` pairs (o, g), each latent's own, whose rows are drawn anew
    r(o, omega)     uniform on [0, 1]: an episode pays at most H

The state is reported. The honest negative: on such worlds a planner that follows the mixture of experts soon loses
nothing more, since whoever plays in them learns about them, and a schedule of exploration only costs.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, final

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.games.latent import Truth
from gamesim.games.latent_tables import TabularWorld
from gamesim.parameters import Bounds, Natural, check
from gamesim.randomness import Stream

Few = Annotated[int, Bounds("a whole number from 1 to 64", 1, 64)]
Several = Annotated[int, Bounds("a whole number from 2 to 64", 2, 64)]
Weight = Annotated[float, Bounds("a number above 0", 0, low_open=True)]


@final
@dataclass(frozen=True, kw_only=True)
class RandomHierarchy(TabularWorld):
    """Latents that differ in a few rows of a random kernel."""

    latent_count: Several = 8
    """|Z|."""
    report_count: Several = 6
    """Reports, as many states."""
    subgoal_count: Several = 6
    """What may be said."""
    episode: Few = 3
    """H, decisions of an episode."""
    task_count: Few = 2
    """Tasks, each as likely, with rewards of its own."""
    redrawn: Natural = 2
    """Pairs of report and subgoal at which a latent differs from what all share."""
    concentration: Weight = 1.0
    """Weights of the Dirichlet law of rows; small ones make worlds that are nearly deterministic."""
    instance: Natural = 0
    """Which of all such worlds: the seed of its tables."""
    truth: Truth = "prior"
    """The number of a latent; prior: each run draws its own."""

    def __post_init__(self) -> None:
        check(self)
        pairs = self.report_count * self.subgoal_count
        if self.redrawn > pairs:
            raise refuse("redrawn", self.redrawn, f"at most {pairs} pairs of report and subgoal")
        self.truth_law  # noqa: B018  refuses a latent that is not there

    @property
    def horizon(self) -> int:
        return self.episode

    @cached_property
    def prior(self) -> Tensor:
        return torch.full((self.latent_count,), 1 / self.latent_count, **self.like)

    @property
    def task_law(self) -> Tensor:
        return torch.full((self.task_count,), 1 / self.task_count, **self.like)

    @property
    def latents(self) -> tuple[str, ...]:
        return tuple(f"world {z + 1}" for z in range(self.latent_count))

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(f"collect for customer {w + 1}" for w in range(self.task_count))

    @property
    def subgoals(self) -> tuple[str, ...]:
        return tuple(f"take road {g + 1}" for g in range(self.subgoal_count))

    @property
    def observations(self) -> tuple[str, ...]:
        return tuple(f"at place {o + 1}" for o in range(self.report_count))

    @cached_property
    def about(self) -> str:
        worth = "; ".join(
            f"customer {w + 1} pays " + ", ".join(f"{float(x):.2f} at place {o + 1}" for o, x in enumerate(row))
            for w, row in enumerate(self.reward)
        )
        return (
            f"There are {self.report_count} places, and {self.subgoal_count} roads lead from each to one of them, by "
            f"chances that never change. An episode is {self.horizon} roads for one customer, who pays for every place "
            f"reached: {worth}."
        )

    # --- tables -------------------------------------------------------------------------------------------------------

    @cached_property
    def _drawn(self) -> tuple[Tensor, Tensor]:
        luck = Stream(self.instance)
        s, g, z = self.report_count, self.subgoal_count, self.latent_count
        base = dirichlet(self.concentration, (s * g, s), luck)
        fresh = dirichlet(self.concentration, (z, self.redrawn, s), luck) if self.redrawn else None
        places = luck.uniform((z, s * g)).argsort(-1)[:, : self.redrawn]  # without repetition
        table = base.expand(z, s * g, s).clone()
        if fresh is not None:
            table[torch.arange(z)[:, None], places] = fresh
        return table.reshape(z, s, g, s), luck.uniform((self.task_count, s))

    @property
    def transition(self) -> Tensor:
        return self._drawn[0]

    @property
    def reward(self) -> Tensor:
        return self._drawn[1]

    @cached_property
    def emission(self) -> Tensor:
        return torch.eye(self.report_count, **self.like).expand(self.latent_count, -1, -1)

    @cached_property
    def initial(self) -> Tensor:
        """Everywhere with the same chance."""
        return torch.full((self.latent_count, self.report_count), 1 / self.report_count, **self.like)


def dirichlet(weight: float, shape: tuple[int, ...], luck: Stream) -> Tensor:
    """Points of the simplex along the last dimension, Dirichlet(weight, ..., weight), by gamma quantiles."""
    from scipy.special import gammaincinv

    x = torch.from_numpy(gammaincinv(weight, luck.uniform(shape).numpy())).clamp(min=1e-300)
    return x / x.sum(-1, keepdim=True)
