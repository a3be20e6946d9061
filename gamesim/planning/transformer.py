"""A decoder transformer as a planner: pretrained by ourselves on documents of the world, it says what it predicts.

    p(g) = softmax(logits after the prompt)_g over subgoals alone;   the probability of everything else is reported

With labelled documents this is near sum_z P(z | heard) pi*_z(g), the planner `bail`. With demonstrations it is not:
what it said itself counts as an expert's, and exploration cannot repair that.

The memory is the prompt, with keys and values of its tokens, so that an episode costs its own tokens only. The prompt
is BOS and episodes, as in training; with a window, what is older is left out and the rest is read anew.

He et al., "From words to actions", ICML 2024, arXiv 2405.19883.
"""

import sys
from dataclasses import dataclass, field, fields
from pathlib import Path

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.games.latent import LatentWorld
from gamesim.parameters import Count
from gamesim.planning.planner import Planner
from gamesim.randomness import Stream
from gamesim.sequence.decoder import Memory
from gamesim.sequence.pretraining import Pretrained, Recipe, pretrained, read_model
from gamesim.sequence.streams import BOS, Vocabulary
from gamesim.sequence.weights import load
from gamesim.shapes import broadcast_shapes


@dataclass(frozen=True)
class Prompted:
    """A prompt as it was read."""

    tokens: Tensor
    """[..., context]; what is not told yet is -1."""
    keys: Tensor
    """[..., block, context, head, d]."""
    values: Tensor
    count: Tensor
    """Tokens of the prompt: a whole number, held by each run."""
    logits: Tensor
    """Of what comes next, [..., token]."""
    off: Tensor
    """Sum over decisions of the probability that the model gave to what is no subgoal, [...]."""
    decisions: Tensor
    """[...]."""

    @property
    def metrics(self) -> dict[str, Tensor]:
        """The mean probability of what is no subgoal, where one was asked for."""
        return {"off_subgoals": self.off / self.decisions.clamp(min=1)}


