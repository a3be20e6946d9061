"""Data of agents: what is refused, the flow against a count, every file there and back, garbage ends in a refusal."""

import gzip
import hashlib
import io
import itertools
import json
import re
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gamesim.data import AgentData
from gamesim.errors import InvalidInput, MissingExtra
from gamesim.files import fingerprint
from gamesim.formats import agents as module
from gamesim.formats.agents import read_agents

TENSORS = ("states", "actions", "rewards", "next_states", "positions")
REST = ("state_count", "action_count", "state_names", "action_names")
HEADER = "episode,step,agent,state,action,reward,next_state"
ROWS = ["0,0,0,1,0,1.5,0", "0,0,1,0,1,-1,0", "0,1,0,0,0,0,1", "0,1,1,0,0,0,1"]


def some(
    episodes: int = 3, horizon: int = 4, agents: int = 5, states: int = 3, positions: bool = True, **more: Any
) -> AgentData:
    rng = np.random.default_rng([episodes, horizon, agents, states])
    path = rng.integers(0, states, (episodes, horizon + 1, agents))
    actions = rng.integers(0, 2, (episodes, horizon, agents))
    x = rng.uniform(size=agents) if positions else None
    return AgentData(path[:, :-1], actions, rng.normal(size=actions.shape), path[:, 1:], x, **more)


def assert_same(found: AgentData, wanted: AgentData) -> None:
    """All numbers to the last bit, and their types."""
    for name in TENSORS:
        a, b = getattr(found, name), getattr(wanted, name)
        assert (a is None) == (b is None), name
        if a is not None:
            assert a.dtype == b.dtype, name
            assert a.shape == b.shape, name
            assert a.numpy().tobytes() == b.numpy().tobytes(), name
    assert [getattr(found, name) for name in REST] == [getattr(wanted, name) for name in REST]
    assert found.content == wanted.content


def refusal(call: Callable[[], Any]) -> str:
    """The text of a refusal, which is one line."""
    with pytest.raises(InvalidInput) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    return text


# --- the object -----------------------------------------------------------------------------------------------------


def test_any_type_of_number_is_taken() -> None:
    states, actions = [[[0, 1]], [[1, 1]]], [[[1, 0]], [[0, 0]]]
    rewards, after, x = [[[1, -2]], [[0, 3]]], [[[1, 1]], [[0, 0]]], [0, 1]
    wanted = AgentData(states, actions, rewards, after, x)  # type: ignore[arg-type]
    assert [getattr(wanted, n).dtype for n in TENSORS] == [torch.int32] * 2 + [
        torch.float64,
        torch.int32,
        torch.float64,
    ]
    kinds = ["?", "i1", "u1", "i2", "u2", ">i4", "u4", "<i8", ">i8", "u8", "f2", ">f4", "f8", "g"]
    for kind in kinds:
        made = (np.array(part, dtype=kind) for part in (states, actions))
        assert_same(AgentData(*made, rewards, np.array(after, dtype=kind), x), wanted)  # type: ignore[arg-type]
    for dtype in (torch.bool, torch.int8, torch.uint16, torch.int64, torch.uint64, torch.float16, torch.bfloat16):
        made_ = (torch.tensor(part).to(dtype) for part in (states, actions))
        assert_same(AgentData(*made_, rewards, torch.tensor(after).to(dtype), x), wanted)  # type: ignore[arg-type]
    flat = np.array(states)[::-1][::-1, :, ::-1][:, :, ::-1]  # strides of both signs, and not to be written to
    flat.setflags(write=False)
    leaf = torch.tensor(rewards, dtype=torch.float32, requires_grad=True)
    found = AgentData(flat, actions, leaf, after, x)  # type: ignore[arg-type]
    assert_same(found, wanted)
    assert not found.rewards.requires_grad


def test_an_array_may_change_afterwards() -> None:
    states = np.zeros((1, 2, 1), dtype=np.int32)
    data = AgentData(states, states, states, states)  # type: ignore[arg-type]
    states[:] = -7
    assert int(data.states.min()) == 0


def test_counts_and_words() -> None:
    data = some(3, 4, 5)
    assert (data.episodes, data.horizon, data.agents, len(data)) == (3, 4, 5, 60)
    assert str(data) == "5 agents, 3 episodes, 4 steps, 3 states, 2 actions, positions known"
    one = AgentData([[[0]]], [[[0]]], [[[0]]], [[[1]]])  # type: ignore[arg-type]
    assert repr(one) == "AgentData(1 agent, 1 episode, 1 step, 2 states, 1 action, positions unknown)"
    assert some(state_count=7, action_names=("a", "b", "c")).flow.shape[-1] == 7
    assert some(action_names=("a", "b", "c")).action_count == 3
    assert data.paths.shape == (3, 5, 5)
    assert torch.equal(data.paths[:, 1:], data.next_states)
    assert data.without_positions().positions is None


@pytest.mark.parametrize("sizes", [(3, 4, 5, 3), (1, 1, 1, 1), (7, 1, 3, 2), (2, 6, 1, 4)])
def test_the_flow_is_the_share_of_the_episodes(sizes: tuple[int, int, int, int]) -> None:
    data = some(*sizes, state_count=sizes[3] + 1)
    e_, h_, n_, s_ = sizes
    flow = torch.zeros(h_, n_, s_ + 1, dtype=torch.float64)
    for e, h, n in itertools.product(range(e_), range(h_), range(n_)):
        flow[h, n, int(data.states[e, h, n])] += 1
    assert torch.equal(data.flow, flow / e_)
    assert torch.equal(data.initial, flow[0] / e_)


