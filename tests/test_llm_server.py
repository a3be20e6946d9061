"""The server of our planners: the same law as in the process, all of the protocol, and no request that hurts."""

import http.client
import json
import math
import socket
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import torch

from gamesim.envs.latent.many_actors import ManyActors
from gamesim.envs.latent.needle import Needle
from gamesim.envs.latent.opponents import Opponents
from gamesim.envs.latent.random_hierarchy import RandomHierarchy
from gamesim.errors import Caution, InvalidInput
from gamesim.games.latent import LatentWorld
from gamesim.planning import Bail, History, PosteriorSampling
from gamesim.planning.language.answering import decoded
from gamesim.planning.language.reading import read_back
from gamesim.planning.language.server import LARGEST, Served, serve
from gamesim.planning.language.text import LABELS, prompt, system
from gamesim.planning.planner import Planner
from gamesim.planning.transformer import TransformerPlanner
from gamesim.randomness import Stream
from gamesim.simplex import drawn

WORLD = Needle(boxes=6, blur=0.6)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serve(Bail(), WORLD) as server:
        yield server


def history(episodes: int, seed: int = 0, world: LatentWorld = WORLD, inside: int = 0) -> History:
    """Random play, and so many decisions of the episode after it."""
    luck, found = Stream(seed), History.empty(world, (), episodes + 1)
    latent = torch.tensor(min(2, len(world.prior) - 1))
    for episode in range(episodes + 1):
        task = drawn(world.task_law, luck.uniform((1,))[0])
        state, report = world.open(latent, luck.uniform((2,)))
        found = found.met(task, report)
        for h in range(world.horizon if episode < episodes else inside):
            chosen = (luck.uniform((world.actors,)) * len(world.subgoals)).long()
            state, report = world.move(h, latent, state, chosen, luck.uniform((2,)))
            found = found.heard(h, chosen, report)
    return found


def law_of(past: History, world: LatentWorld = WORLD, planner: Planner | None = None) -> torch.Tensor:
    """What the planner says in this process, of the first actor."""
    planner, luck = planner or Bail(), Stream(0)
    memory = planner.begin(world, (1,))
    for i in range(past.kept):
        memory = planner.meet(world, memory, past.tasks[i : i + 1], past.first[i : i + 1], luck)
        for h in range(world.horizon if i < past.kept - 1 else past.decisions):
            memory = planner.hear(world, h, memory, past.subgoals[i : i + 1, h], past.observations[i : i + 1, h])
    return planner.law(world, past.decisions, past.tasks[-1:], memory).reshape(world.actors, -1)[0]


def sent(server: Served, body: Any, path: str = "/chat/completions", method: str = "POST", **headers: str) -> Any:
    """Status, type and body of an answer."""
    at = urlsplit(server.url)
    connection = http.client.HTTPConnection(at.hostname or "", at.port, timeout=20)
    try:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, at.path + path, data if method == "POST" else None, headers)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type"), answer.read()
    finally:
        connection.close()


def chat(text: str, **more: Any) -> dict[str, Any]:
    messages = [{"role": "system", "content": system(WORLD)}, {"role": "user", "content": text}]
    return {"model": "gamesim", "messages": messages, **more}


def said(server: Served, body: Any, path: str = "/chat/completions") -> dict[str, Any]:
    status, kind, data = sent(server, body, path)
    assert (status, kind) == (200, "application/json"), data
    found: dict[str, Any] = json.loads(data)
    return found


def test_log_probabilities_are_those_of_the_planner(served: Served) -> None:
    for episodes in (0, 1, 5, 40):
        past = history(episodes)
        law = law_of(past)
        for style in ("raw", "summary", "counts"):
            text = prompt(WORLD, past, style=style, labelled=True)  # type: ignore[arg-type]
            found = said(served, chat(text, logprobs=True, top_logprobs=20, max_tokens=1))["choices"][0]
            top = {t["token"]: t["logprob"] for t in found["logprobs"]["content"][0]["top_logprobs"]}
            assert set(top) == set(LABELS[:7])
            assert list(top.values()) == sorted(top.values(), reverse=True)
            for label, p in zip(LABELS, law.tolist(), strict=False):
                assert math.exp(top[label]) == pytest.approx(p, abs=1e-12)
            assert found["message"]["content"] in top
            assert found["finish_reason"] == "stop"
    assert top["G"] == -9999.0  # no expert reads the sign


