"""A language model at work in a world: prompts from what was heard, decisions from what was answered."""

import itertools
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

import gamesim
from gamesim.errors import Caution, InvalidInput
from gamesim.games.latent import LatentWorld
from gamesim.parameters import plain
from gamesim.planning.history import History
from gamesim.planning.language import text
from gamesim.planning.language.abilities import served
from gamesim.planning.language.budget import Account, Budget, Prices
from gamesim.planning.language.calls import Asker, Persistence, Question, tally
from gamesim.planning.language.endpoint import Answer, Endpoint
from gamesim.planning.language.parsing import Names, labelled
from gamesim.planning.language.transcripts import KEPT, Place, Transcript
from gamesim.planning.wrappers import Nucleus, Tempered

if TYPE_CHECKING:
    from gamesim.planning.language.model import LanguageModel

TRANSCRIPT = "transcript.jsonl"


class Decisions(NamedTuple):
    """What came of one decision of all runs."""

    law: Tensor | None
    """[..., k, g]; of the exploration law where nothing valid came."""
    choice: Tensor
    """The subgoals that were named, [..., k]; -1 where none was."""
    calls: Tensor
    tokens: Tensor


class Session:
    """A planner at work in a world: the connection, the transcript, the account."""

    def __init__(
        self, planner: "LanguageModel", world: LatentWorld, asker: Asker, read: Callable[[Answer], Any]
    ) -> None:
        self.planner, self.world, self.asker, self.read = planner, world, asker, read
        self._last: tuple[Any, Decisions] | None = None
        self._warned = False

    @classmethod
    def open(cls, planner: "LanguageModel", world: LatentWorld, replayed: Transcript | None = None) -> "Session":
        """Check the endpoint, what it serves and what it can do; or none, where a transcript answers."""
        planner.require(world)
        endpoint, transcript, form = None, replayed, ""
        account = Account(
            Budget(planner.max_calls, planner.max_tokens, planner.max_cost), Prices(planner.price_in, planner.price_out)
        )
        kept = KEPT.get()
        if kept is not None:
            kept.accounts.append(account)
        system = text.system(world, planner.mode == "logprobs")
        if transcript is None:
            endpoint = Endpoint(planner.base_url, planner.key_env, planner.timeout, planner.transport)
            model = served(endpoint, planner.model)
            form = planner.prepared(endpoint, model)
            header = header_of(planner, world, system) | {
                "request": planner.request(form, world.subgoals) | {"model": model}
            }
            path = planner.transcript or (None if kept is None else kept.folder / TRANSCRIPT)
            transcript = Transcript(path, header)
        read = reader(planner.mode, world.subgoals)
        persistence = Persistence(planner.retries, planner.reasks, planner.backoff)
        tally(transcript.recorded, read, persistence, account)
        asker = Asker(endpoint, transcript, account, dict(transcript.recorded.header["request"]), system,
                      again(planner.mode, world.subgoals), persistence, planner.concurrency)  # fmt: skip
        return cls(planner, world, asker, read)

    def close(self) -> None:
        self.asker.transcript.close()
        if self.asker.endpoint is not None:
            self.asker.endpoint.close()

    def decide(self, h: int, past: History, needed: Tensor | None = None) -> Decisions:
        """What the model says to each run at decision h; runs that need nothing are not asked."""
        front, actors, count = tuple(past.count.shape), self.world.actors, len(self.world.subgoals)
        wanted = torch.ones(front, dtype=torch.bool) if needed is None else needed.expand(front).cpu()
        here = (past.episodes, h, front)
        if self._last is not None and self._last[0] == here:
            return self._last[1]
        runs = list(itertools.product(*map(range, front)))
        places = [(i, index, k) for i, index in enumerate(runs) if wanted[index] for k in range(actors)]
        questions = [
            Question(Place(i, past.episodes - 1, h, k), self._prompt(past, index, k), self._seed(index))
            for i, index, k in places
        ]
        found = self.asker.ask(questions, self.read)
        calls, tokens = torch.zeros(len(runs)), torch.zeros(len(runs))
        choice = torch.zeros(len(runs), actors, dtype=torch.long)  # who is not asked does not fall back either
        explore = self.world.explore(h, latest(past)).expand(*front, actors, count).reshape(len(runs), actors, count)
        law = explore.clone()
        for (i, _, k), each in zip(places, found, strict=True):
            calls[i] += each.calls
            tokens[i] += each.tokens
            if each.found is None:
                choice[i, k] = -1
            elif self.planner.mode == "logprobs":
                law[i, k] = decoded_law(torch.tensor(each.found).to(law), self.planner)
            else:
                choice[i, k] = each.found
        like = explore.device
        decisions = Decisions(
            law.reshape(*front, actors, count) if self.planner.mode == "logprobs" else None,
            choice.reshape(*front, actors).to(like),
            calls.reshape(front).to(explore),
            tokens.reshape(front).to(explore),
        )  # fmt: skip
        self._last = here, decisions
        return decisions

    def _seed(self, index: tuple[int, ...]) -> int:
        """The seed of a run; those of a batch come first among its dimensions."""
        seeds = self.asker.transcript.recorded.seeds or [0]
        return seeds[index[0] if index and len(seeds) > 1 else 0]

    def spent(self, h: int, past: History) -> Decisions | None:
        """What the decision that was just taken came to, if anybody was asked."""
        here = (past.episodes, h, tuple(past.count.shape))
        return self._last[1] if self._last is not None and self._last[0] == here else None

    def _prompt(self, past: History, index: tuple[int, ...], actor: int) -> str:
        """The prompt of a run: in fewer words, or of fewer episodes, where it is too long; empty if it is even then."""
        planner, window = self.planner, self.planner.window
        while True:
            try:
                told = text.told(self.world, past, index, actor, planner.history, window, planner.longest,
                                 planner.mode == "logprobs")  # fmt: skip
            except InvalidInput:
                window = (past.kept - 1 if window is None else min(window, past.kept - 1)) // 2 if window != 0 else -1
                if window >= 0:
                    continue
                told = None
            if told is None or told.shortened or window != planner.window:
                self.asker.account.shortened += 1
                if not self._warned:
                    self._warned = True
                    words = (
                        f"planner.longest: prompts grow beyond {planner.longest} characters; the past is told in fewer"
                    )
                    warnings.warn(f"{words} words or episodes, which is counted", Caution, stacklevel=2)
            return "" if told is None else told.text


