"""Streams: what happened in a latent world, as whole numbers of one vocabulary, and documents of it to learn from.

    BOS  [task] [o_0] g_0 o_1 g_1 o_2 ... o_H   [task] [o_0] g_0 o_1 ...        episode after episode

Tasks have tokens where there is more than one, first reports where there is more than one. A model of streams predicts
what follows each place: after a subgoal the report, and where a subgoal is next *the expert's*, whatever was done
there. Two ways to make documents, z ~ P_Z for each:

    labelled          the behaviour does not depend on z, so it cancels, and the label's law given what precedes it is
                          sum_z P(z | reports, subgoals being interventions) pi*_z(g | episode so far)
    demonstrations    the behaviour is the expert's: its own subgoals are evidence of z, and for a model of such
                      documents what it said itself becomes proof

The behaviour of labelled documents explores at a rate of u^2 / 2, u uniform in each document; else, in every other
document, it follows the expert of a latent drawn from P_Z anew, at a uniform rate, too; else any subgoal will do.

He et al., "From words to actions", ICML 2024, arXiv 2405.19883, section on pretraining; the two ways are set side by
side in Lee et al., "Supervised pretraining can learn in-context reinforcement learning", NeurIPS 2023.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from gamesim.errors import refuse, unknown
from gamesim.games.latent import Belief, LatentWorld, aggregated
from gamesim.games.latent_tables import TabularWorld
from gamesim.randomness import Stream
from gamesim.simplex import drawn

BOS = 0
"""The token that every stream begins with."""
SILENT = -1
"""The target of a place that is not learned from."""
Data = Literal["labelled", "demonstrations"]
TRIALS = 4096
"""Episodes that show which reports there are."""


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of a world: BOS, its tasks if more than one, its subgoals, and its reports."""

    words: tuple[str, ...]
    """The text of each token."""
    tasks: int
    """How many tokens are tasks; 0 where there is one task."""
    subgoals: int
    reports: tuple[int, ...]
    """The token of each observation; -1 for one that is only a first report that says nothing."""
    opens: bool
    """Whether first reports have tokens."""
    horizon: int

    @classmethod
    def of(cls, world: LatentWorld) -> "Vocabulary":
        """The vocabulary of a world of one actor."""
        if world.actors != 1:
            raise refuse("world", f"{world.actors} actors", "a world of one actor: streams have one subgoal at a time")
        first, later = reports(world)
        opens = len(first) > 1
        dumb = set() if opens else first - later
        tasks = len(world.tasks) if len(world.tasks) > 1 else 0
        tokens, after = list[int](), 1 + tasks + len(world.subgoals)
        for o in range(len(world.observations)):
            tokens.append(SILENT if o in dumb else after + o - sum(silent < o for silent in dumb))
        said = (word for o, word in enumerate(world.observations) if o not in dumb)
        words = ("<begin>", *world.tasks[:tasks], *world.subgoals, *said)
        return cls(words, tasks, len(world.subgoals), tuple(tokens), opens, world.horizon)

    @property
    def size(self) -> int:
        return len(self.words)

    @property
    def subgoal_tokens(self) -> slice:
        """Where subgoals stand among the tokens."""
        return slice(1 + self.tasks, 1 + self.tasks + self.subgoals)

    @property
    def preface(self) -> int:
        """Tokens of an episode before its first subgoal."""
        return (self.tasks > 0) + self.opens

    @property
    def episode(self) -> int:
        """Tokens of an episode."""
        return self.preface + 2 * self.horizon

    def context(self, episodes: int) -> int:
        """Tokens of a stream of so many episodes."""
        return 1 + episodes * self.episode

    def opening(self, task: Tensor, first: Tensor) -> Tensor:
        """Tokens [..., preface] of an episode that begins."""
        parts = [1 + task] if self.tasks else []
        parts += [self._said(first)] if self.opens else []
        return torch.stack(parts, -1) if parts else task.new_empty((*task.shape, 0))

    def turn(self, subgoal: Tensor, observation: Tensor) -> Tensor:
        """Tokens [..., 2] of a decision: subgoal[...] and what was reported."""
        return torch.stack([1 + self.tasks + subgoal, self._said(observation)], -1)

    def _said(self, observation: Tensor) -> Tensor:
        tokens = torch.tensor(self.reports, device=observation.device)[observation]
        if bool((tokens < 0).any()):
            silent = self.reports.index(SILENT)
            raise refuse(
                "observation", silent, "a report that was heard after a decision before; this one has no token"
            )
        return tokens

    def stream(self, tasks: Tensor, first: Tensor, subgoals: Tensor, observations: Tensor) -> Tensor:
        """Tokens [..., 1 + r (preface + 2 H)] of r whole episodes: tasks[..., r], first[..., r], subgoals[..., r, h]
        and observations[..., r, h]."""
        turns = self.turn(subgoals, observations).flatten(-2)
        episodes = torch.cat([self.opening(tasks, first), turns], -1).flatten(-2)
        return torch.cat([episodes.new_full((*episodes.shape[:-1], 1), BOS), episodes], -1)

    def asked(self, episodes: int) -> list[int]:
        """The places of a stream that a subgoal follows; the last of them is a next episode's, if nothing is told
        before its first subgoal."""
        begins = range(0, self.context(episodes), self.episode)
        places = [b + self.preface + 2 * h for b in begins for h in range(self.horizon)]
        return [place for place in places if place < self.context(episodes)]


