"""Language models as planners: whatever an endpoint does, runs end, count it, repeat, and never show the key."""

import json
import re
import shutil
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gamesim import cli
from gamesim.algorithms.bail import BAIL
from gamesim.cli import llm as _llm  # noqa: F401
from gamesim.envs.latent.many_actors import ManyActors
from gamesim.envs.latent.needle import Needle
from gamesim.errors import Caution, InvalidInput
from gamesim.loop import Result, solve
from gamesim.parameters import convert, plain
from gamesim.planning.exact import Bail
from gamesim.planning.exploration import Constant
from gamesim.planning.language import sessions
from gamesim.planning.language.abilities import FORMS
from gamesim.planning.language.addresses import require_address
from gamesim.planning.language.calls import Persistence
from gamesim.planning.language.endpoint import LARGEST, RETRIED, Answer, Endpoint
from gamesim.planning.language.faults import Faults
from gamesim.planning.language.model import LanguageModel
from gamesim.planning.language.pricing import estimated
from gamesim.planning.language.replay import Replay, usage
from gamesim.planning.language.server import serve
from gamesim.planning.language.transcripts import Place, kept_in, read_transcript
from gamesim.planning.planner import Planner
from gamesim.states import tensors
from gamesim.traces import Snapshot

WORLD = Needle(boxes=4)
KEY = "sk-canary-0123456789abcdef"
Reply = Callable[[dict[str, Any]], Answer]


class Fake(Endpoint):
    """An endpoint of this process: a function of the request, no package, no network."""

    def __init__(self, reply: Reply, seconds: Callable[[dict[str, Any]], float] = lambda request: 0.0) -> None:
        self.address, self.reply, self.seconds = "http://127.0.0.1:1/v1", reply, seconds
        self.asked = list[dict[str, Any]]()
        self.lock = threading.Lock()

    def models(self) -> list[str]:
        return ["fake"]

    def ask(self, request: Mapping[str, Any]) -> Answer:
        with self.lock:
            self.asked.append(dict(request))
        time.sleep(self.seconds(dict(request)))
        return self.reply(dict(request))

    def try_out(self, model: str, **more: Any) -> Answer:
        return Answer("ok", "quartz", (("A", -0.1),))

    def close(self) -> None:
        pass


def lot(request: dict[str, Any]) -> int:
    """A number that the request settles: whatever comes first, its answer is the same."""
    return zlib.crc32(json.dumps([request["messages"], request["seed"]]).encode())


def some_box(request: dict[str, Any]) -> Answer:
    return Answer("ok", f"Open box {1 + lot(request) % 4}!", (), 10, 2)


def moody(request: dict[str, Any]) -> Answer:
    """Right, wrong and failing answers, as the request settles; failures pass, the third time at the latest."""
    n = lot(request) % 10
    if n < 4 and len(request["messages"]) < 4:
        return Answer("ok" if n else "empty", "open box 1 or open box 2" if n else "", (), 10, 2)
    return some_box(request)


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Fake]:
    def use(reply: Reply, **more: Any) -> Fake:
        fake = Fake(reply, **more)
        monkeypatch.setattr(sessions, "Endpoint", lambda *given: fake)
        return fake

    return use


def run(planner: Planner, episodes: int = 5, seeds: int = 4, world: Any = WORLD, **more: Any) -> Result:
    return solve(world, BAIL(planner=planner, **more), iterations=episodes, seeds=seeds, every=episodes)


def model(**given: Any) -> LanguageModel:
    return LanguageModel(**{"backoff": 0.0, **given})


def same(one: Result, other: Result) -> bool:
    names = one.trace.metrics.keys()
    return names == other.trace.metrics.keys() and all(torch.equal(one.metric(n), other.metric(n)) for n in names)


def last(result: Result, name: str) -> list[float]:
    found: list[float] = result.metric(name)[:, -1].tolist()
    return found


# --- what is said ---------------------------------------------------------------------------------------------------


def test_results_do_not_depend_on_the_order_of_answers(faked: Any, tmp_path: Path) -> None:
    faked(moody)
    one = run(model(concurrency=1))
    fake = faked(moody, seconds=lambda request: 0.004 * (3 - lot(request) % 4))
    many = run(model(concurrency=8, transcript=str(tmp_path / "t.jsonl")))
    assert same(one, many)
    assert sum(last(many, "calls")) == len(fake.asked) > 20  # some were asked again
    assert sum(last(many, "tokens")) == 12 * len(fake.asked)
    found = usage(tmp_path / "t.jsonl")
    assert (found["calls"], found["decisions"], found["invalid"]) == (len(fake.asked), 20, 0)