def header_of(planner: "LanguageModel", world: LatentWorld, system: str) -> dict[str, Any]:
    """What a transcript says of its world and planner."""
    return {
        "gamesim": gamesim.__version__,
        "world": plain(world),
        "planner": planner.answering(),
        "subgoals": list(world.subgoals),
        "system": system,
    }


def latest(past: History) -> Tensor:
    """The last report of each run, [...]."""
    place = past.kept - 1
    return past.observations[..., place, past.decisions - 1] if past.decisions else past.first[..., place]


def decoded_law(weights: Tensor, planner: "LanguageModel") -> Tensor:
    """The law of subgoals by their weights, decoded as the planner says."""
    law = weights / weights.sum()
    if planner.temperature != 1:
        law = Tempered(temperature=planner.temperature).changed(law)
    return Nucleus(top_p=planner.top_p).changed(law) if planner.top_p < 1 else law


def reader(mode: str, subgoals: tuple[str, ...]) -> Callable[[Answer], Any]:
    """What makes a subgoal of an answer, or weights of all subgoals; None of what is neither."""
    if mode != "logprobs":
        names = Names(tuple(subgoals))
        return lambda answer: names.find(answer.text)
    labels = text.LABELS[: len(subgoals)]

    def weights(answer: Answer) -> list[float] | None:
        found = labelled(answer.logprobs, labels)
        return found if sum(found) > 0 else None

    return weights


def again(mode: str, subgoals: tuple[str, ...]) -> str:
    """What is said after an answer that was not understood."""
    if mode == "logprobs":
        return f"Answer with one letter from {text.LABELS[0]} to {text.LABELS[len(subgoals) - 1]}, and nothing else."
    names = "\n".join(f"- {name}" for name in subgoals)
    return f"That names no subgoal, or several. Answer with exactly one line of these, and nothing else:\n{names}"
