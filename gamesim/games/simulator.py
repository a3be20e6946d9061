"""Black boxes that are played in batches of episodes: nothing is known of them but what they answer.

A simulator has no exploitability, since nobody can compute a best response. What is measured is the mean undiscounted
return of `evaluation_episodes` episodes; every policy meets the same luck in them (common random numbers), so the
measure is a function of the policy, and differences between policies are not those of luck.

The seed of an episode and the draws of its actions are named by the stream and by the number of the episode. How many
copies play at once and in which order changes nothing, and a seed in a batch plays as it does alone.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.games.episodic import Episodes, EpisodicGame, require_room
from gamesim.games.game import Policy
from gamesim.parameters import Bounds, Count, convert
from gamesim.randomness import Stream
from gamesim.shapes import broadcast_shapes

ENDLESS = 10_000
"""Steps after which an episode is held to have no end, where `longest` does not say."""
EVALUATION = 2**31 - 2
"""An iteration that no run reaches: episodes that measure share no random numbers with those that are learned from."""
Limit = Annotated[int, Bounds("a whole number above 0, or none", 1)] | None
LISTED = 8
"""Players whose returns are traced one by one, at most."""


class Moment(NamedTuple):
    """What a step of every copy answers."""

    observations: Tensor
    """What everyone sees now, whole numbers [count, player]."""
    rewards: Tensor
    """[count, player]."""
    terminated: Tensor
    """Whether the episode came to an end of its own, [count]."""
    truncated: Tensor
    """Whether it was cut off, as by a limit of time, [count]."""


class Simulator(EpisodicGame):
    """A black box: `action_counts`, `observation_counts`, `reset` and `step` make one."""

    evaluation_episodes: int = 50
    """Episodes behind a measure."""
    longest: int | None = None
    """Steps after which an episode is cut off; None cuts none off, and refuses one without an end."""
    width: int | None = None
    """How many episodes run at once, at most; None for any number."""

    @abstractmethod
    def reset(self, seeds: Sequence[int]) -> Tensor:
        """Begin an episode with each seed: what everyone sees, whole numbers [count, player]."""

    @abstractmethod
    def step(self, actions: Tensor) -> Moment:
        """One step of every copy, actions[count, player]; what a copy answers after its end is not looked at."""

    def rollout(self, policy: Policy, episodes: int, generator: Stream) -> Episodes:
        return self.play_out(policy, episodes, generator)[0]

    def play_out(self, policy: Policy, episodes: int, generator: Stream) -> tuple[Episodes, Tensor, Tensor]:
        """Episodes, whether each was cut off, [..., m], and what everyone saw in the end, [..., m, player]."""
        episodes = convert(episodes, Count, "episodes")
        limit, at_once = (convert(getattr(self, name), Limit, name) for name in ("longest", "width"))
        self._require_shapes(policy)
        batch = broadcast_shapes(*(x.shape[:-2] for x in policy))
        many = math.prod(batch)
        require_room(batch, episodes, len(policy), 1)
        below = [
            x.expand(*batch, *x.shape[-2:]).cumsum(-1)[..., :-1].reshape(many, x.shape[-2], x.shape[-1] - 1)
            for x in policy
        ]
        drawn = (*generator.alike(batch), episodes)
        luck = generator.aside()  # what is drawn after a rollout does not depend on its length
        beginnings = (luck.uniform(drawn) * 2**31).long().flatten()
        dice = Dice(luck, drawn, len(below), self.like["dtype"])
        place = torch.arange(math.prod(drawn)).reshape(drawn).expand(*batch, episodes).flatten()
        waves, width = list[tuple[list[Tensor], list[Tensor]]](), at_once or len(place)
        for first in range(0, len(place), width):
            here = torch.arange(first, min(first + width, len(place)))
            waves.append(
                self._play(below, here // episodes, beginnings[place[here]].tolist(), place[here], dice, limit)
            )
        longest = max(len(played[0][0]) for played, _ in waves)
        played = [torch.cat([_padded(x, longest) for x in part]) for part in zip(*(x for x, _ in waves), strict=True)]
        ends = [torch.cat(part) for part in zip(*(x for _, x in waves), strict=True)]
        whole = [x.reshape(*batch, episodes, *x.shape[1:]) for x in (*played, *ends)]
        return Episodes(*whole[:4]), whole[4], whole[5]

    def _play(
        self, below: list[Tensor], elements: Tensor, seeds: list[int], place: Tensor, dice: "Dice", limit: int | None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """One episode for each place: what `Episodes` holds, [count, time, ...]; whether it was cut, and its end."""
        seen, played, paid, living = list[Tensor](), list[Tensor](), list[Tensor](), list[Tensor]()
        observed = self._looked_at(self.reset(seeds), len(place))
        alive, cut = torch.ones(len(place), dtype=torch.bool), torch.zeros(len(place), dtype=torch.bool)
        while bool(alive.any()):
            if len(seen) == (limit or ENDLESS):
                if limit is not None:
                    cut = cut | alive
                    break
                wanted = f"an environment that comes to an end, or longest={ENDLESS}, which cuts its episodes off"
                raise refuse("longest", f"none, and an episode goes on after {ENDLESS:,} steps", wanted)
            require_room((), len(place), len(below), len(seen) + 1)
            u = dice(len(seen))[place]
            chosen = [(table[elements, observed[:, i]] <= u[:, i : i + 1]).sum(-1) for i, table in enumerate(below)]
            actions = torch.stack(chosen, -1)
            moment = self._answered(self.step(actions), len(place))
            rewards = moment.rewards.to(**self.like)
            if not bool(rewards[alive].isfinite().all()):
                copy_, player = ((~rewards.isfinite()) & alive[:, None]).nonzero()[0].tolist()
                raise refuse(f"rewards[{copy_}, {player}]", float(rewards[copy_, player]), "a finite reward")
            seen.append(torch.where(alive[:, None], observed, 0))
            played.append(torch.where(alive[:, None], actions, 0))
            paid.append(torch.where(alive[:, None], rewards, 0.0))
            living.append(alive)
            cut = cut | (alive & moment.truncated & ~moment.terminated)
            observed = self._looked_at(torch.where(alive[:, None], moment.observations, observed), len(place))
            alive = alive & ~(moment.terminated | moment.truncated)
        return [torch.stack(x, 1) for x in (seen, played, paid, living)], [cut, observed]

    def returns_of(self, policy: Policy, episodes: int | None = None, seed: int = 0) -> Tensor:
        """Mean undiscounted return of each player, [..., player], with the same luck for every policy."""
        played = self.rollout(policy, self.evaluation_episodes if episodes is None else episodes, self._judge(seed))
        return played.returns.mean(-2)

    def metrics(self, policy: Policy, temperature: Any = 0.0) -> dict[str, Tensor]:
        """The mean return over players, and of several each one's, from `evaluation_episodes` episodes."""
        returns = self.returns_of(policy)
        found = {"return": returns.mean(-1)}
        if 1 < returns.shape[-1] <= LISTED:
            found |= {f"return_{i + 1}": returns[..., i] for i in range(returns.shape[-1])}
        return found

    @staticmethod
    def _judge(seed: int) -> Stream:
        return Stream(seed, EVALUATION)

    def _require_shapes(self, policy: Policy) -> None:
        wanted = list(zip(self.observation_counts, self.action_counts, strict=True))
        if len(policy) != len(wanted):
            raise refuse("policy", f"{len(policy)} tensors", f"{len(wanted)}, one per player")
        for i, (x, (s, a)) in enumerate(zip(policy, wanted, strict=True)):
            if tuple(x.shape[-2:]) != (s, a):
                raise refuse(f"policy[{i}]", f"shape {list(x.shape)}", f"[..., {s}, {a}]")

    def _answered(self, moment: Any, count: int) -> Moment:
        """What a step answered as tensors, refused where it is something else."""
        if not isinstance(moment, tuple) or len(moment) != len(Moment._fields):
            raise refuse("step", f"a {type(moment).__name__}", f"a Moment of {', '.join(Moment._fields)}")
        found = Moment(*(as_tensor(x, name) for name, x in zip(Moment._fields, moment, strict=True)))
        if tuple(found.rewards.shape) != (count, players := len(self.action_counts)) or found.rewards.is_complex():
            what = f"{found.rewards.dtype} of shape {list(found.rewards.shape)}"
            raise refuse("rewards", what, f"numbers [{count}, {players}], for each copy and player")
        for name, x in (("terminated", found.terminated), ("truncated", found.truncated)):
            if tuple(x.shape) != (count,) or x.dtype != torch.bool:
                raise refuse(name, f"{x.dtype} of shape {list(x.shape)}", f"true or false for each copy, [{count}]")
        return found

    def _looked_at(self, observed: Any, count: int) -> Tensor:
        """What everyone sees, refused where it is no number of an observation."""
        seen = as_tensor(observed, "observations")
        counts = torch.tensor(self.observation_counts)
        if tuple(seen.shape) != (count, len(counts)) or seen.is_floating_point():
            what = f"{seen.dtype} of shape {list(seen.shape)}"
            raise refuse("observations", what, f"whole numbers [{count}, {len(counts)}], for each copy and player")
        outside = (seen < 0) | (seen >= counts)
        if bool(outside.any()):
            row, i = outside.nonzero()[0].tolist()
            raise refuse(f"observations[{row}, {i}]", int(seen[row, i]), f"a number from 0 to {int(counts[i]) - 1}")
        return seen


def as_tensor(x: Any, field: str) -> Tensor:
    """What a simulator answers, a tensor, an array or a list, as a tensor."""
    try:
        found: Tensor = torch.as_tensor(x)
    except (TypeError, ValueError, RuntimeError):
        raise refuse(field, type(x).__name__, "a tensor, an array or a list of numbers") from None
    return found


class Dice:
    """The numbers that actions of step k are drawn by, [episode, player]: the same for every wave of episodes."""

    def __init__(self, luck: Stream, drawn: tuple[int, ...], players: int, dtype: torch.dtype) -> None:
        self.luck, self.shape, self.dtype, self.thrown = luck, (*drawn, players), dtype, list[Tensor]()

    def __call__(self, k: int) -> Tensor:
        if k == len(self.thrown):
            self.thrown.append(self.luck.quick(self.shape, self.dtype).reshape(-1, self.shape[-1]))
        return self.thrown[k]


def _padded(x: Tensor, longest: int) -> Tensor:
    """[count, time, ...] with zeros up to the longest episode."""
    if x.shape[1] == longest:
        return x
    return torch.cat([x, x.new_zeros(x.shape[0], longest - x.shape[1], *x.shape[2:])], 1)