def test_runs_replay_bit_for_bit_and_go_on_where_they_were(faked: Any, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    planner = model(transcript=str(path))
    fake = faked(moody)
    whole = run(planner)
    many = len(fake.asked)
    faked(lambda request: pytest.fail("a replay asks nobody"))
    replayed = run(Replay(str(path)))
    assert same(whole, replayed)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[: len(lines) // 2]) + lines[len(lines) // 2][:20])
    kept = len(read_transcript(path).lines)
    with pytest.raises(InvalidInput, match=r"it ends before run \d, episode \d"):
        run(Replay(str(path)))
    fake = faked(moody)
    assert same(whole, run(planner))
    assert len(fake.asked) == many - kept > 0
    assert len(read_transcript(path).lines) == many
    assert planner.account.calls == many
    with pytest.raises(InvalidInput, match="seeds"):
        run(Replay(str(path)), seeds=3)
    with pytest.raises(InvalidInput, match=r"world\.boxes 4 there and 5 here"):
        run(Replay(str(path)), world=Needle(boxes=5))
    with pytest.raises(InvalidInput, match=r"planner\.window None there and 2 here"):
        run(model(transcript=str(path), window=2))


def test_a_run_that_was_stopped_goes_on_from_its_checkpoint(faked: Any, tmp_path: Path) -> None:
    planner = model(transcript=str(tmp_path / "t.jsonl"))
    fake = faked(moody)
    half = run(planner, episodes=3)
    many = len(fake.asked)
    snapshot = Snapshot(3, tensors(half.state), half.trace)
    rest = solve(WORLD, BAIL(planner=planner), iterations=5, seeds=4, every=5, resume=snapshot)
    asked = len(fake.asked)
    assert len({(json.dumps(r["messages"]), r["seed"]) for r in fake.asked[many:]}.intersection(
        {(json.dumps(r["messages"]), r["seed"]) for r in fake.asked[:many]})) == 0  # fmt: skip
    faked(moody)
    whole = run(model())
    assert all(last(whole, name) == last(rest, name) for name in whole.trace.metrics)
    assert planner.account.calls == asked == sum(last(whole, "calls"))


def test_what_is_not_understood_is_asked_again_and_then_explored(faked: Any) -> None:
    fake = faked(lambda request: Answer("ok", "I would rather not say", (), 10, 2))
    planner = model(reasks=2)
    result = run(planner)
    assert last(result, "fallbacks") == last(result, "invalid") == [5.0] * 4
    assert last(result, "calls") == [15.0] * 4
    talk = max((request["messages"] for request in fake.asked), key=len)
    assert [m["role"] for m in talk] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert "I would rather not say" in talk[2]["content"]
    assert all(f"- {name}" in talk[3]["content"] for name in WORLD.subgoals)
    assert planner.account.plain()["invalid_rate"] == 1.0


def test_log_probabilities_are_the_law_and_draws_are_ours(faked: Any) -> None:
    law = torch.tensor([0.5, 0.25, 0.125, 0.0, 0.125], dtype=torch.float64)
    pairs = tuple((f" {letter}", float(p.log())) for letter, p in zip("ABCDE", law, strict=True) if p > 0)
    fake = faked(lambda request: Answer("ok", "A", (*pairs, ("the", -0.01)), 10, 1))
    planner = model(mode="logprobs")
    memory = planner.meet(WORLD, planner.begin(WORLD, (3,)), torch.zeros(3).long(), torch.zeros(3).long(), None)  # type: ignore[arg-type]
    found = planner.law(WORLD, 0, torch.zeros(3).long(), memory)
    assert torch.allclose(found, law.expand(3, 1, 5), atol=1e-12, rtol=0)
    assert fake.asked[0]["max_tokens"] == 1
    assert fake.asked[0]["top_logprobs"] == 20
    assert "temperature" not in fake.asked[0]
    greedy = run(model(mode="logprobs", temperature=0.0), world=Needle(boxes=4, truth=0))
    assert last(greedy, "regret") == [0.0] * 4
    cut = model(mode="logprobs", top_p=0.6)
    memory = cut.meet(WORLD, cut.begin(WORLD, ()), torch.tensor(0), torch.tensor(0), None)  # type: ignore[arg-type]
    assert torch.allclose(cut.law(WORLD, 0, torch.tensor(0), memory)[0], torch.tensor([2, 1, 0, 0, 0.0]).double() / 3)
    faked(lambda request: Answer("ok", "the", (("the", -0.01),)))
    assert last(run(model(mode="logprobs")), "fallbacks") == [5.0] * 4


def test_modes_refuse_what_they_cannot_do(faked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = faked(some_box)
    with pytest.raises(InvalidInput, match=r"subgoals: got 21, expected at most 20, .*mode=sample"):
        run(model(mode="logprobs"), world=Needle(boxes=20))
    run(model(mode="guided"))
    assert fake.asked[0]["extra_body"] == {FORMS[0]: {"choice": list(WORLD.subgoals)}}
    monkeypatch.setattr(Fake, "try_out", lambda self, model, **more: Answer("ok", "hello"))
    with pytest.raises(InvalidInput, match="gives no log-probabilities"):
        run(model(mode="logprobs"))
    with pytest.warns(Caution, match="does not choose from a list"):
        run(model(mode="guided"))
    with pytest.raises(InvalidInput, match="expected one that knows the law of what it says, or its own parameters"):
        run(model(), temperature=0.5)


def test_each_actor_is_asked_and_exploring_episodes_ask_nobody(faked: Any) -> None:
    world = ManyActors()
    fake = faked(lambda request: Answer("ok", world.subgoals[lot(request) % len(world.subgoals)], (), 1, 1))
    result = run(model(), world=world, episodes=2, seeds=2)
    assert last(result, "calls") == [2.0 * world.horizon * world.actors] * 2
    assert any(f"actor {world.actors} of" in request["messages"][1]["content"] for request in fake.asked)
    fake = faked(some_box)
    result = run(model(), exploration=Constant(1.0))
    assert fake.asked == []
    assert last(result, "calls") == last(result, "fallbacks") == [0.0] * 4
    assert last(result, "explored") == [5.0] * 4


# --- what may be spent ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "most"),
    [
        ({"max_calls": 7}, 7),
        ({"max_tokens": 500}, None),
        ({"max_cost": 0.0005, "price_in": 1.0, "price_out": 1.0}, None),
    ],
    ids=["calls", "tokens", "cost"],
)
def test_budgets_end_the_asking_and_not_the_run(faked: Any, tmp_path: Path, given: Any, most: int | None) -> None:
    path = tmp_path / "t.jsonl"
    fake = faked(moody, seconds=lambda request: 0.002 * (lot(request) % 4))
    planner = model(transcript=str(path), **given)
    with pytest.warns(Caution, match="the budget is spent"):
        result = run(planner)
    assert 0 < len(fake.asked) < 20
    assert most is None or len(fake.asked) == most
    account = planner.account
    assert account.prompt_tokens + account.reply_tokens <= given.get("max_tokens", 10**9)
    assert account.cost <= given.get("max_cost", 1.0)
    assert account.refused == sum(last(result, "fallbacks")) > 0
    assert result.iterations == 5
    assert same(result, run(Replay(str(path))))
    assert usage(path)["refused"] == account.refused
    with pytest.warns(Caution, match="the budget is spent"):
        assert same(result, run(model(concurrency=1, **given)))


def test_failures_are_tried_again_and_a_dead_endpoint_is_given_up(faked: Any, tmp_path: Path) -> None:
    tried = dict[int, int]()

    def flaky(request: dict[str, Any]) -> Answer:
        n = lot(request)
        tried[n] = tried.get(n, 0) + 1
        return some_box(request) if tried[n] > n % 3 else Answer("rate-limited", http=429)

    fake = faked(flaky)
    flaked = run(model(retries=2))
    assert last(flaked, "fallbacks") == [0.0] * 4
    assert len(fake.asked) > 20
    faked(some_box)
    steady = run(model())
    assert last(flaked, "regret") == last(steady, "regret")
    fake = faked(lambda request: Answer("unreachable", error="gone"))
    path = tmp_path / "t.jsonl"
    with pytest.warns(Caution, match="given up"):
        lost = run(model(retries=1, transcript=str(path)), episodes=8)
    assert last(lost, "fallbacks") == [8.0] * 4
    assert len(fake.asked) == 5 * 4 * 2  # five decisions of four runs, tried twice
    assert same(lost, run(Replay(str(path)), episodes=8))
    fake = faked(lambda request: Answer("rejected", http=400, error="no"))
    with pytest.warns(Caution, match=r"rejected; the last: no.*given up"):
        run(model(), episodes=8)
    assert len(fake.asked) == 5 * 4


def test_waits_grow_are_bounded_and_are_settled_by_the_place() -> None:
    some = Persistence(backoff=1.0)
    waits = [some.wait(Place(0, 0, 0, 0, 0, n), 0.0) for n in range(12)]
    assert waits[0] == 0.0
    assert all(0.5 * 2.0 ** (n - 1) <= waits[n] < 1.5 * 2.0 ** (n - 1) for n in range(1, 6))
    assert max(waits) == 60.0
    assert waits == [some.wait(Place(0, 0, 0, 0, 0, n), 0.0) for n in range(12)]
    assert some.wait(Place(0, 0, 0, 0, 0, 1), 20.0) == 20.0


def test_prompts_that_are_too_long_are_told_in_fewer_words(faked: Any) -> None:
    fake = faked(some_box)
    planner = model(longest=400, history="raw")
    with pytest.warns(Caution, match="beyond 400 characters"):
        run(planner, episodes=12)
    assert max(len(request["messages"][1]["content"]) for request in fake.asked) <= 400
    assert planner.account.shortened > 0
    fake = faked(some_box)
    with pytest.warns(Caution, match="beyond 10 characters"):
        hopeless = run(model(longest=10))
    assert fake.asked == []
    assert last(hopeless, "fallbacks") == [5.0] * 4


def test_what_a_run_takes_is_estimated(faked: Any) -> None:
    planner = model(price_in=1.0, price_out=2.0, history="raw")
    found = estimated(WORLD, planner, 12, 4)
    faked(lambda request: Answer("ok", some_box(request).text))
    run(planner, episodes=12)
    assert found.calls == planner.account.calls == 48
    assert found.prompt_tokens == pytest.approx(planner.account.prompt_tokens, rel=0.1)
    assert found.cost == pytest.approx((found.prompt_tokens + 2 * 48 * 64) / 1e6)
    assert planner.account.guessed == 48


# --- how it is asked for --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/v1", "http://127.0.0.1.example.com", "http://localhost.example.com/v1", "ftp://127.0.0.1/v1",
        "file:///etc/passwd", "127.0.0.1:8000", "", "https://", "http://127.1/v1", "http://2130706433/v1", "http://0.0.0.0:1",
        "https://user:hidden-word@example.com/v1", "https://example.com/v1?key=hidden-word", "https://example.com/#hidden-word",
        "http://127.0.0.1\\@example.com/", "http://127.0.0.1:99999/v1", "https://exa mple.com", "https://example.com\n",
        "http://[::2]/v1", "http://[::1", "http://127.0.0.1 .example.com/",
    ],
    ids=range(21),
)  # fmt: skip
def test_addresses_that_are_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="base_url") as caught:
        LanguageModel(base_url=url)
    assert "hidden-word" not in str(caught.value)


