"""A run with a language model, played again from its transcript: the same prompts, the same answers, no endpoint."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from gamesim.errors import InvalidInput, refuse
from gamesim.games.latent import LatentWorld
from gamesim.parameters import build, check
from gamesim.planning.language.budget import Account, Prices
from gamesim.planning.language.calls import Persistence, tally
from gamesim.planning.language.model import Conversation, LanguageModel
from gamesim.planning.language.sessions import TRANSCRIPT, Session, header_of, reader
from gamesim.planning.language.text import system
from gamesim.planning.language.transcripts import Recorded, Transcript, read_transcript, require_same
from gamesim.planning.planner import Planner, Proposal
from gamesim.randomness import Stream


@dataclass(frozen=True)
class Replay(Planner):
    """What a model said in a run on disk, prompt by prompt; other prompts are refused, with what differs."""

    file: str = ""
    """The transcript of a run with the planner openai, .jsonl, or the folder of that run."""

    def __post_init__(self) -> None:
        check(self)

    @property
    def has_law(self) -> bool:  # type: ignore[override]
        return self._planner().mode == "logprobs"

    def require(self, world: LatentWorld) -> None:
        planner, recorded = self._planner(), self._recorded()
        require_same(recorded.header, header_of(planner, world, system(world, planner.mode == "logprobs")), self.file)

    def begin(self, world: LatentWorld, front: tuple[int, ...]) -> Conversation:
        self.require(world)
        planner, recorded = self._planner(), self._recorded()
        planner.__dict__["_replayed"] = Transcript.of(recorded, self.file)  # so that it never asks anybody
        planner._replace(Session.open(planner, world, planner.__dict__["_replayed"]))
        return planner.empty(world, front)

    def meet(
        self, world: LatentWorld, memory: Conversation, task: Tensor, observation: Tensor, generator: Stream
    ) -> Conversation:
        return self._planner().meet(world, memory, task, observation, generator)

    def law(self, world: LatentWorld, h: int, task: Tensor, memory: Conversation) -> Tensor:
        return self._planner().law(world, h, task, memory)

    def propose(
        self, world: LatentWorld, h: int, task: Tensor, memory: Conversation, generator: Stream,
        needed: Tensor | None = None,
    ) -> Proposal:  # fmt: skip
        return self._planner().propose(world, h, task, memory, generator, needed)

    def hear(
        self, world: LatentWorld, h: int, memory: Conversation, subgoal: Tensor, observation: Tensor
    ) -> Conversation:
        return self._planner().hear(world, h, memory, subgoal, observation)

    @property
    def account(self) -> Account:
        """What the run on disk has used."""
        return self._planner().account

    def _recorded(self) -> Recorded:
        return self._read()[0]

    def _planner(self) -> LanguageModel:
        return self._read()[1]

    def _read(self) -> tuple[Recorded, LanguageModel]:
        """The transcript and the planner that made it, read once."""
        if "_both" not in self.__dict__:
            if not self.file:
                raise refuse("file", self.file, "the transcript of a run, as replay(file=runs/NAME/transcript.jsonl)")
            self.__dict__["_both"] = recorded_run(self.file)
        both: tuple[Recorded, LanguageModel] = self.__dict__["_both"]
        return both


def recorded_run(file: Path | str) -> tuple[Recorded, LanguageModel]:
    """A transcript, or that of a run's folder, and the planner that made it."""
    path = Path(file)
    try:
        path = path / TRANSCRIPT if path.is_dir() else path
    except ValueError:  # a NUL in it
        raise refuse("file", str(path), "a transcript, or the folder of a run") from None
    recorded = read_transcript(path)
    made, subgoals = recorded.header.get("planner"), recorded.header.get("subgoals")
    if not isinstance(made, dict) or not isinstance(recorded.header.get("request"), dict):
        raise InvalidInput(f"{path}: it has no header, so it is no transcript of a run")
    if not isinstance(subgoals, list) or not subgoals or not all(isinstance(name, str) for name in subgoals):
        raise InvalidInput(f"{path}: its header names no subgoals")
    return recorded, build(LanguageModel, made, what="openai")


def usage(file: Path | str, prices: Prices | None = None) -> dict[str, Any]:
    """What a run has used, from its transcript: calls, tokens, seconds, invalid answers, and dollars."""
    recorded, planner = recorded_run(file)
    account = Account(prices=prices or Prices())
    persistence = Persistence(planner.retries, planner.reasks)
    read = reader(planner.mode, tuple(recorded.header["subgoals"]))
    header = recorded.header
    about = {"model": header["request"].get("model"), "base_url": planner.base_url, "mode": planner.mode}
    runs = {"runs": len({place.run for place in recorded.lines})}
    return about | runs | tally(recorded, read, persistence, account).plain()