def test_a_subset_is_what_numpy_takes() -> None:
    data = some(6, 3, 5, state_count=9, source="a game")
    states = data.states.numpy()
    assert data.positions is not None
    mask = np.array([True, False, True, True, False])
    for e, n in itertools.product(
        (slice(1, 4), slice(None, None, -2), [5, 5, 0], torch.tensor([2, 2]), np.int64(3), -1), ((0, 2), mask, [1])
    ):
        part = data.subset(e, n)  # type: ignore[arg-type]
        i, j = np.atleast_1d(np.arange(6)[np.asarray(e) if not isinstance(e, slice) else e]), np.arange(5)[np.array(n)]
        assert np.array_equal(part.states.numpy(), states[np.ix_(i, range(3), j)])
        assert part.positions is not None
        assert np.array_equal(part.positions.numpy(), data.positions.numpy()[j])
        assert (part.state_count, part.source) == (9, "part of a game")
    assert data.subset(agents=slice(2)).subset(episodes=0).source == "part of a game"
    for bad in (6, [0, 9], [], slice(6, 9), True, [1.5], "x", np.zeros((2, 2), int), [True, False], torch.ones(1)):
        assert "episodes: got" in refusal(lambda bad=bad: data.subset(episodes=bad))  # type: ignore[misc]


def changed(name: str, index: tuple[int, ...], value: float) -> dict[str, Any]:
    data = some()
    parts = {n: getattr(data, n).double().numpy().copy() for n in TENSORS}
    parts[name][index] = value
    return parts


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (changed("states", (1, 2, 3), -1), "states[1, 2, 3]: got -1, expected a whole number from 0, below 1,000,000"),
        (changed("states", (1, 0, 3), 0.5), "states[1, 0, 3]: got 0.5, expected a whole number"),
        (changed("actions", (0, 0, 0), np.nan), "actions[0, 0, 0]: got nan, expected a whole number"),
        (changed("actions", (0, 0, 0), 10**6), "actions[0, 0, 0]: got 1000000, expected"),
        (changed("next_states", (2, 3, 4), np.inf), "next_states[2, 3, 4]: got inf"),
        (changed("states", (1, 2, 3), 3) | {"state_count": 3}, "states[1, 2, 3]: got 3, expected a whole number from"),
        (changed("actions", (1, 2, 3), 2) | {"action_names": ("a", "b")}, "actions[1, 2, 3]: got 2, expected"),
        (changed("rewards", (0, 1, 2), np.nan), "rewards[0, 1, 2]: got nan, expected a finite number"),
        (changed("rewards", (0, 1, 2), -np.inf), "rewards[0, 1, 2]: got -inf, expected a finite number"),
        (changed("positions", (3,), 1.01), "positions[3]: got 1.01, expected a position between 0 and 1"),
        (changed("positions", (3,), -1e-9), "positions[3]: got -1e-09"),
        (changed("positions", (3,), np.nan), "positions[3]: got nan"),
        ({"positions": [0.5]}, "positions: got 'shape [1]', expected one for each of the 5 agents, or none"),
        ({"rewards": np.zeros((3, 4))}, "rewards: got 'shape [3, 4]', expected [3, 4, 5], the shape of states"),
        ({"states": np.zeros((3, 4))}, "states: got 'shape [3, 4]', expected [episodes, steps, agents]"),
        ({"states": np.zeros((3, 0, 5))}, "states: got 'shape [3, 0, 5]', expected"),
        ({"states": []}, "states: got 'shape [0]'"),
        ({"states": None}, "states: got 'NoneType', expected a rectangular array of numbers"),
        ({"states": [[[0, 1]], [[0]]]}, "states: got 'list', expected a rectangular array"),
        ({"states": [[["S"]]]}, "states: got 'list', expected a rectangular array of numbers (these are of type <U1)"),
        ({"states": np.full((3, 4, 5), 2**63, dtype=np.uint64)}, "too large"),
        ({"rewards": torch.zeros(3, 4, 5, dtype=torch.complex64)}, "rewards: got 'torch.complex64, "),
        ({"rewards": np.zeros((3, 4, 5), dtype=complex)}, "rewards: got 'ndarray'"),
        ({"actions": torch.zeros(3, 4, 5).to_sparse()}, "actions: got 'torch.float32, torch.sparse_coo'"),
        ({"state_count": 0}, "state_count: got 0, expected a whole number from 1 to 1,000,000"),
        ({"state_count": 2.5}, "state_count: got 2.5, expected a whole number"),
        ({"state_count": 10**7}, "state_count: got 10000000"),
        ({"state_count": 3, "state_names": ("a", "b")}, "state_count: got 3, expected 2, as there are names"),
        ({"state_names": ("a", "b", "a")}, "state_names: got 'a', expected different names"),
        ({"state_names": "abc"}, "state_names: got 'abc', expected a list of names"),
        ({"state_names": 3}, "state_names: got 3, expected a list of names"),
        ({"action_names": ("a", "\0")}, "action_names[1]: got '\\x00', expected a name"),
        ({"action_names": ("a", 1)}, "action_names[1]: got 1, expected a name"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_with_its_place(given: dict[str, Any], words: str) -> None:
    data = some()
    parts = {name: getattr(data, name) for name in TENSORS} | given
    found = refusal(lambda: AgentData(**parts))
    assert words in found, found


def test_episodes_hang_together() -> None:
    data = some()
    after = data.next_states.clone()
    after[1, 2, 3:] = (after[1, 2, 3:] + 1) % 3
    after[2, 3] = (after[2, 3] + 1) % 3  # of the last step: free
    found = refusal(lambda: AgentData(data.states, data.actions, data.rewards, after))
    got, right = int(after[1, 2, 3]), int(data.states[1, 3, 3])
    assert found == (
        f"next_states[1, 2, 3]: got {got}, expected {right}, this agent's state at the next step (2 of 45 differ)"
    )


def test_a_flow_too_large_is_refused() -> None:
    data = some(1, 40, 40, state_count=10**6)
    assert "state_count: got 1000000, expected fewer" in refusal(lambda: data.flow)


def test_what_a_configuration_says(tmp_path: Path) -> None:
    data = some(source="graphon/sis\n  a=1")
    said = data.plain()
    assert json.loads(json.dumps(said)) == said
    assert (said["source"], said["agents"], said["positions"]) == ("graphon/sis a=1", 5, "known")
    assert "file" not in said
    read = read_agents(data.save(tmp_path / "a.npz"))
    file = hashlib.sha256((tmp_path / "a.npz").read_bytes()).hexdigest()
    assert read.plain() == {**said, "file": str(tmp_path / "a.npz"), "sha256": file}
    contents = {read.content, read.subset(episodes=[0, 1]).content, read.without_positions().content}
    contents |= {some(state_count=4).content, AgentData(*(getattr(data, n) for n in TENSORS[:4])).content}
    assert len(contents) == 4  # the last one is that of the data without positions
    assert "file" not in read.subset(agents=[0]).plain()


def test_frame_is_tidy_and_needs_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    data = some()
    frame = data.frame()
    assert list(frame) == ["episode", "step", "agent", "state", "action", "reward", "next_state", "position"]
    assert "position" not in data.without_positions().frame()
    for row in frame.sample(20, random_state=0).itertuples():
        at = (row.episode, row.step, row.agent)
        assert (row.state, row.action, row.reward, row.next_state) == tuple(
            float(getattr(data, name)[at]) for name in TENSORS[:4]
        )
        assert data.positions is not None
        assert row.position == float(data.positions[row.agent])
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtra, match=r"^frame\(\) needs pandas: pip install 'gamesim\[data\]'$"):
        data.frame()