def reports(world: LatentWorld) -> tuple[set[int], set[int]]:
    """Which observations are first reports, and which come after a decision: by the tables of a world that has some,
    else as many episodes of random subgoals show."""
    if isinstance(world, TabularWorld):
        begun = torch.einsum("zs,zso->o", world.initial, world.emission)
        moved = torch.einsum("zsgt,zto->o", world.transition, world.emission)
        return set(begun.nonzero()[:, 0].tolist()), set(moved.nonzero()[:, 0].tolist())
    latents = torch.arange(len(world.prior), device=world.prior.device)
    latent = latents.repeat(-(-TRIALS // len(latents)))
    luck = Stream(0).quick((len(latent), world.horizon + 1, 3), device=latent.device)
    state, observation = world.open(latent, luck[:, 0, :2])
    first, later = set(observation.unique().tolist()), set[int]()
    for h in range(world.horizon):
        u = luck[:, h + 1]
        subgoal = (u[:, 2:] * len(world.subgoals)).long()
        state, observation = world.move(h, latent, state, subgoal, u[:, :2])
        later |= set(observation.unique().tolist())
    return first, later


@dataclass(frozen=True)
class Documents:
    """Streams of one world, with what should be predicted at each place."""

    tokens: Tensor
    """[b, place]."""
    targets: Tensor
    """[b, place]; -1 where nothing is learned."""
    latent: Tensor
    """The world of each document, [b]."""
    tasks: Tensor
    """[b, r]."""
    first: Tensor
    """[b, r]."""
    subgoals: Tensor
    """[b, r, h]."""
    observations: Tensor
    """[b, r, h]."""
    labels: Tensor
    """The expert's subgoal at each place that a subgoal follows, [b, question]."""
    laws: Tensor | None = None
    """The exact law of labels given what precedes them where subgoals are interventions, [b, question, g]."""


def documents(
    world: LatentWorld,
    words: Vocabulary,
    episodes: int,
    count: int,
    generator: Stream,
    data: Data = "labelled",
    *,
    exact: bool = False,
) -> Documents:
    """So many documents of a world and its vocabulary, side by side; `exact` finds the law of the labels, too."""
    if data not in get_args(Data):
        raise unknown("data", data, get_args(Data))
    device = world.prior.device
    luck = generator.quick((count, 4), device=device)
    latent, favourite = drawn(world.prior, luck[:, 0]), drawn(world.prior, luck[:, 1])
    exploring, faithful = luck[:, 2] ** 2 / 2, (2 * luck[:, 3] - 1).clamp(min=0)
    belief = world.believe((count,))
    labels, laws, lines = list[Tensor](), list[Tensor](), list[tuple[Tensor, ...]]()

    def experts(h: int, task: Tensor, belief: Belief) -> Tensor:
        return world.experts(h, task, belief)[..., 0].expand(count, -1)

    for r in range(episodes + (words.preface == 0)):
        u = generator.quick((count, 3), device=device)
        task = drawn(world.task_law, u[:, 0])
        state, observation = world.open(latent, u[:, 1:])
        belief = world.meet(belief, observation)
        first, said, heard = observation, list[Tensor](), list[Tensor]()
        for h in range(world.horizon):
            best = experts(h, task, belief)
            labels.append(best.gather(-1, latent[:, None])[:, 0])
            if exact:
                laws.append(aggregated(best[..., None], belief.posterior, words.subgoals)[..., 0, :])
            if r == episodes:  # a question that no episode follows
                break
            u = generator.quick((count, 6), device=device)
            subgoal = labels[-1]
            if data == "labelled":
                subgoal = (u[:, 0] * words.subgoals).long()
                subgoal = torch.where(u[:, 1] < faithful, best.gather(-1, favourite[:, None])[:, 0], subgoal)
                explored = drawn(world.explore(h, observation)[..., 0, :], u[:, 2])
                subgoal = torch.where(u[:, 3] < exploring, explored, subgoal)
            state, observation = world.move(h, latent, state, subgoal[:, None], u[:, 4:])
            belief = world.update(h, belief, subgoal[:, None], observation)
            said.append(subgoal)
            heard.append(observation)
        if said:
            lines.append((task, first, torch.stack(said, -1), torch.stack(heard, -1)))
    tasks, firsts, subgoals, observations = (torch.stack(x, 1) for x in zip(*lines, strict=True))
    tokens = words.stream(tasks, firsts, subgoals, observations)
    targets = torch.cat([tokens[:, 1:], torch.full_like(tokens[:, :1], SILENT)], -1)
    answers = torch.stack(labels, -1)
    targets[:, words.asked(episodes)] = words.subgoal_tokens.start + answers
    law = torch.stack(laws, 1) if exact else None
    return Documents(tokens, targets, latent, tasks, firsts, subgoals, observations, answers, law)