def test_addresses_that_are_taken() -> None:
    for url in ("http://localhost:8000/v1", "http://[::1]:11434/v1", "http://127.8.9.1", "https://api.example.com/v1"):
        assert require_address(url + "/") == url


def test_as_a_parameter() -> None:
    typed = 'openai(model=qwen3:8b, base_url="http://127.0.0.1:11434/v1", mode=guided, max_calls=400)'.replace('"', "")
    planner = convert(typed, Planner, "planner")
    assert isinstance(planner, LanguageModel)
    assert (planner.model, planner.mode, planner.max_calls) == ("qwen3:8b", "guided", 400)
    assert "guided" in str(planner)
    json.dumps(plain(planner), allow_nan=False)
    for wrong in ("openai(mode=chat)", "openai(concurrency=0)", "openai(max_cost=1)", "openai(reasks=99)"):
        with pytest.raises(InvalidInput):
            convert(wrong, Planner, "planner")
    with pytest.raises(InvalidInput) as caught:
        LanguageModel(key_env=KEY)
    assert KEY not in str(caught.value)
    with pytest.raises(InvalidInput, match="replay"):
        run(Replay())


# --- over HTTP ------------------------------------------------------------------------------------------------------


def completion(text: Any, **more: Any) -> dict[str, Any]:
    return {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        **more,
    }