WORLDS = {
    "actors": lambda: ManyActors(actors=3, boxes=4),
    "hierarchy": RandomHierarchy,
    "opponents": Opponents,
}


@pytest.mark.parametrize("name", sorted(WORLDS))
def test_any_world_is_served(name: str) -> None:
    world = WORLDS[name]()
    with serve(Bail(), world) as server:
        for episodes in (0, 4):
            past = history(episodes, world=world, inside=world.horizon - 1)
            law = law_of(past, world)
            for style in ("raw", "summary"):
                text = prompt(world, past, style=style, labelled=True)  # type: ignore[arg-type]
                found = said(server, chat(text, logprobs=True, top_logprobs=52, max_tokens=1))["choices"][0]
                top = {t["token"]: t["logprob"] for t in found["logprobs"]["content"][0]["top_logprobs"]}
                for label, p in zip(LABELS, law.tolist(), strict=False):
                    assert math.exp(top[label]) == pytest.approx(p, abs=1e-10)
        status, _, data = sent(server, chat(prompt(world, past, style="counts")))
        if world.horizon > 1 and len(past.tasks) > 1:
            assert status == 400
            assert b"raw or summary" in data
        else:
            assert status == 200


def test_posterior_sampling_keeps_its_latent_within_an_episode() -> None:
    world = RandomHierarchy()
    with serve(PosteriorSampling(), world) as server:
        past = [read_back(world, prompt(world, history(3, world=world, inside=h), style="raw")) for h in range(3)]
        followed = set()
        for seed in range(20):
            latents = {int(server.mind.memory(told, seed).followed[0]) for told in past}
            assert len(latents) == 1
            followed |= latents
    assert len(followed) > 1


def test_a_transformer_of_ours_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAMESIM_CACHE", str(tmp_path))
    planner = TransformerPlanner(episodes=5, steps=3, width=16, heads=2, blocks=1)
    with serve(planner, WORLD) as server:
        for episodes in (0, 4):
            past = history(episodes)
            text = prompt(WORLD, past, style="raw", labelled=True)
            found = said(server, chat(text, logprobs=True, top_logprobs=20, max_tokens=1))["choices"][0]
            top = {t["token"]: t["logprob"] for t in found["logprobs"]["content"][0]["top_logprobs"]}
            for label, p in zip(LABELS, law_of(past, planner=planner).tolist(), strict=False):
                assert math.exp(top[label]) == pytest.approx(p, abs=1e-6)
        status, _, data = sent(server, chat(prompt(WORLD, history(5), style="raw")))
        assert status == 400
        assert b"a prompt of at most 5 episodes" in data


def test_replies_follow_the_law_and_the_seed(served: Served) -> None:
    past = history(12)
    text, law = prompt(WORLD, past), law_of(past)
    replies = [said(served, chat(text, seed=seed))["choices"][0]["message"]["content"] for seed in range(400)]
    assert replies[:5] == [said(served, chat(text, seed=s))["choices"][0]["message"]["content"] for s in range(5)]
    often = Counter(replies)
    for name, p in zip(WORLD.subgoals, law.tolist(), strict=True):
        assert abs(often[name] / 400 - p) <= 4 * math.sqrt(p * (1 - p) / 400) + 1e-9
    greedy = {said(served, chat(text, seed=s, temperature=0))["choices"][0]["message"]["content"] for s in range(5)}
    assert greedy == {WORLD.subgoals[int(law.argmax())]}


def test_a_run_does_not_repeat_one_quantile(served: Served) -> None:
    # the same seed with every prompt is usual; were luck the seed's alone, draws of a run would all hang together
    replies = {
        said(served, chat(prompt(WORLD, history(k)), seed=0))["choices"][0]["message"]["content"] for k in range(9)
    }
    assert len(replies) > 2


def test_temperature_and_nucleus() -> None:
    law = torch.tensor([0.5, 0.3, 0.2, 0.0], dtype=torch.float64)
    torch.testing.assert_close(decoded(law, 0.5, 1.0), law**2 / (law**2).sum())
    assert decoded(law, 1.0, 0.5).tolist() == [1, 0, 0, 0]
    assert decoded(law, 1.0, 0.0).tolist() == [1, 0, 0, 0]
    torch.testing.assert_close(decoded(law, 1.0, 0.51), torch.tensor([0.625, 0.375, 0, 0], dtype=torch.float64))
    torch.testing.assert_close(decoded(law, 1.0, 1.0), law)


