"""Faults on the wire: each is told for what it is, none loses a run, and every fallback is counted."""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch

import gamesim as gs
from gamesim.algorithms.bail import BAIL
from gamesim.envs.latent.needle import Needle
from gamesim.errors import InvalidInput
from gamesim.planning import Bail, History
from gamesim.planning.language.faults import FAULTS, Faults
from gamesim.planning.language.parsing import Names
from gamesim.planning.language.server import serve
from gamesim.planning.language.text import prompt, system

pytest.importorskip("openai", reason="the extra llm is not installed")

from gamesim.planning.language.endpoint import Answer, Endpoint
from gamesim.planning.language.model import LanguageModel

WORLD = Needle(boxes=6)
STATUS = {
    "429": "rate-limited",
    "500": "server-error",
    "503": "server-error",
    "timeout": "timeout",
    "slow": "timeout",
    "reset": "unreachable",
    "truncated": "unreachable",
    "broken-json": "broken",
    "not-utf8": "broken",
    "html": "broken",
    "redirect": "redirected",
    "null-choices": "broken",
    "no-choices": "broken",
    "huge": "too-large",
    "content-type": "ok",
    "null-content": "empty",
    "empty": "empty",
    "unknown": "ok",
    "prose": "ok",
}
"""What a client should make of each fault."""


@pytest.fixture(scope="module")
def text() -> str:
    zero = torch.tensor(0)
    return prompt(WORLD, History.empty(WORLD, (), 1).met(zero, zero))


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return


def ask(endpoint: Endpoint, text: str) -> Answer:
    messages = [{"role": "system", "content": system(WORLD)}, {"role": "user", "content": text}]
    return endpoint.ask({"model": "gamesim", "messages": messages})


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_told_for_what_it_is(name: str, text: str) -> None:
    faults = Faults({name: 1.0}, hang=3.0 if name == "slow" else 1.0)
    # a slow answer comes in pieces of 16 bytes, three tenths of a second apart: no wait is long, and the whole is
    with serve(Bail(), WORLD, faults=faults) as server:
        endpoint = Endpoint(server.url, timeout=0.5 if STATUS[name] == "timeout" else 20.0)
        answer = ask(endpoint, text)
        endpoint.close()
    assert answer.status == STATUS[name], answer
    assert faults.log == [(0, name)]
    assert faults.count() == faults.count(FAULTS[name].effect) == 1
    understood = answer.status == "ok" and Names(WORLD.subgoals).find(answer.text) is not None
    assert understood == (FAULTS[name].effect == "harmless")


def test_nobody_follows_a_redirection(text: str) -> None:
    with serve(Bail(), WORLD) as trap:
        faults = Faults({"redirect": 1.0}, elsewhere=f"{trap.url}/chat/completions")
        with serve(Bail(), WORLD, faults=faults) as server:
            endpoint = Endpoint(server.url, timeout=20.0)
            assert ask(endpoint, text).status == "redirected"
            endpoint.close()
        assert next(trap.requests) == 0


def test_a_plan_is_settled_by_its_seed() -> None:
    plan = Faults.parse(["429=0.2", "empty=0.1"], seed=3)
    drawn = [plan.at(n) for n in range(400)]
    assert drawn == [Faults.parse(["429=0.2", "empty=0.1"], seed=3).at(n) for n in range(400)]
    often = Counter(drawn)
    assert abs(often["429"] / 400 - 0.2) < 0.08
    assert abs(often["empty"] / 400 - 0.1) < 0.06
    assert drawn != [Faults.parse(["429=0.2", "empty=0.1"], seed=4).at(n) for n in range(400)]
    assert plan.log == []
    assert set(Faults.parse(["0.19"]).chances.values()) == {0.19 / len(FAULTS)}
    for given, wanted in {
        "x=0.1": "fault: got 'x', expected one of",
        "much": "name=probability, or one probability",
        "429=2": "fault 429: got 2.0, expected a probability",
        "1.5": "sum to 1 at most|a probability",
    }.items():
        with pytest.raises(InvalidInput, match=wanted):
            Faults.parse([given])


def run(seeds: int, episodes: int, timeout: float, wanted: int) -> tuple[Faults, LanguageModel]:
    """Runs against a server that breaks half of all requests; everything must add up."""
    faults = Faults.parse(["0.5"], seed=1, hang=4 * timeout)
    with serve(Bail(), WORLD, faults=faults) as server:
        planner = LanguageModel(base_url=server.url, timeout=timeout, backoff=0.002, concurrency=32)
        result = gs.solve(WORLD, BAIL(planner=planner), iterations=episodes, seeds=seeds, every=1)
        received = next(server.requests)
        planner.session(WORLD).close()
    account = planner.account
    statuses, injected = account.statuses, Counter(STATUS[name] for _, name in faults.log)
    # no request is lost on the way to the account, and no fault is taken for an answer
    assert account.calls == sum(statuses.values()) == received
    assert len(faults.log) >= wanted
    for status in {*statuses, *injected} - {"ok", "timeout"}:
        assert statuses[status] <= injected[status]
    # a busy machine may let other answers run out of time as well, and then they are counted as that
    assert sum(statuses.values()) - statuses["ok"] >= sum(injected.values()) - injected["ok"]
    # no run is lost: every decision was taken, and those without an answer are counted, the same number everywhere
    assert account.decisions == seeds * episodes
    assert account.refused == 0
    invalid, fallbacks = (result.metric(name)[:, -1] for name in ("invalid", "fallbacks"))
    assert int(invalid.sum()) == int(fallbacks.sum()) == account.invalid
    unknown = sum(name == "unknown" for _, name in faults.log)
    assert statuses["ok"] - unknown <= account.decisions - account.invalid <= statuses["ok"]
    assert bool((torch.as_tensor(result.metric("regret")).diff(dim=-1) >= 0).all())
    return faults, planner


def test_a_run_with_faults_loses_nothing() -> None:
    faults, _ = run(seeds=16, episodes=2, timeout=0.4, wanted=15)
    assert all(a < b for (a, _), (b, _) in pairwise(sorted(faults.log)))


@pytest.mark.slow
def test_a_thousand_faults_lose_nothing() -> None:
    faults, planner = run(seeds=560, episodes=2, timeout=0.5, wanted=1000)
    assert {name for _, name in faults.log} == set(FAULTS)
    assert planner.account.invalid <= 40