@pytest.fixture
def carried(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Any]:
    """Requests go to a function instead of the network."""
    pytest.importorskip("openai")
    import httpx2

    def use(handle: Any) -> None:
        def handled(request: Any) -> Any:
            if request.method == "GET":
                return httpx2.Response(200, json={"object": "list", "data": [{"id": "m"}]})
            return handle(request)

        monkeypatch.setattr(LanguageModel, "transport", httpx2.MockTransport(handled))

    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return use


ODD = [
    {
        "top_logprobs": [
            1,
            {"token": 1, "logprob": 1},
            {"token": "A", "logprob": None},
            {"token": "A", "logprob": 10**400},
        ]
    }
]
BODIES: dict[str, tuple[Any, str]] = {
    "right": (completion("open box 1", usage={"prompt_tokens": 3, "completion_tokens": 2}), "ok"),
    "no usage": (completion("open box 1", usage={"prompt_tokens": "many", "completion_tokens": -1}), "ok"),
    "null": (completion(None), "empty"),
    "blank": (completion(" \n"), "empty"),
    "parts": (completion([{"type": "text", "text": "open box 1"}]), "empty"),
    "no message": ({"choices": [{"message": None}]}, "empty"),
    "no choices": ({"choices": []}, "broken"),
    "null choices": ({"choices": None}, "broken"),
    "odd choice": ({"choices": ["open box 1"]}, "broken"),
    "a list": ([1, 2], "broken"),
    "a word": ("open box 1", "broken"),
    "html": (b"<html>open box 1</html>", "broken"),
    "nothing": (b"", "broken"),
    "torn": (b'{"choices": [{"message": {"content": "open b', "broken"),
    "latin": (json.dumps(completion("open box 1é"), ensure_ascii=False).encode("latin-1"), "broken"),
    "deep": (b"[" * 100_000, "broken"),
    "digits": (b'{"choices": ' + b"9" * 9000 + b"}", "broken"),
    "huge": (completion("x" * LARGEST), "too-large"),
    "odd logprobs": ({"choices": [completion("A")["choices"][0] | {"logprobs": {"content": ODD}}]}, "ok"),
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
def test_answers_are_data_whatever_they_are(carried: Any, name: str) -> None:
    import httpx2

    body, status = BODIES[name]
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    endpoint = Endpoint(
        "http://127.0.0.1:1/v1", transport=httpx2.MockTransport(lambda r: httpx2.Response(200, content=content))
    )
    answer = endpoint.ask({"model": "m", "messages": []})
    endpoint.close()
    assert answer.status == status, answer
    assert status != "ok" or answer.text is not None
    if name == "right":
        assert (answer.prompt_tokens, answer.reply_tokens, answer.finish) == (3, 2, "stop")
    else:
        assert answer.prompt_tokens is None
    assert answer.logprobs == ()


@pytest.mark.parametrize(
    ("http", "status"),
    [(400, "rejected"), (401, "rejected"), (404, "rejected"), (408, "timeout"), (422, "rejected"),
     (429, "rate-limited"), (500, "server-error"), (503, "server-error"), (302, "redirected"), (307, "redirected")],
)  # fmt: skip
def test_refusals_of_an_endpoint_by_their_number(carried: Any, monkeypatch: Any, http: int, status: str) -> None:
    import httpx2

    asked = list[str]()

    def handle(request: Any) -> Any:
        asked.append(str(request.url))
        echoed = {"error": {"message": f"no, {request.headers['authorization']}"}}
        return httpx2.Response(http, json=echoed, headers={"retry-after": "7", "location": "http://127.0.0.1:2/v1"})

    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    endpoint = Endpoint("http://127.0.0.1:1/v1", transport=httpx2.MockTransport(handle))
    answer = endpoint.ask({"model": "m", "messages": []})
    endpoint.close()
    assert (answer.status, answer.http, answer.wait) == (status, http, 7.0)
    assert asked == ["http://127.0.0.1:1/v1/chat/completions"]  # no retry of the client's own, no redirect
    assert answer.error is not None
    assert KEY not in answer.error
    assert KEY not in repr(endpoint.key)


def test_the_key_is_in_no_artefact(
    carried: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import httpx2

    sent = list[str]()

    def handle(request: Any) -> Any:
        """An endpoint that gives away what it is told, wherever it can."""
        key = request.headers["authorization"]
        sent.append(key)
        n = len(sent) % 5
        if n == 0:
            return httpx2.Response(500, json={"error": {"message": key, "code": key}}, headers={"x-key": key})
        if n == 1:
            return httpx2.Response(200, content=b"x" * (len(sent) % 90) + key.encode() * 99)
        if n == 2:
            raise httpx2.ConnectError(f"cannot reach {key}")
        logs = {"content": [{"top_logprobs": [{"token": key, "logprob": -1.0}]}]}
        choice = {"message": {"content": f"open box 1, {key}"}, "finish_reason": key, "logprobs": logs}
        return httpx2.Response(200, json={"choices": [choice], "model": key})

    carried(handle)
    monkeypatch.setenv("MY_KEY", KEY)
    monkeypatch.chdir(tmp_path)
    planner = "planner=openai(key_env=MY_KEY, backoff=0)"
    given = ["run", "latent/needle", "bail", "-g", "boxes=4", "-s", planner, "--iterations", "4", "--seeds", "2"]
    monkeypatch.setattr("gamesim.running.save", lambda *_: [Path("none")])
    with kept_in(tmp_path):
        assert cli.main([*given, "--out", "here"]) == 0
    assert cli.main(["llm", "usage", next(str(p) for p in tmp_path.rglob("*.jsonl"))]) == 0
    said = capsys.readouterr()
    assert set(sent) == {f"Bearer {KEY}"}
    artefacts = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert {p.name for p in artefacts} >= {"config.json", "transcript.jsonl", "summary.json", "trace.csv"}
    for path in artefacts:
        assert KEY[:12].encode() not in path.read_bytes(), path  # not cut in half either
    assert KEY[:12] not in said.out + said.err
    assert "***" in next(p for p in artefacts if p.name == "transcript.jsonl").read_text()


def test_what_is_wrong_with_an_endpoint_is_said_before_a_run(carried: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx2

    with pytest.raises(InvalidInput, match=r"base_url: .*9/v1.*expected an endpoint that answers.*gamesim llm serve"):
        run(model(base_url="http://127.0.0.1:9/v1"))
    with pytest.raises(InvalidInput, match="export OPENAI_API_KEY"):
        run(model(base_url="https://api.example.com/v1"))
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\n\u00e9")
    with pytest.raises(InvalidInput) as caught:
        run(model())
    assert KEY not in str(caught.value)
    monkeypatch.delenv("OPENAI_API_KEY")
    carried(lambda request: httpx2.Response(404, json={"error": {"message": "unknown model"}}))
    with pytest.raises(InvalidInput, match=r"model: got 'other', expected one of m, .*unknown model"):
        run(model(model="other"))
    for http, said in ((401, "takes the key"), (302, "an endpoint that answers")):
        monkeypatch.setattr(
            LanguageModel, "transport", httpx2.MockTransport(lambda r, http=http: httpx2.Response(http))
        )
        with pytest.raises(InvalidInput, match=said):
            run(model())
    monkeypatch.setattr(LanguageModel, "transport", httpx2.MockTransport(lambda r: httpx2.Response(404)))
    with pytest.raises(InvalidInput, match="does not say which it serves"):
        run(model())


def test_newer_names_of_parameters_are_taken_up(carried: Any) -> None:
    import httpx2

    asked = list[set[str]]()

    def handle(request: Any) -> Any:
        given = json.loads(request.content)
        asked.append(given.keys() & {"max_tokens", "max_completion_tokens"})
        if "max_tokens" in given:
            return httpx2.Response(400, json={"error": {"message": "use 'max_completion_tokens' instead"}})
        return httpx2.Response(200, json=completion("open box 1"))

    carried(handle)
    planner = model(concurrency=4)
    assert last(run(planner), "fallbacks") == [0.0] * 4
    assert asked.count({"max_completion_tokens"}) == 20
    assert asked.count({"max_tokens"}) <= 4


def test_compressed_and_endless_answers_are_cut(carried: Any) -> None:
    import httpx2

    class Drip(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            while True:
                time.sleep(0.02)
                yield b" "

    def ask(response: Callable[[], Any], timeout: float = 5.0) -> Answer:
        transport = httpx2.MockTransport(lambda request: response())
        endpoint = Endpoint("http://127.0.0.1:1/v1", timeout=timeout, transport=transport)
        try:
            return endpoint.ask({"model": "m", "messages": []})
        finally:
            endpoint.close()

    assert ask(lambda: httpx2.Response(200, stream=Drip()), 0.1).status == "timeout"
    zipped = {"content-encoding": "deflate"}
    bomb = zlib.compress(b" " * 10**6)
    assert ask(lambda: httpx2.Response(200, headers=zipped, stream=httpx2.ByteStream(bomb))).status == "broken"


def test_our_own_server_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Log-probabilities over HTTP are those of the planner behind the prompt, so regret is the same run for run."""
    pytest.importorskip("openai")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    exact = run(Bail(), episodes=6)
    with serve(Bail(), WORLD) as served:
        path = tmp_path / "t.jsonl"
        asked = run(model(base_url=served.url, mode="logprobs", transcript=str(path)), episodes=6)
        sampled = run(model(base_url=served.url, concurrency=8), episodes=3)
        again = run(model(base_url=served.url, concurrency=1), episodes=3)
    assert last(asked, "regret") == last(exact, "regret")
    assert max(last(asked, "off_mixture")) < 1e-6
    assert last(asked, "fallbacks") == last(sampled, "fallbacks") == [0.0] * 4
    assert same(sampled, again)  # seeds are sent, and this server honours them
    assert same(asked, run(Replay(str(path)), episodes=6))


@pytest.mark.parametrize("faults", [40, pytest.param(1000, marks=pytest.mark.slow)])
def test_no_fault_ends_a_run_and_all_are_counted(faults: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openai")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    plan = Faults.parse(["0.7"], seed=1, hang=0.3)
    path = tmp_path / "t.jsonl"
    planner = model(timeout=0.15, retries=2, reasks=1, transcript=str(path))
    with serve(Bail(), WORLD, faults=plan) as served:
        planner = replace(planner, base_url=served.url)
        result = run(planner, episodes=faults // 4)
    found = planner.account
    again, invalid = plan.count("again"), plan.count("invalid")
    assert len(plan.log) > faults
    assert result.iterations == faults // 4
    assert found.decisions == 4 * (faults // 4)
    assert sum(found.statuses[name] for name in RETRIED) + found.statuses["empty"] <= again + invalid
    assert found.calls >= again + invalid
    assert found.invalid == sum(last(result, "fallbacks")) == sum(last(result, "invalid"))
    assert 0 < found.invalid < found.decisions / 2
    assert same(result, run(Replay(str(path)), episodes=faults // 4))


# --- the command line -----------------------------------------------------------------------------------------------


def test_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], faked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    estimate = ["llm", "estimate", "latent/needle", "-g", "boxes=4", "--iterations", "5", "--seeds", "4"]
    assert cli.main([*estimate, "-s", "planner=openai(price_in=1)", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["calls"] == 20
    assert cli.main(estimate) == 0
    assert re.search(r"calls +20\b", capsys.readouterr().out)
    assert cli.main([*estimate, "-s", "planner=bail"]) == 2
    assert "what others say costs nothing" in capsys.readouterr().err
    assert cli.main(["llm", "estimate", "matrix/chicken"]) == 2
    assert "a latent world" in capsys.readouterr().err
    faked(moody)
    run(model(transcript="t.jsonl"))
    assert cli.main(["llm", "usage", "t.jsonl", "--price-in", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["runs"] == 4
    assert found["cost"] == pytest.approx(10 * found["calls"] / 1e6)
    (tmp_path / "run").mkdir()
    shutil.copy("t.jsonl", "run/transcript.jsonl")
    assert cli.main(["llm", "usage", "run"]) == 0
    assert "20, of which 0 were made by the exploration law" in capsys.readouterr().out
    for name in ("check", "serve", "pretrain", "--help"):
        assert cli.main(["llm", name, *["--help"][: name != "--help"]]) == 0
    assert cli.main(["llm", "check", "http://example.com/v1"]) == 2


def test_check_of_an_endpoint(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openai")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with serve(Bail(), WORLD) as served:
        assert cli.main(["llm", "check", served.url, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["model"], found["sample"], found["logprobs"], found["guided"]) == ("gamesim", True, True, FORMS[0])