def test_choices_that_a_client_allows(served: Served) -> None:
    text = prompt(WORLD, history(3))
    for more in ({"guided_choice": ["open box 2"]}, {"structured_outputs": {"choice": ["open box 2"]}}):
        assert said(served, chat(text, **more))["choices"][0]["message"]["content"] == "open box 2"
    asked = (chat("Say hello.", guided_choice=["maple", "quartz"], seed=s) for s in range(20))
    words = {said(served, body)["choices"][0]["message"]["content"] for body in asked}
    assert words == {"maple", "quartz"}


def test_what_is_no_prompt_of_ours_is_small_talk(served: Served) -> None:
    found = said(served, chat("Say hello.", logprobs=True, top_logprobs=2, max_tokens=1))
    assert found["choices"][0]["message"]["content"] == "hello"
    assert found["choices"][0]["logprobs"]["content"][0]["top_logprobs"][0]["logprob"] == 0.0


def test_the_last_prompt_of_a_conversation_counts(served: Served) -> None:
    text = prompt(WORLD, history(3))
    again = [{"role": "assistant", "content": "the moon"}, {"role": "user", "content": "That is no subgoal."}]
    body = chat(text, temperature=0)
    wanted = said(served, body)["choices"][0]["message"]["content"]
    body["messages"] += again
    found = said(served, body)
    assert found["choices"][0]["message"]["content"] == wanted
    parts = [{"type": "text", "text": text[:10]}, {"type": "text", "text": text[10:]}]
    body["messages"] = [{"role": "user", "content": parts}]
    found = said(served, body)
    assert found["choices"][0]["message"]["content"] == wanted
    assert found["usage"] == {
        "prompt_tokens": len(text.split()),
        "completion_tokens": 3,
        "total_tokens": len(text.split()) + 3,
    }


def test_a_reply_is_cut_at_max_tokens(served: Served) -> None:
    found = said(served, chat(prompt(WORLD, history(3)), max_tokens=1))["choices"][0]
    assert (found["message"]["content"], found["finish_reason"]) == ("open", "length")
    found = said(served, chat(prompt(WORLD, history(3)), max_completion_tokens=3))["choices"][0]
    assert found["finish_reason"] == "stop"


def test_a_stream_says_the_same(served: Served) -> None:
    body = chat(prompt(WORLD, history(7)), seed=3)
    whole = said(served, body)
    status, kind, data = sent(served, body | {"stream": True, "stream_options": {"include_usage": True}})
    assert (status, kind) == (200, "text/event-stream")
    events = [line.removeprefix("data: ") for line in data.decode().split("\n\n") if line]
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    text = "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks[:-1])
    assert text == whole["choices"][0]["message"]["content"]
    assert [c["choices"][0]["finish_reason"] for c in chunks[:-1]] == [None] * (len(chunks) - 2) + ["stop"]
    assert chunks[-1]["usage"] == whole["usage"]


def test_completions_and_models(served: Served) -> None:
    past = history(7)
    text = prompt(WORLD, past, labelled=True)
    body = {"prompt": f"{system(WORLD)}\n\n{text}", "max_tokens": 1, "logprobs": 7}
    found = said(served, body, "/completions")
    top = found["choices"][0]["logprobs"]["top_logprobs"][0]
    assert math.exp(top["C"]) == pytest.approx(float(law_of(past)[2]), abs=1e-12)
    assert found["choices"][0]["text"] in top
    listed = json.loads(sent(served, None, "/models", "GET")[2])
    assert [card["id"] for card in listed["data"]] == ["gamesim"]
    assert json.loads(sent(served, None, "/models/gamesim", "GET")[2])["object"] == "model"


