"""A language model as a planner: any endpoint that speaks OpenAI's protocol, here or elsewhere.

    gamesim llm serve MODEL                                                          one of our own, on this machine
    gamesim run latent/needle bail -g boxes=8 --iterations 24 --seeds 12 \\
        -s "planner=openai(base_url=http://127.0.0.1:8000/v1, model=gamesim)"

Each decision of each run is one prompt: the place and its subgoals, what happened so far, and the question. Modes:

    sample     a text is asked for, in which a subgoal is looked for; what the model says is drawn by the server
    logprobs   subgoals have letters; one token is asked for, and the log-probabilities of letters are the law
    guided     as sample, where the server is told to choose among subgoals (vLLM), if it can

An answer that names no subgoal is asked for again, `reasks` times, with what was wrong; then the world's exploration
law decides, which is counted (`fallbacks`). Nothing that comes from an endpoint ends a run.

Endpoints do not honour seeds, so a run is repeated from its transcript: every call is written down, the planner
replay(file=...) plays it again to the last bit, and a run that goes on asks nothing twice. That history is summed up
for the model unless asked otherwise: without it models hardly explore (Krishnamurthy et al., "Can large language models
explore in-context?", NeurIPS 2024, arXiv 2403.15371).
"""

import warnings
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor

from gamesim.errors import Caution, refuse
from gamesim.games.latent import LatentWorld, shared
from gamesim.parameters import Bounds, Count, check, plain
from gamesim.planning.history import History
from gamesim.planning.language import text
from gamesim.planning.language.abilities import choosing, form_of_choosing, gives_logprobs
from gamesim.planning.language.addresses import LOCAL, require_address, require_variable
from gamesim.planning.language.budget import Account
from gamesim.planning.language.endpoint import Endpoint
from gamesim.planning.language.parsing import Names
from gamesim.planning.language.sessions import Session, latest
from gamesim.planning.planner import Planner, Proposal
from gamesim.randomness import Stream
from gamesim.simplex import drawn

NonNegative = Annotated[float, Bounds("a number of at least 0", 0)]
Positive = Annotated[float, Bounds("a number above 0", 0, low_open=True)]
Share = Annotated[float, Bounds("a number above 0 and at most 1", 0, 1, low_open=True)]
Few = Annotated[int, Bounds("a whole number from 0 to 20", 0, 20)]
Threads = Annotated[int, Bounds("a whole number from 1 to 256", 1, 256)]
ANSWERING = (
    "model", "base_url", "mode", "temperature", "top_p", "history", "window", "remembered", "longest", "reply_tokens",
    "top_logprobs", "reasks", "retries",
)  # fmt: skip
"""The parameters that a run must share with its transcript: what is asked, and what is made of it."""


@dataclass(frozen=True)
class Conversation:
    """What a run heard, and what asking has taken so far, [...] each."""

    past: History
    calls: Tensor
    tokens: Tensor
    fallbacks: Tensor
    """Subgoals that the exploration law said instead."""

    @property
    def metrics(self) -> dict[str, Tensor]:
        return {"calls": self.calls, "tokens": self.tokens, "fallbacks": self.fallbacks}


