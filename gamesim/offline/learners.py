"""What algorithms that learn from recorded play are alike in: what they declare, keep, and have at hand in a step.

A solver is an `Offline` with `init` and `step`, its state a `Learned`, or `Judged` where there are twin critics. Its
`lesson` has the networks, the luck and the minibatches of one step, for all seeds and hyper-parameters at once.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, TypeVar

from torch import Tensor

from gamesim.games.recorded import Actor, Batch, Recorded
from gamesim.networks import Network
from gamesim.networks.adam import Trained, Weights
from gamesim.networks.stateless import Stateless
from gamesim.offline.critics import Critic, actor_of, critic_of, drawn, front_of
from gamesim.offline.luck import common
from gamesim.offline.targets import runaway
from gamesim.parameters import check
from gamesim.randomness import Stream


@dataclass(frozen=True)
class Learned:
    """A state: a policy that is a network, and fields that are metrics."""

    actor: Trained

    reported: ClassVar[tuple[str, ...]] = ()
    """Which fields are metrics."""

    @property
    def policy(self) -> Weights:
        return self.actor.parameters

    @property
    def metrics(self) -> dict[str, Tensor]:
        return {name: getattr(self, name) for name in self.reported}


@dataclass(frozen=True)
class Judged(Learned):
    """The policy, twin critics of it, and what they said last."""

    critic: Trained
    """f_j, twins: [..., 2, ...]."""
    target: Weights
    """fbar_j, which follow the critics."""
    value: Tensor
    """What critics think of the policy, in units of reward, [...]."""
    residual: Tensor
    """The root of mean (f_1 - y)^2, in units of reward, [...]."""

    reported: ClassVar[tuple[str, ...]] = ("value", "residual")


S = TypeVar("S", bound=Learned)


@dataclass(frozen=True)
class Lesson:
    """What a step has at hand: a task, networks and luck."""

    game: Recorded
    network: Network
    front: tuple[int, ...]
    """The leading dimensions of the run: seeds, then hyper-parameters."""
    luck: Stream
    """Common to hyper-parameters."""

    @cached_property
    def actor(self) -> Actor:
        return actor_of(self.game, self.network)

    @cached_property
    def critic(self) -> Critic:
        return critic_of(self.game, self.network)

    @property
    def alike(self) -> tuple[int, ...]:
        """The leading dimensions of what each seed draws once, for all its hyper-parameters."""
        return self.luck.alike(self.front)

    def begun(self, state: S, **networks: Stateless) -> S:
        """The state with these fields drawn, one after the other, each from its network."""
        found = {name: drawn(net, getattr(state, name), self.front, self.luck) for name, net in networks.items()}
        return replace(state, **found)

    def minibatch(self, size: int) -> Batch:
        """A minibatch of each seed; hyper-parameters share it, [seed, 1, ..., row, d]."""
        return self.game.batch(size, self.luck, self.alike)


class Offline:
    """A solver of recorded play; its subclasses are frozen dataclasses of hyper-parameters."""

    network: Network
    """Of the policy, and of all else that is learned."""

    requires: ClassVar[type] = Recorded
    imitating: ClassVar[str] = ""
    """The parameter that says for how many steps the policy imitates, if it does."""
    advice: ClassVar[str] = ""
    """What helps where critics run away, which the metric `value` shows; nothing where there are none."""

    def __post_init__(self) -> None:
        check(self)

    def actor(self, game: Recorded) -> Actor:
        """The policy network, whose weights `result.policy` are."""
        return actor_of(game, self.network)

    def measures(self, game: Recorded) -> dict[str, Any]:
        return {"actor": self.actor(game)}

    def limits(self, game: Recorded) -> dict[str, tuple[float, str]]:
        return runaway(game, self.advice) if self.advice else {}

    def cautions_of_length(self, iterations: int) -> list[str]:
        first = getattr(self, self.imitating) if self.imitating else 0
        if 0 < iterations <= first:
            return [f"iterations: {iterations} are not more than {self.imitating}, {first}: the policy only imitates"]
        return []

    def lesson(self, game: Recorded, state: Learned, generator: Stream) -> Lesson:
        """What the step from this state has at hand."""
        front = front_of(state.policy, self.actor(game).network)
        return Lesson(game, self.network, front, common(generator, front))