# --- there and back -------------------------------------------------------------------------------------------------


@st.composite
def datasets(draw: st.DrawFn) -> AgentData:
    e, h, n, s, a = (draw(st.integers(1, top)) for top in (3, 3, 3, 300, 3))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    path, actions = rng.integers(0, s, (e, h + 1, n)), rng.integers(0, a, (e, h, n))
    number = st.floats(allow_nan=False, allow_infinity=False)
    rewards = draw(st.lists(number, min_size=e * h * n, max_size=e * h * n))
    x = draw(st.none() | st.lists(st.floats(0, 1), min_size=n, max_size=n))
    letters = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=4)
    names = draw(st.just([]) | st.lists(letters, min_size=3, max_size=3, unique=True))
    return AgentData(
        path[:, :-1], actions, np.reshape(rewards, (e, h, n)), path[:, 1:], x, s, action_names=tuple(names)
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@given(data=datasets())
@settings(max_examples=60, deadline=None)
def test_what_is_saved_is_read(data: AgentData, folder: Path) -> None:
    assert_same(read_agents(data.save(folder / "a.npz")), data)
    data.frame().sample(frac=1, random_state=1).to_csv(folder / "a.csv", index=False)
    names = {"action_names": data.action_names} if data.action_names else {}
    counts = {"state_count": data.state_count, "action_count": data.action_count}
    assert_same(read_agents(folder / "a.csv", **counts, **names), data)  # type: ignore[arg-type]


def test_a_saved_file_is_small_deterministic_and_keeps_its_words(tmp_path: Path) -> None:
    data = some(20, 50, 30, state_names=("S", "I", "R"), source="a game", notes=("one thing left out",))
    paths = [data.save(tmp_path / f"{i}.npz") for i in (1, 2)]
    assert len({fingerprint(path) for path in paths}) == 1
    with np.load(paths[0]) as arrays:
        assert arrays["states"].dtype == arrays["actions"].dtype == np.uint8
        assert arrays["states"].shape == (20, 51, 30)
    found = read_agents(str(paths[0]))
    assert_same(found, data)
    assert (found.source, found.notes) == ("a game", ("one thing left out",))
    assert some().save(tmp_path / "b.NPZ") == tmp_path / "b.NPZ"
    assert read_agents(tmp_path / "b.NPZ").source == "b.NPZ"


def test_a_save_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = some().save(tmp_path / "a.npz")
    before = path.read_bytes()

    def full(file: Any, **_: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    assert "No space left on device" in refusal(lambda: some(2).save(path))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    monkeypatch.undo()
    for bad, words in (
        (tmp_path / "a.csv", "a name that ends in .npz"),
        (tmp_path / "no" / "a.npz", "No such file or directory"),
        ("a\0.npz", "null"),
        ("~nobody-of-that-name/a.npz", "a file that can be written"),
        (3, "a file that can be written"),
    ):
        assert words in refusal(lambda bad=bad: some().save(bad))  # type: ignore[misc]
    (tmp_path / "d.npz").mkdir()
    assert "a file that can be written" in refusal(lambda: some().save(tmp_path / "d.npz"))


# --- tables ---------------------------------------------------------------------------------------------------------


def table(path: Path, *lines: str, header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def test_a_table_against_pandas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows and columns in any order, numbers from anywhere, other columns, and parts read one after another."""
    data = some(4, 3, 5)
    frame = data.frame()
    frame["episode"] = frame["episode"].map({0: -5, 1: 0, 2: 10**12, 3: 10**15})
    frame["agent"] = frame["agent"] * 3 + 7
    frame["City"] = 'Paris, the "old" one'
    frame["age"] = ""
    columns = ["City", "next_state", "reward", "agent", "position", "action", "state", "age", "step", "episode"]
    frame = frame[columns].sample(frac=1, random_state=3)
    frame.to_csv(tmp_path / "a.csv")
    for at_once in (200_000, 7):
        monkeypatch.setattr(module, "ROWS_AT_ONCE", at_once)
        found = read_agents(tmp_path / "a.csv")
        assert_same(found, data)
        assert found.notes == ("columns left out: (no name), City, age",)
    pivot = frame.sort_values(["episode", "step", "agent"])["reward"].to_numpy().reshape(4, 3, 5)
    assert np.array_equal(found.rewards.numpy(), pivot)


def test_every_bit_of_a_reward_is_kept(tmp_path: Path) -> None:
    rewards = np.array([-0.0, 0.0, 5e-324, -1.7976931348623157e308, 0.1 + 0.2, 2.0**53 + 2]).reshape(1, 6, 1)
    zeros = np.zeros(rewards.shape, dtype=int)
    for part in (slice(None), slice(2)):
        data = AgentData(zeros[:, part], zeros[:, part], rewards[:, part], zeros[:, part])  # type: ignore[arg-type]
        data.frame().to_csv(tmp_path / "a.csv", index=False)
        assert_same(read_agents(tmp_path / "a.csv"), data)
        assert_same(read_agents(data.save(tmp_path / "a.npz")), data)


def test_every_kind_of_table(tmp_path: Path) -> None:
    data = some()
    text = data.frame().to_csv(index=False)
    spaced = text.replace(",", " ,\t").replace("episode", "# made by hand\n\n Episodes").replace("next_", "Next ")
    numbers = data.frame().to_numpy()
    head = ",".join(data.frame())
    cases: dict[str, bytes] = {
        "plain.csv": text.encode(),
        "bom.CSV": text.encode("utf-8-sig"),
        "windows.csv": text.replace("\n", "\r\n").encode(),
        "tabs.tsv": text.replace(",", "\t").encode(),
        "packed.csv.gz": gzip.compress(text.encode()),
        "packed.tsv.gz": gzip.compress(text.replace(",", "\t").encode()),
        "spaced.csv": spaced.encode(),
        "comments.csv": text.replace("\n", "\n\n # so, and so\n\t\n").encode(),
        "quoted.csv": re.sub(r"([^,\n]+)", r'"\1"', text).encode(),
        "no-end.csv": text.rstrip("\n").encode(),
    }
    stream = io.StringIO()
    np.savetxt(stream, numbers, delimiter=",", header=head, fmt="%.17g")
    cases["savetxt.csv"] = stream.getvalue().encode()
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        found = read_agents(tmp_path / name)
        assert_same(found, data)
        assert (found.source, found.sha256) == (name, hashlib.sha256(content).hexdigest())
        assert not found.notes


def test_states_and_actions_may_be_names(tmp_path: Path) -> None:
    lines = ["0,0,0, well ,go,1,ill", "0,1,0,ill,stay,1,well", "0,2,0,well,go,2,well"]
    found = read_agents(table(tmp_path / "a.csv", *lines))
    assert (found.state_names, found.action_names) == (("ill", "well"), ("go", "stay"))
    assert found.paths.flatten().tolist() == [1, 0, 1, 1]
    given = read_agents(tmp_path / "a.csv", state_names=["well", "ill", "immune"], action_names=("stay", "go"))
    assert (given.state_count, given.paths.flatten().tolist()) == (3, [0, 1, 0, 0])
    assert given.actions.flatten().tolist() == [1, 0, 1]
    assert refusal(lambda: read_agents(tmp_path / "a.csv", state_names=["well", "chill"])) == (
        f"data {tmp_path / 'a.csv'} line 2, next_state: got 'ill', expected one of chill, well; did you mean chill or "
        "well?"
    )
    hashed = [line.replace("stay", "go#1") for line in lines]  # no comment begins inside a line
    assert read_agents(table(tmp_path / "c.csv", *hashed)).action_names == ("go", "go#1")
    named = read_agents(table(tmp_path / "b.csv", *ROWS), state_names=("S", "I"))  # numbers may have names, too
    assert named.state_names == ("S", "I")


def test_next_states_may_be_left_out(tmp_path: Path) -> None:
    data = some(2, 5, 3)
    frame = data.frame().drop(columns="next_state")
    frame.to_csv(tmp_path / "a.csv", index=False)
    arrays = {name: getattr(data, name).numpy() for name in TENSORS if name != "next_states"}
    np.savez(tmp_path / "a.npz", **arrays)
    shorter = AgentData(
        data.states[:, :-1], data.actions[:, :-1], data.rewards[:, :-1], data.next_states[:, :-1], data.positions
    )
    note = "no next states given: the actions and rewards of the last step are left out (6 of each)"
    for name in ("a.csv", "a.npz"):
        found = read_agents(tmp_path / name)
        assert_same(found, shorter)
        assert found.notes == (note,)
    frame[frame.step == 0].to_csv(tmp_path / "b.csv", index=False)
    assert "at least two steps" in refusal(lambda: read_agents(tmp_path / "b.csv"))
    frame[frame.step != 1].to_csv(tmp_path / "b.csv", index=False)
    assert "steps 2, then 3', expected next_state, or steps that are all 2 apart" in refusal(
        lambda: read_agents(tmp_path / "b.csv")
    )
    frame[frame.step % 2 == 0].to_csv(tmp_path / "b.csv", index=False)
    assert torch.equal(read_agents(tmp_path / "b.csv").paths, data.states[:, ::2])
    # An entry of the last step is named as it stands in the file.
    frame.loc[frame.index[-1], "state"] = -4
    frame.to_csv(tmp_path / "c.csv", index=False)
    assert "c.csv line 31, state: got -4" in refusal(lambda: read_agents(tmp_path / "c.csv"))
    arrays["states"][1, 4, 2] = -4
    np.savez(tmp_path / "c.npz", **arrays)
    assert "c.npz, states[1, 4, 2]: got -4" in refusal(lambda: read_agents(tmp_path / "c.npz"))


def with_row(i: int, row: str) -> list[str]:
    return [row if j == i else old for j, old in enumerate(ROWS)]


LESS = HEADER.removesuffix(",next_state")
MORE = HEADER + ",position"
TABLES: dict[str, tuple[str | bytes, dict[str, Any], str]] = {
    "empty": ("", {}, ": got 'no lines', expected a header line with the columns episode, step"),
    "blank": ("\n\n \n# only this\n", {}, ": got 'no lines'"),
    "header": (HEADER, {}, ": got 'a header line alone', expected a row for each step of each agent"),
    "no header": ("\n".join(ROWS), {}, " line 1: got 'columns 0, 0, 0, 1, 0, 1.5, 0', expected a header line"),
    "missing": ("episode,step,agent,state,action\n0,0,0,0,0", {}, "separated by commas; reward missing"),
    "semicolons": (HEADER.replace(",", ";"), {}, "separated by commas; episode, step"),
    "twice": (f"{HEADER},State\n0,0,0,0,0,0,0,0", {}, "expected one column state"),
    "negative": (with_row(2, "0,1,0,-1,0,0,1"), {}, " line 4, state: got -1, expected a whole number from 0"),
    "half": (with_row(2, "0,1,0,0,0.5,0,1"), {}, " line 4, action: got 0.5, expected a whole number"),
    "nan": (with_row(2, "0,1,0,0,0,nan,1"), {}, " line 4, reward: got nan, expected a finite number"),
    "infinite": (with_row(1, "0,0,1,0,1,-1e999,0"), {}, " line 3, reward: got -inf, expected a finite number"),
    "text": (with_row(2, "0,1,0,0,0,x,1"), {}, " line 4, reward: got 'x', expected a number"),
    "late name": (with_row(2, "0,1,0,I,0,1,1"), {}, " line 4, state: got 'I', expected a number, as in the first row"),
    "no value": (with_row(2, "0,1,0,0,0,,1"), {}, " line 4, reward: got '', expected a number"),
    "first of all": (with_row(0, "0,0,0,,0,1,0"), {}, " line 2, state: got '', expected a number"),
    "short": (with_row(2, "0,1,0,0,0,1"), {}, " line 4: got '6 values', expected 7, one for each column"),
    "long": (with_row(2, "0,1,0,0,0,1,1,1"), {}, " line 4: got '8 values', expected 7"),
    "long first": (with_row(0, "0,0,0,1,0,1.5,0,9"), {}, " line 2: got '8 values', expected 7"),
    "mismatch": (with_row(0, "0,0,0,1,0,1.5,1"), {}, " line 2, next_state: got 1, expected 0, this agent's state at"),
    "doubled": ([*ROWS, ROWS[1]], {}, " line 6: got 'episode 0, step 0, agent 1 again, as in line 3', expected one"),
    "instead": (with_row(3, ROWS[1]), {}, " line 5: got 'episode 0, step 0, agent 1 again, as in line 3'"),
    "gap": (ROWS[:3], {}, ": got 'no row for episode 0, step 1, agent 1 (1 missing)', expected one row for each of 2"),
    "gaps": ([*ROWS, "9,1,5,0,0,0,0"], {}, ": got 'no row for episode 0, step 0, agent 5 (7 missing)'"),
    "odd step": (with_row(2, "0,1.5,0,0,0,0,1"), {}, " line 4, step: got 1.5, expected a whole number below 2^53"),
    "long agent": (with_row(2, "0,1,9007199254740993,0,0,0,1"), {}, " line 4, agent: got 9007199254740992.0"),
    "no episode": (with_row(2, "nan,1,0,0,0,0,1"), {}, " line 4, episode: got nan"),
    "one state": (ROWS, {"state_count": 1}, " line 2, state: got 1, expected a whole number from 0 to 0"),
    "one action": (ROWS, {"action_names": ["a"]}, " line 3, action: got 1, expected a whole number from 0 to 0"),
    "bad count": (ROWS, {"state_count": -1}, ", state_count: got -1, expected a whole number from 1"),
    "many states": (with_row(2, "0,1,0,1000000,0,0,1"), {}, " line 4, state: got 1000000"),
    "moving": (["0,0,0,0,0,0,0,0.5", "0,1,0,0,0,0,0,0.6"], {}, " line 3, position: got 0.6, expected 0.5, as in"),
    "outside": (["0,0,0,0,0,0,0,0.5", "0,0,1,0,0,0,0,1.5"], {}, " line 3, position: got 1.5, expected a position"),
    "nowhere": (["0,0,0,0,0,0,0,nan"], {}, " line 2, position: got nan, expected a position"),
    "nameless": (["0,0,0,S,0,0,I", "0,1,0,,0,0,I"], {}, " line 3, state: got '', expected a name"),
    "comments": (["# one", "", "0,0,0,0,0,0,0", "  # two", "0,1,0,0,0,inf,0"], {}, " line 6, reward: got inf"),
    "open quote": (with_row(2, '0,1,0,0,0,"1,1'), {}, " line 4: got '0,1,0,0,0,\"1,1', expected quotes that end"),
    "nul": (with_row(2, "0,1,0,0,0,\0,1"), {}, " line 4, reward: got '\\x00', expected a number"),
    "one long line": ("7" * 200_000, {}, " line 1: got 'more than 100,000 letters', expected shorter lines"),
    "utf-16": ("\n".join([HEADER, *ROWS]).encode("utf-16"), {}, "expected a text file in UTF-8"),
    "latin-1": (f"{HEADER},é\n{ROWS[0]},1".encode("latin-1"), {}, "expected a text file in UTF-8"),
    "bytes": (bytes(range(256)) * 9, {}, "expected a text file in UTF-8"),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLES)
def test_tables_are_refused_with_the_line(case: str, tmp_path: Path) -> None:
    content, options, words = TABLES[case]
    if isinstance(content, list):
        header = MORE if content[0].count(",") == 7 and case not in ("long first",) else HEADER
        content = "\n".join([header, *content])
    path = tmp_path / "a.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = refusal(lambda: read_agents(path, **options))
    assert f"{path}{words}" in found or (words.startswith(("expected", "sep")) and words in found), found


@given(places=st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=1, max_size=9), far=st.sampled_from([1, 10**14]))
@settings(max_examples=100, deadline=None)
def test_the_first_row_that_lacks_or_is_doubled(places: list[tuple[int, int, int]], far: int, folder: Path) -> None:
    path = table(folder / "rows.csv", *(f"{e * far},{h},{n * far},0,0,0,0" for e, h, n in places))
    E, H, N = (sorted(set(ids)) for ids in zip(*places, strict=True))
    lacking = [place for place in itertools.product(E, H, N) if place not in places]
    doubled = [i for i, place in enumerate(places) if place in places[:i]]
    if doubled:
        e, h, n = places[i := doubled[0]]
        before = places.index((e, h, n))
        words = f"line {i + 2}: got 'episode {e * far}, step {h}, agent {n * far} again, as in line {before + 2}'"
    elif lacking:
        e, h, n = lacking[0]
        words = f"no row for episode {e * far}, step {h}, agent {n * far} ({len(lacking)} missing)"
    else:
        assert len(read_agents(path)) == len(places)
        return
    assert words in refusal(lambda: read_agents(path))


def test_rows_past_the_first_part_are_named_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 4)
    lines = [f"0,{h},0,0,0,{h},0" for h in range(11)]
    assert len(read_agents(table(tmp_path / "a.csv", *lines))) == 11
    for bad, words in (
        ("0,9,0,0,0,nan,0", "reward: got nan"),
        ("0,9,0,0,x,0,0", "action: got 'x'"),
        ("0,9", "2 values"),
    ):
        lines[9] = bad
        found = refusal(lambda: read_agents(table(tmp_path / "a.csv", *lines)))
        assert "a.csv line 11" in found
        assert words in found


# --- archives -------------------------------------------------------------------------------------------------------


def arrays_of(data: AgentData) -> dict[str, Any]:
    return {name: getattr(data, name).numpy() for name in TENSORS}


def archive(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def npy(array: Any, version: tuple[int, int] = (1, 0)) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asarray(array), version)
    return stream.getvalue()


def npy_header(shape: tuple[int, ...], dtype: str) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": dtype, "fortran_order": False, "shape": shape})
    return stream.getvalue()


def test_archives_of_other_people(tmp_path: Path) -> None:
    data = some()
    parts = arrays_of(data)
    path = tmp_path / "a.npz"
    np.savez_compressed(path, **{name: np.asfortranarray(part.astype(float)) for name, part in parts.items()})
    assert_same(read_agents(path), data)
    long = {"state": data.paths.numpy(), "Action": parts["actions"], "reward": parts["rewards"].astype(">f8")}
    np.savez(path, **long, position=parts["positions"], age=np.ones(3), who=np.array([{}], dtype=object))
    found = read_agents(path)
    assert_same(found, data)
    assert found.notes == ("arrays left out: age, who",)  # and not opened: one of them is pickled
    np.savez(path, **parts, state_names=np.array(["a", "b", "c", "d"]), action_count=3)
    named = read_agents(path)
    assert (named.state_names, named.action_count) == (("a", "b", "c", "d"), 3)
    assert read_agents(path, state_names=("x", "y", "z"), action_count=2).state_names == ("x", "y", "z")
    data.save(path)
    assert read_agents(path, state_names=("x", "y", "z", "more")).state_count == 4
    assert read_agents(path, state_names=[]).state_count == 3


def test_archives_are_refused(tmp_path: Path) -> None:
    parts = arrays_of(some())
    path = tmp_path / "a.npz"
    bad = parts["rewards"].copy()
    bad[0, 1, 2] = np.nan
    cases: list[tuple[dict[str, Any], str]] = [
        ({"rewards": bad}, f"data {path}, rewards[0, 1, 2]: got nan, expected a finite number"),
        ({"states": parts["states"] - 1}, "states[0"),
        ({"actions": parts["actions"][0]}, "actions: got 'shape [4, 5]', expected [3, 4, 5]"),
        ({"positions": parts["positions"][:2]}, "positions: got 'shape [2]'"),
        ({"rewards": None}, "rewards, next_states, each [episodes, steps, agents]; rewards missing"),
        ({"reward": np.zeros(3)}, "got 'rewards.npy and reward.npy', expected each array once"),
        ({"rewards": np.array([[["x"]]])}, "array rewards: got 'type <U1', expected plain numbers"),
        ({"rewards": np.zeros(3, dtype=complex)}, "array rewards: got 'type complex128'"),
        ({"rewards": np.zeros(3, dtype="M8[s]")}, "array rewards: got 'type datetime64[s]'"),
        ({"rewards": np.zeros(3, dtype=[("a", "f8")])}, "array rewards: got"),
        ({"state_names": np.array([b"a"])}, "array state_names: got 'type |S1', expected plain text"),
        ({"state_names": np.array(["a"])}, "states[0"),
        ({"state_count": np.array([1, 2])}, "state_count: got 'shape [2]', expected one value"),
        ({"state_count": np.array(0)}, "state_count: got 0, expected"),
        ({"format": np.array("gamesim-agents-9")}, "format: got 'gamesim-agents-9', expected gamesim-agents-1"),
        ({"next_states": None, "states": parts["states"][0]}, "got 'states of shape [4, 5], actions of"),
        ({"next_states": None, "states": parts["states"][:, :1]}, "expected next_states, or states with one step more"),
        ({"next_states": None, "states": parts["states"][:, :2]}, "expected next_states, or states with"),
    ]  # fmt: skip
    for change, words in cases:
        np.savez(path, **{name: part for name, part in (parts | change).items() if part is not None})
        found = refusal(lambda: read_agents(path))
        assert words in found, found
        assert str(path) in found


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "sprung",))

    for name in ("states", "state_names"):
        np.savez(tmp_path / "a.npz", **{**arrays_of(some()), name: np.array([[[Trap()]]], dtype=object)})
        assert "nothing is unpickled" in refusal(lambda: read_agents(tmp_path / "a.npz"))
    assert not (tmp_path / "sprung").exists()


def test_declared_sizes_are_checked_before_anything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.npz"
    fine = {f"{name}.npy": npy(part) for name, part in arrays_of(some()).items()}
    header = npy_header((2, 2), "<f8")
    monkeypatch.setattr(np.lib.format, "read_array", lambda *_, **__: pytest.fail("an array was read"))
    for member, words in (
        (npy_header((10**6, 10**6), "<f8"), "shape [1000000, 1000000]', expected 0 bytes, as the archive says"),
        (npy_header((-1, -1), "<f8"), "expected"),
        (npy_header((10**18,), "<U0"), "array state_names"),
        (header + b"\0" * 31, "expected 31 bytes"),
        (header + b"\0" * 33, "expected 33 bytes"),
        (b"\x93NUMPY\x03\x00" + header[8:], "npy version (3, 0)"),
        (b"\x93NUMPY\x01\x00\x02\x00{}", "expected an .npz archive"),
        (b"", "expected an .npz archive"),
    ):
        name = "state_names.npy" if b"<U0" in member else "rewards.npy"
        found = refusal(lambda: read_agents(archive(path, {**fine, name: member})))  # noqa: B023
        assert words in found, found
    assert "compression 12" in refusal(lambda: read_agents(archive(path, fine, zipfile.ZIP_BZIP2)))
    many = npy_header((10**6 + 1,), "<U1") + b"\0" * 4 * (10**6 + 1)
    small = zipfile.ZIP_DEFLATED
    assert "at most 1,000,000 entries" in refusal(
        lambda: read_agents(archive(path, {**fine, "notes.npy": many}, small))
    )
    monkeypatch.setattr(module, "ARRAYS_LIMIT", 10**6)
    zeros = npy(np.zeros((50, 50, 51)))
    found = refusal(lambda: read_agents(archive(path, {**fine, "rewards.npy": zeros}, small)))
    assert path.stat().st_size < 20_000
    assert "0.00102 GB of arrays" in found


def test_sizes_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, words in (("a.csv", "at most 1000 MB"), ("a.npz", "at most 2000 MB"), ("a.csv.gz", "at most 1000 MB")):
        with (tmp_path / name).open("wb") as file:
            file.truncate(3 * 10**9)
        monkeypatch.setattr(module, "fingerprint", lambda _: pytest.fail("the file was read"))
        assert words in refusal(lambda name=name: read_agents(tmp_path / name))  # type: ignore[misc]
    monkeypatch.undo()
    monkeypatch.setattr(module, "TEXT_LIMIT", 10**6)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress((HEADER + "\n" + ROWS[0] + "\n" + "\n" * 10**7).encode()))
    assert "more than 1,000,000 letters" in refusal(lambda: read_agents(tmp_path / "a.csv.gz"))


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    for name in ("a.npz", "a.csv.gz"):
        (tmp_path / name).write_bytes(b"no such thing")
    for source, words in (
        ("", "this is a folder"),
        ("no/such.csv", "an existing file (.npz, .csv, .tsv, .csv.gz, .tsv.gz)"),
        (str(tmp_path), "this is a folder"),
        ("/dev/null", "no regular file"),
        ("a\0b.csv", "file"),
        ("x" * 5000 + ".csv", "a file"),
        ("~nobody-of-that-name/a.csv", "file"),
        (3, "the name of a file"),
        (tmp_path / "a.txt", "a file whose name ends in one of .npz, .csv"),
        (tmp_path / "a.npz", "an .npz archive of numpy.savez (BadZipFile: File is not a zip file)"),
        (tmp_path / "a.csv.gz", "(BadGzipFile: Not a gzipped file"),
    ):
        assert words in refusal(lambda source=source: read_agents(source))  # type: ignore[misc]


# --- garbage --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def originals(folder: Path) -> dict[str, bytes]:
    data = some(2, 2, 2, state_names=("a", "b", "c"))
    text = data.frame().to_csv(index=False)
    np.savez(folder / "plain.npz", **arrays_of(data))
    return {
        ".npz": data.save(folder / "saved.npz").read_bytes(),
        "plain.npz": (folder / "plain.npz").read_bytes(),
        ".csv": text.encode(),
        "named.csv": re.sub(r",(\d),(\d),", r",s\1,a\2,", text).encode(),
        ".csv.gz": gzip.compress(text.encode()),
    }


GARBAGE = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def survives(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        assert isinstance(read_agents(path), AgentData)
    except InvalidInput as error:
        assert "\n" not in str(error)  # noqa: PT017


@given(content=st.binary(max_size=300), kind=st.sampled_from(module.KINDS))
@GARBAGE
def test_garbage_is_refused(content: bytes, kind: str, folder: Path) -> None:
    packed = gzip.compress(content) if kind.endswith(".gz") and len(content) % 2 else content
    survives(folder / f"garbage{kind}", packed)


WORDS = st.sampled_from(
    [*HEADER.split(","), "position", "0", "1", "-1", "0.5", "nan", "inf", "1e400", "S", "", '"', "#"]
)


@given(rows=st.lists(st.lists(WORDS, max_size=9), max_size=6), header=st.booleans())
@GARBAGE
def test_tables_of_loose_words(rows: list[list[str]], header: bool, folder: Path) -> None:
    lines = [HEADER] * header + [",".join(row) for row in rows]
    survives(folder / "words.csv", "\n".join(lines).encode())


@given(data=st.data())
@settings(GARBAGE, max_examples=400)
def test_files_that_are_damaged(data: st.DataObject, folder: Path, originals: dict[str, bytes]) -> None:
    kind = data.draw(st.sampled_from(sorted(originals)))
    content = bytearray(originals[kind])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1)) if content else 0
        match data.draw(st.sampled_from(["change", "cut", "insert", "end"])):
            case "change" if content:
                content[at] = data.draw(st.integers(0, 255))
            case "cut":
                del content[at : at + data.draw(st.integers(1, 20))]
            case "insert":
                content[at:at] = data.draw(st.binary(max_size=8))
            case _:
                del content[at:]
    survives(folder / f"damaged-{kind}", bytes(content))


def test_pandas_is_not_needed_to_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = some()
    data.frame().to_csv(tmp_path / "a.csv", index=False)
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert_same(read_agents(tmp_path / "a.csv"), data)
    assert pd is not None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_data_stay_on_their_device(tmp_path: Path) -> None:
    data = some()
    parts = [getattr(data, name) for name in TENSORS]
    there = AgentData(parts[0].cuda(), *parts[1:])
    assert {getattr(there, name).device.type for name in TENSORS} == {"cuda"}
    assert torch.equal(there.flow.cpu(), data.flow)
    assert there.content == data.content
    assert there.subset([0], [1, 2]).states.device.type == "cuda"
    assert_same(read_agents(there.save(tmp_path / "a.npz")), data)