@dataclass(frozen=True)
class LanguageModel(Planner, kind="openai"):
    """An endpoint, a mode, how the past is told, and what may be spent."""

    model: str = ""
    """Its name there; left out, the one model that is served."""
    base_url: str = LOCAL
    """The endpoint: https://..., or http on this machine."""
    mode: Literal["sample", "logprobs", "guided"] = "sample"
    """What is asked for: a text, the law of one letter, or a text that the server chooses from the list."""
    temperature: NonNegative = 1.0
    """Of sampling: the server's, or in mode logprobs ours."""
    top_p: Share = 1.0
    """Sample from the likeliest tokens of so much probability; in mode logprobs, from the likeliest subgoals."""
    history: text.Style = "summary"
    """How the past is told: summary (alike episodes together), counts (what came after what) or raw (one by one)."""
    window: Count | None = None
    """Tell so many episodes before the current one; all that are remembered unless given."""
    remembered: Count = 1000
    """Episodes that are kept at all, the current one among them."""
    longest: Count = 100_000
    """Characters of a prompt; beyond, the past is told in fewer words, and then fewer episodes, which is counted."""
    reply_tokens: Count = 64
    """The most tokens of a reply; a model that thinks aloud needs more."""
    top_logprobs: Annotated[int, Bounds("a whole number from 1 to 100", 1, 100)] = 20
    """Log-probabilities that the endpoint gives; there can be no more subgoals than that in mode logprobs."""
    concurrency: Threads = 8
    """Requests under way at once."""
    retries: Few = 4
    """Times that a request which failed is made again."""
    reasks: Few = 2
    """Times that a model is asked again after an answer that names no subgoal."""
    timeout: Positive = 60.0
    """Seconds for an answer."""
    backoff: NonNegative = 0.5
    """Seconds before a request that failed is made again; doubled each time."""
    max_calls: Count | None = None
    """The most requests of a whole run, all seeds together."""
    max_tokens: Count | None = None
    """The most tokens of a whole run, prompts and replies."""
    max_cost: Positive | None = None
    """The most dollars of a whole run, by these prices:"""
    price_in: NonNegative = 0.0
    """Dollars for a million tokens of prompts."""
    price_out: NonNegative = 0.0
    """Dollars for a million tokens of replies."""
    transcript: str | None = None
    """A file for every call, .jsonl; the run's folder unless given. One that is there is continued."""
    key_env: str = "OPENAI_API_KEY"
    """The environment variable that holds the key; nowhere else is one taken from, or written."""

    transport: ClassVar[Any] = None
    """What carries requests instead of the network, in tests."""

    def __post_init__(self) -> None:
        check(self)
        require_variable(self.key_env)
        object.__setattr__(self, "base_url", require_address(self.base_url))
        if self.max_cost is not None and self.price_in + self.price_out == 0:
            raise refuse(
                "max_cost", self.max_cost, "prices to count by: price_in, price_out, dollars for a million tokens"
            )

    asks = True

    @property
    def has_law(self) -> bool:  # type: ignore[override]
        return self.mode == "logprobs"

    def require(self, world: LatentWorld) -> None:
        text.checked(world)
        count = len(world.subgoals)
        most = min(self.top_logprobs, len(text.LABELS))
        if self.mode == "logprobs" and count > most:
            wanted = (
                f"at most {most}, of which an endpoint tells log-probabilities (top_logprobs); or mode=sample, guided"
            )
            raise refuse("subgoals", count, wanted)
        _ = Names(world.subgoals).pattern

    def begin(self, world: LatentWorld, front: tuple[int, ...]) -> Conversation:
        self._replace(Session.open(self, world))
        return self.empty(world, front)

    def empty(self, world: LatentWorld, front: tuple[int, ...]) -> Conversation:
        """The memory of who has heard and asked nothing."""
        zero = torch.zeros(front, **world.like)
        return Conversation(History.empty(world, front, self.remembered), zero, zero, zero)

    def meet(
        self, world: LatentWorld, memory: Conversation, task: Tensor, observation: Tensor, generator: Stream
    ) -> Conversation:
        past = memory.past.met(task, observation)
        front = past.count.shape
        return Conversation(
            past, memory.calls.expand(front), memory.tokens.expand(front), memory.fallbacks.expand(front)
        )

    def law(self, world: LatentWorld, h: int, task: Tensor, memory: Conversation) -> Tensor:
        if not self.has_law:
            raise refuse("mode", self.mode, "logprobs: only then is the law of what a model says known")
        law = self.session(world).decide(h, memory.past).law
        assert law is not None
        return law

    def propose(
        self, world: LatentWorld, h: int, task: Tensor, memory: Conversation, generator: Stream,
        needed: Tensor | None = None,
    ) -> Proposal:  # fmt: skip
        session = self.session(world)
        seeds = generator.seeds
        session.asker.transcript.require_seeds([seeds] if isinstance(seeds, int) else list(seeds))
        found = session.decide(h, memory.past, needed)
        front, actors = found.choice.shape[:-1], world.actors
        u = shared(generator, front, actors).expand(*front, actors)
        law = found.law if found.law is not None else world.explore(h, latest(memory.past))
        subgoal = drawn(law, u)
        if found.law is None:
            subgoal = torch.where(found.choice >= 0, found.choice, subgoal)
        return Proposal(subgoal, found.law, (found.choice < 0).sum(-1))

    def hear(
        self, world: LatentWorld, h: int, memory: Conversation, subgoal: Tensor, observation: Tensor
    ) -> Conversation:
        spent = self.session(world).spent(h, memory.past)
        past = memory.past.heard(h, subgoal, observation)
        if spent is None:
            return Conversation(past, memory.calls, memory.tokens, memory.fallbacks)
        lost = (spent.choice < 0).sum(-1)
        return Conversation(past, memory.calls + spent.calls, memory.tokens + spent.tokens, memory.fallbacks + lost)

    def session(self, world: LatentWorld) -> Session:
        """The connection of the run under way; `begin` makes a new one."""
        found: Session | None = self.__dict__.get("_session")
        if found is None or found.world is not world:
            self._replace(found := Session.open(self, world, self.__dict__.get("_replayed")))
        return found

    def _replace(self, session: Session) -> None:
        before: Session | None = self.__dict__.get("_session")
        if before is not None:
            before.close()
        self.__dict__["_session"] = session

    @property
    def account(self) -> Account:
        """What the run so far, or the last one, has used."""
        session: Session | None = self.__dict__.get("_session")
        return Account() if session is None else session.asker.account

    def request(self, form: str, subgoals: tuple[str, ...]) -> dict[str, Any]:
        """A request without its messages."""
        if self.mode == "logprobs":  # decoded here, so that one law serves all temperatures
            return {"model": self.model, "max_tokens": 1, "logprobs": True, "top_logprobs": self.top_logprobs}
        sampled = {"model": self.model, "max_tokens": self.reply_tokens, "temperature": self.temperature}
        sampled |= {"top_p": self.top_p} if self.top_p < 1 else {}
        return sampled | ({"extra_body": choosing(form, subgoals)} if form else {})

    def prepared(self, endpoint: Endpoint, model: str) -> str:
        """How an endpoint is told to choose from a list, if it is; refused where the mode needs more."""
        if self.mode == "logprobs":
            answer = gives_logprobs(endpoint, model)
            if not answer.logprobs:
                why = answer.error or answer.status
                raise refuse("mode", self.mode, f"sample: {endpoint.address} gives no log-probabilities ({why})")
        form = form_of_choosing(endpoint, model) if self.mode == "guided" else ""
        if form == "none":
            words = (
                f"planner: {endpoint.address} does not choose from a list; its answers are parsed, as in mode=sample"
            )
            warnings.warn(words, Caution, stacklevel=2)
        return form if form != "none" else ""

    def answering(self) -> dict[str, Any]:
        """Its parameters that settle what is asked, and what is made of it."""
        said: dict[str, Any] = plain(self)
        return {name: said[name] for name in ANSWERING}