@dataclass(frozen=True)
class TransformerPlanner(Recipe, Planner, kind="transformer"):
    """A small decoder, pretrained on the world that it plans in; training is done once and kept."""

    weights: str | None = None
    """A file of `gamesim llm pretrain`; trained by its recipe, or taken from the cache, unless given."""
    window: Count | None = None
    """Whole episodes that are told before the current one; all unless given, and a run that is too long is refused."""
    _found: list[tuple[LatentWorld, Pretrained]] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weights is None and self.window is not None and self.window >= self.episodes:
            raise refuse("window", self.window, f"fewer than episodes, {self.episodes}: the current one is told, too")

    @property
    def recipe(self) -> Recipe:
        """How its model is trained."""
        return Recipe(**{f.name: getattr(self, f.name) for f in fields(Recipe)})

    def model(self, world: LatentWorld) -> Pretrained:
        """Its model and vocabulary in a world; long work is announced on stderr."""
        for known, made in self._found:
            if known is world:
                return made
        if self.weights is None:
            made = pretrained(world, self.recipe, lambda text: print(text, file=sys.stderr, flush=True))
        else:
            made = read_model(Path(self.weights), Vocabulary.of(world))
        self._found[:] = [*self._found[-3:], (world, made)]
        return made

    def require(self, world: LatentWorld) -> None:
        made = self.model(world)
        if self.window is not None and self.window >= made.episodes:
            wanted = f"fewer than the {made.episodes} episodes that this model was trained on"
            raise refuse("planner.window", self.window, wanted)

    def require_length(self, episodes: int) -> None:
        most = self.recipe.episodes if self.weights is None else load(self.weights).about.get("episodes")
        if self.window is None and isinstance(most, int) and episodes > most:
            raise self._too_long(f"{episodes} episodes", most)

    def _too_long(self, what: str, most: int) -> Exception:
        more = "" if self.weights else ", or pretrain for more: transformer(episodes=...)"
        wanted = (
            f"a prompt of at most {most} episodes: run fewer, or leave out what is old: "
            f"transformer(window={max(1, most - 1)}){more}"
        )
        return refuse("planner", what, wanted)

    def cautions(self, world: LatentWorld) -> list[str]:
        found = list[str]()
        if self.window is not None:
            found.append(f"planner.window: what is older than {self.window} episodes is left out of the prompt")
        if self.weights is None and self.data == "demonstrations":
            found.append("planner.data: pretrained on demonstrations alone, it takes its own subgoals for an expert's")
        return found

    def begin(self, world: LatentWorld, front: tuple[int, ...]) -> Prompted:
        model = self.model(world).model
        start = torch.full((*front, 1), BOS, device=model.tokens.device)
        logits, memory = model.extend(model.begin(front), start)
        tokens = torch.nn.functional.pad(start, (0, model.context - 1), value=-1)
        zero = torch.zeros(front, **world.like)
        return Prompted(tokens, *memory, logits[..., -1, :], zero, zero)

    def meet(
        self, world: LatentWorld, memory: Prompted, task: Tensor, observation: Tensor, generator: Stream
    ) -> Prompted:
        made = self.model(world)
        told, size = _number(memory.count), made.words.episode
        if self.window is not None and told > 1 + self.window * size:
            memory = self._shortened(made, memory, self.window * size)
        elif told + size > made.model.context:
            raise self._too_long(f"an episode more than {(told - 1) // size}", made.episodes)
        opening = made.words.opening(task, observation)
        return _told(made, memory, opening) if opening.shape[-1] else memory

    def _shortened(self, made: Pretrained, memory: Prompted, size: int) -> Prompted:
        """The last episodes, read anew behind BOS."""
        count, front = _number(memory.count), memory.count.shape
        kept = memory.tokens[..., count - size : count]
        blank = made.model.begin(front)
        fresh = Prompted(torch.full_like(memory.tokens, -1), *blank, memory.logits, memory.off, memory.decisions)
        return _told(made, fresh, torch.nn.functional.pad(kept, (1, 0), value=BOS))

    def law(self, world: LatentWorld, h: int, task: Tensor, memory: Prompted) -> Tensor:
        subgoals = memory.logits[..., self.model(world).words.subgoal_tokens]
        return subgoals.to(world.prior).softmax(-1).unsqueeze(-2)

    def hear(self, world: LatentWorld, h: int, memory: Prompted, subgoal: Tensor, observation: Tensor) -> Prompted:
        made = self.model(world)
        chances = memory.logits.softmax(-1)
        chances[..., made.words.subgoal_tokens] = 0  # what is left is off, without the rounding of one minus a sum
        turn = made.words.turn(subgoal[..., 0], observation)
        heard = _told(made, memory, turn)
        off = memory.off + chances.sum(-1).to(memory.off)
        return Prompted(
            heard.tokens, heard.keys, heard.values, heard.count, heard.logits, off.expand(heard.count.shape),
            (memory.decisions + 1).expand(heard.count.shape),
        )  # fmt: skip


def _told(made: Pretrained, memory: Prompted, new: Tensor) -> Prompted:
    """The prompt with new tokens [..., n] behind it."""
    front, held = broadcast_shapes(new.shape[:-1], memory.count.shape), memory.count.dim()
    new = new.expand(*front, -1).to(memory.tokens.device)
    tokens, keys, values, count, off, decisions = (
        x.expand((*front, *x.shape[held:]))
        for x in (memory.tokens, memory.keys, memory.values, memory.count, memory.off, memory.decisions)
    )
    logits, after = made.model.extend(Memory(keys, values, count), new)
    told = _number(count)
    tokens = torch.cat([tokens[..., :told], new, tokens[..., told + new.shape[-1] :]], -1)
    return Prompted(tokens, *after, logits[..., -1, :], off, decisions)


def _number(x: Tensor) -> int:
    """The whole number that all runs share."""
    return int(x.flatten()[0])
