"""Latent worlds: a planner speaks subgoals to actors, hears reports, and does not know which of |Z| worlds it is in.

    z ~ P_Z once and for all;   in each episode a task omega ~ P_Omega, which is told, and a first report o_0; then
    for h = 0, ..., H - 1:   g_h, a subgoal for each of K actors;   s_{h+1} ~ P_z(. | s_h, g_h);
                             o_{h+1} ~ gamma(. | s_{h+1}), a report that pays r_h(o_{h+1}, omega) in [0, 1]

The planner sees text alone: rewards are functions of reports. Given what it has heard, subgoals being interventions,

    P(z | heard) ~ P_Z(z) prod P_z(o_{h+1} | heard in the episode so far, g_h)

and the expert of z, the optimal policy pi*_z of the episode in that world, is found by dynamic programming. With the
expert's values the regret of a planner is counted without noise, since for any policy (performance difference)

    J_z(pi*_z) - J_z(pi) = E_pi sum_h [ V*_z(tau_h) - Q*_z(tau_h, g_h) ]

`distinguishability` is eta = min over z != z' of D_H^2 of the laws of an episode of exploration, D_H^2(P, Q) = 1 - sum
sqrt(P Q), and `coverage` is c_Z = max P_Z / min P_Z.

He, Chen, Zhang and Yang, "From words to actions: unveiling the theoretical underpinnings of LLM-driven autonomous
systems", ICML 2024, arXiv 2405.19883. There the first report is paid, too: no policy has a say in that.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from gamesim.errors import LISTED, refuse, unknown
from gamesim.games.game import Policy, require_rows
from gamesim.parameters import Bounds, convert
from gamesim.randomness import Stream

Chance = Annotated[float, Bounds("a probability, between 0 and 1", 0, 1)]
Truth = int | str
"""A latent, by its number or its name; or "prior": each run draws its own."""


@dataclass(frozen=True)
class Belief:
    """What is known of the latent, for runs side by side."""

    log: Tensor
    """log P(z | heard), [..., z]; -inf for what is ruled out."""
    inside: tuple[Tensor, ...] = ()
    """What the filter of each latent holds within the episode, by family of worlds."""

    @property
    def posterior(self) -> Tensor:
        """P(z | heard), [..., z]."""
        return self.log.exp()

    @classmethod
    def of(cls, log: Tensor, inside: tuple[Tensor, ...] = ()) -> "Belief":
        """From log weights that need not sum to one."""
        return cls(log - log.logsumexp(-1, keepdim=True), inside)

    def weighed(self, likelihood: Tensor, inside: tuple[Tensor, ...]) -> "Belief":
        """After a report of log likelihood [..., z]. One that no latent explains says nothing of the latent."""
        log = self.log + likelihood
        total = log.logsumexp(-1, keepdim=True)
        return Belief(torch.where(total == -math.inf, self.log, log - total), inside)


class LatentWorld(ABC):
    """A family of worlds that differ by a latent z. Concrete ones are frozen dataclasses.

    Shapes: `...` are runs side by side (seeds, hyper-parameters), in the same decision of the same episode; subgoals
    are whole numbers [..., k] with one for each actor, laws of subgoals [..., k, g].
    """

    instead: ClassVar[str] = "latent worlds are for planners: bail"
    """What takes it where a solver does not."""
    truth: Truth
    """Which latent runs meet."""
    actors: int = 1
    """K."""

    # --- what it is ---------------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def horizon(self) -> int:
        """H, decisions of an episode."""

    @property
    @abstractmethod
    def prior(self) -> Tensor:
        """P_Z, [z]."""

    @property
    def task_law(self) -> Tensor:
        """P_Omega, [w]."""
        return torch.ones(1, **self.like)

    @property
    @abstractmethod
    def latents(self) -> tuple[str, ...]:
        """A name for each latent."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """What the user asks for, in words, for each task."""
        return ("get the prize",)

    @property
    @abstractmethod
    def subgoals(self) -> tuple[str, ...]:
        """What the planner may say."""

    @property
    @abstractmethod
    def observations(self) -> tuple[str, ...]:
        """What may be reported; a report names what it is about, so that it can be read by itself."""

    @property
    @abstractmethod
    def about(self) -> str:
        """What the place is, what subgoals do and what pays, in a paragraph for a reader of text."""

    @property
    def like(self) -> dict[str, Any]:
        """dtype and device of its tensors."""
        return {"dtype": torch.float64, "device": torch.device("cpu")}

    # --- nature: functions of uniform numbers u[..., 2] ---------------------------------------------------------------

    @abstractmethod
    def open(self, latent: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """The hidden state s_0 and the first report o_0, [...] each."""

    @abstractmethod
    def move(self, h: int, latent: Tensor, state: Tensor, subgoal: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """s_{h+1} and o_{h+1} after the subgoals [..., k]."""

    @abstractmethod
    def rewards(self, h: int, task: Tensor, observation: Tensor) -> Tensor:
        """r_h(o_{h+1}, omega), [...]."""

    # --- inference and experts ----------------------------------------------------------------------------------------

    def believe(self, front: tuple[int, ...] = ()) -> Belief:
        """Nothing was heard: the prior."""
        return Belief(self.prior.log().expand(*front, -1), self._outside(front))

    def _outside(self, front: tuple[int, ...]) -> tuple[Tensor, ...]:
        """What filters hold between episodes: tensors of the shapes that `meet` gives."""
        return ()

    @abstractmethod
    def meet(self, belief: Belief, observation: Tensor) -> Belief:
        """An episode begins with this report."""

    @abstractmethod
    def update(self, h: int, belief: Belief, subgoal: Tensor, observation: Tensor) -> Belief:
        """After the subgoals of decision h and the report o_{h+1}."""

    @abstractmethod
    def experts(self, h: int, task: Tensor, belief: Belief) -> Tensor:
        """The subgoals of each latent's expert after the same reports: whole numbers [..., z, k]; of ties the first."""

    @abstractmethod
    def losses(self, h: int, task: Tensor, latent: Tensor, belief: Belief, subgoal: Tensor) -> Tensor:
        """V*_z - Q*_z(subgoals), [...], at least 0, of the latent at what its filter holds."""

    @property
    @abstractmethod
    def value(self) -> Tensor:
        """J*_z, what the expert of each latent gets in an episode, mean over tasks, [z]."""

    def explore(self, h: int, observation: Tensor) -> Tensor:
        """pi_exp: the law of each actor's subgoal in an episode of exploration, [..., k, g]; uniform by default."""
        count = len(self.subgoals)
        return torch.full((self.actors, count), 1 / count, **self.like)

    @abstractmethod
    def distinguishability(self) -> float:
        """eta: the least squared Hellinger distance of an episode of exploration between two latents."""

    @property
    def coverage(self) -> float:
        """c_Z; infinite where the prior leaves a latent out."""
        least = float(self.prior.min())
        return float(self.prior.max()) / least if least > 0 else math.inf

    # --- the truth of runs --------------------------------------------------------------------------------------------

    @cached_property
    def truth_law(self) -> Tensor:
        """The law that the latents of runs are drawn from, [z]."""
        if self.truth == "prior":
            return self.prior
        return torch.nn.functional.one_hot(torch.tensor(self.latent_of(self.truth)), len(self.prior)).to(self.prior)

    def latent_of(self, truth: Truth) -> int:
        """The number of a latent by its number or name."""
        count = len(self.prior)
        if isinstance(truth, str) and truth in self.latents:
            return self.latents.index(truth)
        wanted = f"prior, the name of a latent, or its number, 0 to {count - 1}"
        try:
            number = int(truth) if isinstance(truth, str) else convert(truth, int, "truth")
        except ValueError:
            if not isinstance(truth, str) or count > LISTED:
                raise refuse("truth", truth, f"{wanted}; a name is {self.latents[0]}") from None
            raise unknown("truth", truth, ("prior", *self.latents)) from None
        if not 0 <= number < count:
            raise refuse("truth", truth, wanted)
        return number

    def validate(self) -> None:
        """Refuse what is no world before anything is played in it."""
        for name, count in (("horizon", self.horizon), ("actors", self.actors)):
            if isinstance(count, bool) or not isinstance(count, int) or count < 1:
                raise refuse(name, count, "a whole number of at least 1")
        for name, law in (("prior", self.prior), ("task_law", self.task_law)):
            require_law(law, name, 1)
        self.truth_law  # noqa: B018  refuses a latent that is not there

    def cautions(self) -> list[str]:
        """What no theorem covers."""
        found = list[str]()
        if not math.isfinite(self.coverage):
            out = int((self.prior == 0).sum())
            found.append(
                f"prior: it gives {out} of {len(self.prior)} latents no chance, so c_Z is infinite and no bound holds"
            )
            if bool((self.truth_law[self.prior == 0] > 0).any()):
                found.append("truth: the prior rules it out, so no planner can find it; give it a chance")
        return found

    # --- as a game of the catalogue: a policy is a law over experts, and play starts from the prior -------------------

    def start(self) -> Policy:
        """The prior, as weights of the experts: [z]."""
        return (self.prior,)

    def metrics(self, policy: Policy) -> dict[str, Tensor]:
        """What the weights w[..., z] make one expect of an episode: sum_z w_z J*_z."""
        return {"return_expected": (policy[0] * self.value).sum(-1)}


def require_law(law: object, name: str, dim: int) -> None:
    """Refuse what is no tensor of so many dimensions whose rows are probabilities that sum to one."""
    if not isinstance(law, Tensor):
        raise refuse(name, type(law).__name__, "a tensor")
    if law.dim() != dim or not law.numel():
        raise refuse(name, f"shape {list(law.shape)}", f"{dim} dimension{'s' if dim > 1 else ''}, none of them empty")
    require_rows(law, name)


def aggregated(experts: Tensor, weights: Tensor, subgoals: int) -> Tensor:
    """sum_z w_z 1{g = g_z}: the law [..., k, g] of who follows expert z with probability w_z, of what experts say,
    whole numbers [..., z, k], and weights[..., z]."""
    chosen = experts.movedim(-1, -2)  # [..., k, z]
    law = weights.new_zeros(*chosen.shape[:-1], subgoals)
    return law.scatter_add(-1, chosen, weights.unsqueeze(-2).expand(chosen.shape))


def shared(generator: Stream, front: tuple[int, ...], count: int) -> Tensor:
    """Uniform numbers [..., count], the same for all hyper-parameters of a batch, other ones for each seed."""
    return generator.quick((*generator.alike(front), count))
