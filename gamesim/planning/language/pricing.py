"""What a run with a language model will take, before it is made: calls, tokens, dollars.

A run of the exact planner is played, and the prompts that a language model would have been sent are counted. Episodes
that explore ask nothing, answers that are not understood are asked for again: both are left out.
"""

from dataclasses import asdict, dataclass
from typing import Any

from gamesim.games.latent import LatentWorld, shared
from gamesim.planning.exact import Bail
from gamesim.planning.history import History
from gamesim.planning.language import text
from gamesim.planning.language.budget import Prices, tokens_of
from gamesim.planning.language.model import LanguageModel
from gamesim.randomness import Stream
from gamesim.simplex import drawn

PLAYED = 1000
"""Episodes, at most; a prompt of later ones is taken to be as long as that of the last."""


@dataclass(frozen=True)
class Estimate:
    """Of a whole run."""

    calls: int
    prompt_tokens: int
    reply_tokens: int
    """As many as replies may have."""
    first_prompt: int
    """Tokens."""
    last_prompt: int
    cost: float
    """Dollars, if replies are as long as they may be."""

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def estimated(world: LatentWorld, planner: LanguageModel, episodes: int, runs: int = 1) -> Estimate:
    """What `runs` runs of so many episodes take, at a quarter of a token for each byte."""
    planner.require(world)
    stream, exact, front = Stream([0]), Bail(), (1,)
    memory, past = exact.begin(world, front), History.empty(world, front, planner.remembered)
    latent = drawn(world.truth_law, shared(stream, front, 1)[..., 0])
    system = tokens_of(text.system(world, planner.mode == "logprobs"))
    sizes = list[int]()
    for t in range(min(episodes, PLAYED)):
        luck = stream.at(t + 1)
        task = drawn(world.task_law, shared(luck, front, 1)[..., 0])
        state, report = world.open(latent, shared(luck, front, 2))
        memory, past = exact.meet(world, memory, task, report, luck), past.met(task, report)
        size = 0
        for h in range(world.horizon):
            for k in range(world.actors):
                told = text.told(
                    world, past, (0,), k, planner.history, planner.window, None, planner.mode == "logprobs"
                )
                size += system + min(tokens_of(told.text), -(-planner.longest // 4))
            subgoal = exact.propose(world, h, task, memory, luck).subgoal
            state, report = world.move(h, latent, state, subgoal, shared(luck, front, 2))
            memory, past = exact.hear(world, h, memory, subgoal, report), past.heard(h, subgoal, report)
        sizes.append(size)
    each = world.horizon * world.actors
    calls = runs * episodes * each
    prompt = runs * (sum(sizes) + (episodes - len(sizes)) * sizes[-1])
    reply = calls * (1 if planner.mode == "logprobs" else planner.reply_tokens)
    cost = Prices(planner.price_in, planner.price_out).cost(prompt, reply)
    return Estimate(calls, prompt, reply, sizes[0] // each, sizes[-1] // each, cost)