GOOD = prompt(WORLD, history(2))
BAD: dict[str, tuple[Any, int, str]] = {
    "no json": (b"{", 400, "no JSON"),
    "no utf-8": (b'{"messages": "\xff"}', 400, "no UTF-8"),
    "deep": (b"[" * 200_000, 400, "no JSON"),
    "long number": (b'{"seed": ' + b"9" * 5000 + b"}", 400, "no JSON"),
    "nan": (b'{"temperature": NaN}', 400, "finite"),
    "empty": (b"", 400, "no JSON"),
    "a list": ([], 400, "a JSON object"),
    "no messages": ({}, 400, "messages"),
    "messages of another form": ({"messages": [{"role": "user"}]}, 400, "a role and a content"),
    "too many messages": ({"messages": [{"role": "user", "content": ""}] * 300}, 400, "1 to 256 messages"),
    "a picture": ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "a content of text"),
    "another model": (chat(GOOD) | {"model": "gpt"}, 404, "'gamesim' is served here"),
    "two choices": (chat(GOOD, n=2), 400, "n: got 2"),
    "hot": (chat(GOOD, temperature=1e9), 400, "temperature: got"),
    "cold": (chat(GOOD, temperature=-1), 400, "temperature: got -1"),
    "infinite": (b'{"messages": [], "temperature": 1e999}', 400, "finite"),
    "words for a number": (chat(GOOD, top_p="all"), 400, "top_p: got 'all'"),
    "no tokens": (chat(GOOD, max_tokens=0), 400, "max_tokens: got 0"),
    "half a seed": (chat(GOOD, seed=0.5), 400, "seed: got 0.5"),
    "many logprobs": (chat(GOOD, logprobs=True, top_logprobs=1000), 400, "top_logprobs: got 1000"),
    "no choice": (chat(GOOD, guided_choice=[]), 400, "guided_choice"),
    "another box": (chat(GOOD.replace("open box 1", "open box 99")), 400, "one of the 7 subgoals"),
    "half a prompt": (chat(GOOD[:-20]), 400, "prompt, line"),
    "a surrogate": (b'{"messages": [{"role": "user", "content": "History: \\ud800"}]}', 400, "prompt, line 1"),
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_a_bad_request_is_answered_with_what_is_wrong(served: Served, name: str) -> None:
    body, status, words = BAD[name]
    found = sent(served, body)
    assert found[:2] == (status, "application/json")
    error = json.loads(found[2])["error"]
    assert words in error["message"]
    assert error["type"] == "invalid_request_error"
    assert len(found[2]) < 2000


def test_http_that_is_no_request(served: Served) -> None:
    at = urlsplit(served.url)
    raw = {
        b"POST /v1/chat/completions HTTP/1.1\r\n\r\n": b"411",
        b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: -5\r\n\r\n": b"411",
        b"POST /v1/chat/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n": b"411",
        f"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: {LARGEST + 1}\r\n\r\n".encode(): b"413",
        b"POST /v1/else HTTP/1.1\r\nContent-Length: 0\r\n\r\n": b"404",
        b"GET /etc/passwd HTTP/1.1\r\n\r\n": b"404",
        b"DELETE /v1/models HTTP/1.1\r\n\r\n": b"501",
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n": b"Bad request syntax",  # of no version, so without a status
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n": b"414",
        b"GET / HTTP/9\r\n\r\n": b"Bad request version",
    }
    for request, status in raw.items():
        with socket.create_connection((at.hostname, at.port), timeout=10) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda c=connection: c.recv(65536), b""))  # type: ignore[misc]
            assert status in answer[:200], (request[:60], answer[:200])
            assert b"<html" not in answer.lower()
    with socket.create_connection((at.hostname, at.port), timeout=10) as connection:  # less than was announced
        connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 100\r\n\r\n{}")
    assert sent(served, chat(GOOD))[0] == 200


def test_where_it_listens() -> None:
    with serve(Bail(), WORLD) as one, serve(Bail(), WORLD, host="localhost") as other:
        assert one.url.startswith("http://127.0.0.1:")
        port = urlsplit(one.url).port
        assert sent(other, chat(GOOD))[0] == 200
        with pytest.raises(InvalidInput, match="an address of this machine and a free port"):
            serve(Bail(), WORLD, port=port or 0)
    with pytest.raises(ConnectionRefusedError):
        sent(one, chat(GOOD))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        serve(Bail(), WORLD, host="0.0.0.0").close()
    assert [issubclass(w.category, Caution) for w in caught] == [True]
    with pytest.raises(InvalidInput, match="port: got 70000"):
        serve(Bail(), WORLD, port=70000)
    with pytest.raises(InvalidInput, match="an address of this machine"):
        serve(Bail(), WORLD, host="127.0.0.1.nowhere.invalid")
