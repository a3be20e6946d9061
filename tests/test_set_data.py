"""Datasets of sets: parts and wholes against plain loops, files to the same bits, and everything that is refused."""

import hashlib
import io
import json
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gamesim.data import SetData, from_episodes, make_header
from gamesim.data.archives import to_text
from gamesim.data.sets import PARTS
from gamesim.errors import InvalidInput

LENGTHS, SIZES = [3, 1, 2], [2, 3, 1, 4, 2, 5]
"""Steps of three episodes, and how many agents act in each of the six transitions."""


def header(**changed: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "worlds": [{"id": "sets/spread", "parameters": {"variant": "mpe2"}}, {"id": "sets/spread", "parameters": {}}],
        "behaviours": ["random", "expert"],
        "kinds_of_entity": ["agent", "landmark"],
        "features": ["x", "y", "vx"],
        "actions": ["discrete", 5],
        "references": {"0": {"random": -2.0, "expert": 2.0}},
    }
    return make_header(**given | changed)


def parts(seed: int = 0) -> dict[str, Any]:
    """Three episodes in which numbers of agents change from step to step, and states have landmarks beside them."""
    draw = np.random.default_rng(seed)
    after = [
        SIZES[k + 1] if k + 1 < 6 and k not in (2, 3) else SIZES[k] for k in range(6)
    ]  # of the states they lead to
    begin = [0, 3, 4]
    agents_of, before = list[int](), list[int]()
    for first, length in zip(begin, LENGTHS, strict=True):
        for k in range(first, first + length):
            before.append(len(agents_of))
            agents_of.append(SIZES[k])
        agents_of.append(after[first + length - 1])
    landmarks = draw.integers(0, 3, len(agents_of))
    sizes = np.array(agents_of) + landmarks
    types = np.concatenate([[0] * n + [1] * m for n, m in zip(agents_of, landmarks, strict=True)])
    return {
        "tokens": draw.standard_normal((sizes.sum(), 3)).astype(np.float32),
        "types": types,
        "offsets": np.append(0, sizes.cumsum()),
        "before": before,
        "after": [i + 1 for i in before],
        "agents": SIZES,
        "actions": draw.integers(0, 5, sum(SIZES)),
        "rewards": draw.standard_normal(sum(SIZES)).astype(np.float32),
        "terminated": [False, False, True, False, False, False],
        "truncated": [False, False, False, True, False, True],
        "episode": [0, 0, 0, 1, 2, 2],
        "time": [0, 1, 2, 0, 0, 1],
        "seed": [7, 2**62, 9],
        "behaviour": [0, 1, 0],
        "world": [0, 0, 1],
    }


def little(seed: int = 0, **changed: Any) -> SetData:
    return SetData(**parts(seed) | {"header": header()} | changed)


def same(x: SetData, y: SetData) -> bool:
    return x.content == y.content and all(torch.equal(getattr(x, n), getattr(y, n)) for n in PARTS)


# --- what it is -------------------------------------------------------------------------------------------------------


def test_sizes_and_words() -> None:
    data = little()
    assert (len(data), data.episodes, data.states) == (6, 3, 9)
    assert repr(data) == "SetData(6 transitions of 3 episodes, 1 to 5 agents, sets/spread by random, expert)"
    assert data.sizes is data.agents
    assert data.starts.tolist() == [0, 4, 6]
    assert data.plain()["transitions_by_agents"] == {"1": 1, "2": 2, "3": 1, "4": 1, "5": 1}
    assert data.plain()["episodes_by_behaviour"] == {"random": 2, "expert": 1}
    json.dumps(data.plain())
    assert {name: getattr(data, name).dtype for name in PARTS} == {**PARTS, "actions": torch.uint8}


def test_rows_against_a_loop() -> None:
    data = little()
    for chosen in ([0], [4, 4, 1], [8, 0, 3, 7]):
        rows, offsets = data.rows_of(torch.tensor(chosen))
        loops = [list(range(int(data.offsets[i]), int(data.offsets[i + 1]))) for i in chosen]
        assert rows.tolist() == [row for piece in loops for row in piece]
        assert offsets.diff().tolist() == [len(piece) for piece in loops]
    acts, _ = data.acts_of(torch.tensor([3, 0]))
    assert acts.tolist() == [6, 7, 8, 9, 0, 1]
    rows, offsets = data.rows_of(torch.zeros(0, dtype=torch.int64))
    assert len(rows) == 0
    assert offsets.tolist() == [0]


def test_returns_against_a_loop() -> None:
    data = little()
    rewards, place, found = data.rewards.double().tolist(), 0, [0.0, 0.0, 0.0]
    for k, n in enumerate(SIZES):
        found[parts()["episode"][k]] += sum(rewards[place : place + n]) / n
        place += n
    assert data.returns.tolist() == pytest.approx(found, abs=1e-12)
    scores = data.scores.tolist()
    assert scores[:2] == pytest.approx([25 * (x + 2) for x in found[:2]], abs=1e-9)
    assert np.isnan(scores[2])  # nobody measured that world


def test_select() -> None:
    data = little()
    some = data.select([2, 0, 2])
    assert some.seed.tolist() == [9, 7, 9]
    assert some.time.tolist() == [0, 1, 0, 1, 2, 0, 1]
    assert some.returns.tolist() == pytest.approx(data.returns[[2, 0, 2]].tolist(), abs=1e-12)
    k, whole = 2, 0  # the first transition of episode 0, there and here
    for there, here in ((data.before, some.before), (data.after, some.after)):
        old, new = (d.tokens[d.rows_of(at[i : i + 1])[0]] for d, at, i in ((data, there, whole), (some, here, k)))
        assert torch.equal(old, new)
    assert same(data.select(slice(None)), data)
    assert same(data.select(np.array([True, False, True])), data.select([0, 2]))
    for wrong in ([3], [], [True], "ab", 1.5):
        with pytest.raises(InvalidInput, match="episodes: got"):
            data.select(wrong)  # type: ignore[arg-type]


def test_join() -> None:
    first = little(0)
    other = header(
        worlds=[{"id": "sets/spread", "parameters": {}}, {"id": "sets/tag", "parameters": {}}],
        behaviours=["medium", "random"],
        kinds_of_entity=["landmark", "agent"],
        references={"1": {"random": 0.0, "expert": 1.0}},
    )
    second = little(1, header=other)
    both = SetData.join([first, second])
    assert (len(both), both.episodes, both.states) == (12, 6, 18)
    assert both.header["behaviours"] == ["random", "expert", "medium"]
    assert [w["id"] for w in both.header["worlds"]] == ["sets/spread", "sets/spread", "sets/tag"]
    assert both.header["references"] == {"0": {"random": -2.0, "expert": 2.0}, "2": {"random": 0.0, "expert": 1.0}}
    assert both.behaviour.tolist() == [0, 1, 0, 2, 0, 2]
    assert both.world.tolist() == [0, 0, 1, 1, 1, 2]
    split = len(first.types)
    assert torch.equal(both.types[split:], 1 - second.types)
    assert torch.equal(both.returns, torch.cat([first.returns, second.returns]))
    half = both.select([3, 4, 5])
    for name in ("tokens", "actions", "rewards", "before", "after", "time"):
        assert torch.equal(getattr(half, name), getattr(second, name))
    differing = SetData.join([first, little(1, header=header(references={"0": {"random": -3.0, "expert": 2.0}}))])
    assert differing.header["references"]["0"]["random"] == -2.0
    assert "references of world 0 differ" in differing.header["notes"][0]
    with pytest.raises(InvalidInput, match=r"header.features: got \['a', 'b', 'c'\], expected \['x', 'y', 'vx'\]"):
        SetData.join([first, little(1, header=header(features=["a", "b", "c"]))])
    with pytest.raises(InvalidInput, match="parts: got '0 of"):
        SetData.join([])


def test_episodes_of_one_world() -> None:
    draw = np.random.default_rng(3)
    tokens, rewards = torch.from_numpy(draw.standard_normal((4, 6, 5, 3))), torch.ones(4, 5, 2)
    actions = torch.from_numpy(draw.uniform(-1, 1, (4, 5, 2, 2)))
    told = header(actions=["continuous", 2])
    ended = torch.tensor([False, True, False, True])
    data = from_episodes(tokens, actions, rewards, [0, 0, 1, 1, 1], header=told, seed=range(4), terminated=ended)  # type: ignore[arg-type]
    assert len(data) == 20
    assert torch.equal(data.tokens.view(4, 6, 5, 3), tokens.float())
    assert data.returns.tolist() == [5.0] * 4
    assert data.terminated.nonzero()[:, 0].tolist() == [9, 19]
    assert data.truncated.nonzero()[:, 0].tolist() == [4, 14]
    lengths = torch.tensor([5, 2, 1, 4])
    tokens[1, 3:] = torch.nan  # behind the end nothing is looked at
    short = from_episodes(
        tokens,
        actions,
        rewards,
        [0, 0, 1, 1, 1],
        header=told,
        seed=range(4),
        lengths=lengths,
        terminated=ended,  # type: ignore[arg-type]
    )
    assert short.episode_offsets.diff().tolist() == lengths.tolist()
    for k in range(len(short)):
        e, h = int(short.episode[k]), int(short.time[k])
        rows, _ = short.rows_of(short.after[k : k + 1])
        assert torch.equal(short.tokens[rows], tokens[e, h + 1].float())
        assert torch.equal(short.actions[short.acts_of(torch.tensor([k]))[0]], actions[e, h].float())
    with pytest.raises(InvalidInput, match="lengths: got"):
        from_episodes(tokens, actions, rewards, [0] * 5, header=told, seed=range(4), lengths=torch.tensor([6, 1, 1, 1]))  # type: ignore[arg-type]


# --- what is refused --------------------------------------------------------------------------------------------------


def put(name: str, at: Any, value: Any) -> Any:
    """The part with one entry changed."""

    def change(given: dict[str, Any]) -> None:
        array = np.array(given[name])
        array[at] = value
        given[name] = array

    return change


def instead(**changed: Any) -> Any:
    """Other parts."""
    return lambda given: given.update(changed)


REFUSED = {
    "NaN in a token": (put("tokens", (4, 1), np.nan), r"tokens\[4, 1\]: got nan, expected a finite number"),
    "a token beyond float32": (instead(tokens=parts()["tokens"] * np.float64(1e39)), r"tokens\[0, 0\]: got -?inf"),
    "an unknown kind": (put("types", 3, 2), r"types\[3\]: got 2, expected a kind of entity from 0 to 1"),
    "offsets that begin late": (put("offsets", 0, 1), r"offsets\[0\]: got 1, expected 0"),
    "offsets that go back": (put("offsets", 3, 1), r"offsets\[3\]: got 1, expected more than \d+"),
    "a set of nobody": (lambda g: put("offsets", 2, g["offsets"][1])(g), r"offsets\[2\]: got \d+, expected more"),
    "offsets that end early": (instead(tokens=np.ones((99, 3)), types=[0] * 99), r"offsets\[9\]: got \d+, expected 99"),
    "a state that is not there": (put("after", 1, 9), r"after\[1\]: got 9, expected a state from 0 to 8"),
    "a state before the first": (put("before", 0, -1), r"before\[0\]: got -1"),
    "no agents": (put("agents", 2, 0), r"agents\[2\]: got 0, expected at least 1"),
    "more agents than entities": (
        instead(agents=[9, *SIZES[1:]], actions=[0] * 24, rewards=[0.0] * 24),
        r"agents\[0\]: got 9, expected at most \d, the entities of state before\[0\]",
    ),
    "huge numbers of agents": (put("agents", 2, 2**40), r"agents\[2\]: got 1099511627776, expected at most"),
    "an action outside": (put("actions", 5, 5), r"actions\[5\]: got 5, expected an action from 0 to 4"),
    "an action below": (put("actions", 5, -1), r"actions\[5\]: got -1, expected a whole number from 0 to 255"),
    "half an action": (instead(actions=parts()["actions"] + 0.5), r"actions\[0\]: got \d.5, expected a whole number"),
    "NaN for an action": (instead(actions=np.full(17, np.nan)), r"actions\[0\]: got nan, expected a whole number"),
    "an infinite reward": (put("rewards", 8, np.inf), r"rewards\[8\]: got inf, expected a finite number"),
    "both flags": (put("truncated", 2, True), r"truncated\[2\]: got 1, expected false: this transition is terminated"),
    "an end in the middle": (
        put("terminated", 0, True),
        r"terminated\[0\]: got 1, expected false: the episode goes on",
    ),
    "a cut in the middle": (put("truncated", 0, True), r"truncated\[0\]: got 1, expected false: the episode goes on"),
    "an end without a flag": (put("truncated", 5, False), r"truncated\[5\]: got 0, expected true, or terminated"),
    "an episode in two parts": (instead(episode=[0, 0, 0, 1, 0, 0]), r"episode\[4\]: got 0, expected 2"),
    "an episode left out": (instead(episode=[0, 0, 0, 2, 3, 3]), r"episode\[3\]: got 2, expected 1"),
    "a step left out": (put("time", 2, 3), r"time\[2\]: got 3, expected 2"),
    "a chain that breaks": (
        put("before", 1, 5),
        r"before\[1\]: got 5, expected 1, the state that transition 0 leads to",
    ),
    "a behaviour without a name": (
        put("behaviour", 1, 2),
        r"behaviour\[1\]: got 2, expected a place in header.behaviours",
    ),
    "a world without a name": (put("world", 1, 2), r"world\[1\]: got 2"),
    "too few seeds": (instead(seed=[1, 2], behaviour=[0, 0], world=[0, 0]), "seed: got '2 entries', expected 3"),
    "too few rewards": (instead(rewards=[0.0]), r"rewards: got 'shape \[1\]', expected \[17\]"),
    "tokens of another width": (instead(tokens=np.ones((17, 2))), r"tokens: got 'shape \[17, 2\]', expected \[17, 3\]"),
    "forces where moves are": (
        instead(actions=np.zeros((17, 2))),
        r"actions: got 'shape \[17, 2\]', expected \[agents",
    ),
    "nothing": (instead(before=[], after=[]), "before: got 'nothing', expected at least one"),
    "text": (instead(rewards=["a"] * 17), "rewards: got 'list', expected a rectangular array of numbers"),
    "ragged lists": (instead(tokens=[[1], [1, 2]]), "tokens: got 'list', expected a rectangular array"),
    "complex numbers": (instead(rewards=torch.zeros(17, dtype=torch.complex64)), "rewards: got 'torch.complex64"),
}


@pytest.mark.parametrize("case", REFUSED, ids=lambda c: c.replace(" ", "-"))
def test_refused(case: str) -> None:
    change, wanted = REFUSED[case]
    given = parts()
    change(given)
    with pytest.raises(InvalidInput, match=wanted) as error:
        SetData(**given, header=header())
    assert "\n" not in str(error.value)


def test_forces_are_refused_beyond_one() -> None:
    forces = np.zeros((17, 2))
    forces[3, 1] = -1.5
    with pytest.raises(InvalidInput, match=r"actions\[3, 1\]: got -1.5, expected a number in \[-1, 1\]"):
        little(actions=forces, header=header(actions=["continuous", 2]))
    with pytest.raises(InvalidInput, match=r"actions: got 'shape \[17, 2\]', expected \[17, 3\]"):
        little(actions=forces, header=header(actions=["continuous", 3]))


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        ({"worlds": []}, "header.worlds: got '0 entries'"),
        ({"worlds": [{"parameters": {}}]}, r"header.worlds\[0\]: got"),
        ({"behaviours": ["a", "a"]}, "header.behaviours"),
        ({"behaviours": [""]}, "header.behaviours"),
        ({"behaviours": [str(i) for i in range(257)]}, "header.behaviours: got '257 entries', expected 1 to 256"),
        ({"actions": ["moves", 5]}, "header.actions"),
        ({"actions": ["discrete", 257]}, "header.actions"),
        ({"actions": ["discrete", True]}, "header.actions"),
        ({"references": {"2": {"random": 0.0}}}, "header.references: got '2', expected the place of a world, 0 to 1"),
        ({"references": {"0": {"random": float("nan")}}}, "header.references.0"),
        ({"notes": "one"}, "header.notes"),
    ],
    ids=lambda x: x.split(":")[0] if isinstance(x, str) else "",
)
def test_headers_refused(changed: dict[str, Any], wanted: str) -> None:
    with pytest.raises(InvalidInput, match=wanted):
        header(**changed)
    with pytest.raises(InvalidInput, match=r"header: got 'colour', expected one of"):
        little(header=header() | {"colour": "red"})
    with pytest.raises(InvalidInput, match=r"header.format: got 'gamesim-sets-2'"):
        little(header=header() | {"format": "gamesim-sets-2"})


# --- files ------------------------------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.booleans(), st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_files_round_trip(seed: int, continuous: bool, lengths: list[int]) -> None:
    draw = np.random.default_rng(seed)
    n, extra, most = draw.integers(1, 5), draw.integers(0, 3), max(lengths)
    shape = (len(lengths), most, n)
    actions = draw.uniform(-1, 1, (*shape, 2)) if continuous else draw.integers(0, 5, shape)
    tokens = torch.from_numpy(draw.standard_normal((len(lengths), most + 1, n + extra, 3)))
    told = header(actions=["continuous", 2] if continuous else ["discrete", 5], notes=["bits, é and ∑ of it"])
    data = from_episodes(
        tokens,
        torch.from_numpy(actions),
        torch.from_numpy(draw.standard_normal(shape)),
        [0] * n + [1] * extra,
        header=told,
        seed=draw.integers(0, 2**63 - 1, len(lengths)),
        lengths=torch.tensor(lengths),
    )
    data = SetData.join([data, data.select([0])])
    with tempfile.TemporaryDirectory() as folder:
        path = data.save(Path(folder) / "data.npz")
        again = SetData.load(path)
        assert same(data, again)
        assert again.header == data.header
        with np.load(path, allow_pickle=False) as plainly:  # readable without gamesim
            assert np.array_equal(plainly["tokens"], data.tokens.numpy())
            assert json.loads(str(plainly["header"]))["actions"] == told["actions"]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return little().save(tmp_path / "data.npz")


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewritten(path: Path, given: dict[str, bytes], **options: Any) -> None:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in given.items():
            archive.writestr(name, content)


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def signed(given: dict[str, bytes], **changed: Any) -> dict[str, bytes]:
    """With a header whose hash is right."""
    said = json.loads(str(np.load(io.BytesIO(given["header.npy"]))))
    said.pop("sha256")
    said |= changed
    said["sha256"] = hashlib.sha256(to_text(said).encode()).hexdigest()
    return given | {"header.npy": npy(np.array(to_text(said)))}


def refused(path: Path) -> str:
    with pytest.raises(InvalidInput) as error:
        SetData.load(path)
    words = str(error.value)
    assert words.startswith(("data:", f"data {path}"))
    assert "\n" not in words
    return words


def test_compressed_files_are_read(saved: Path) -> None:
    rewritten(saved, members(saved), compression=zipfile.ZIP_DEFLATED)
    assert same(SetData.load(saved), little())


def test_truncated_and_foreign_files(saved: Path, tmp_path: Path) -> None:
    whole = saved.read_bytes()
    for end in (0, 10, len(whole) // 2, len(whole) - 1):
        saved.write_bytes(whole[:end])
        assert "an .npz archive of numpy.savez, whole" in refused(saved)
    assert "this is no such file" in refused(tmp_path / "none.npz")
    assert "this is a folder" in refused(tmp_path)
    np.savez(saved, states=np.zeros(3))
    assert "gamesim data import" in refused(saved)


def test_every_damaged_byte_is_found(saved: Path) -> None:
    whole, clean = saved.read_bytes(), little()
    draw = np.random.default_rng(0)
    for at in draw.integers(0, len(whole), 200):
        broken = bytearray(whole)
        broken[at] ^= 1 << int(draw.integers(8))
        saved.write_bytes(bytes(broken))
        try:
            found = SetData.load(saved)
        except InvalidInput:
            continue
        assert same(found, clean)  # dates and padding of the archive mean nothing


def test_contents_are_held_to_their_hashes(saved: Path) -> None:
    given = members(saved)
    rewards = np.load(io.BytesIO(given["rewards.npy"]))
    rewards[3] += 1
    rewritten(saved, given | {"rewards.npy": npy(rewards)})
    assert "rewards: got 'other numbers than were written'" in refused(saved)
    said = str(np.load(io.BytesIO(given["header.npy"]))).replace("mpe2", "vmas")
    rewritten(saved, given | {"header.npy": npy(np.array(said))})
    assert "header: got 'other words than were written'" in refused(saved)
    rewritten(saved, {name: content for name, content in given.items() if name != "time.npy"})
    assert "time: got 'nothing', expected [6] of |u1, as the header says" in refused(saved)
    rewritten(saved, given | {"more.npy": npy(np.zeros(2))})
    assert "more: got '[2] of <f8', expected nothing" in refused(saved)
    rewritten(saved, signed(given, format="gamesim-sets-2"))
    assert "header.format: got 'gamesim-sets-2'" in refused(saved)
    arrays = json.loads(str(np.load(io.BytesIO(given["header.npy"]))))["arrays"]
    arrays.pop("time")
    rewritten(saved, signed({n: c for n, c in given.items() if n != "time.npy"}, arrays=arrays))
    assert "time: got 'no such array'" in refused(saved)


def test_nothing_is_unpickled_or_allocated(saved: Path) -> None:
    given = members(saved)
    rewritten(saved, given | {"rewards.npy": npy(np.array([print], dtype=object))})
    assert "rewards: got 'type object', expected plain numbers" in refused(saved)
    huge = io.BytesIO()
    np.lib.format.write_array_header_1_0(huge, {"descr": "<f4", "fortran_order": False, "shape": (10**12, 3)})
    rewritten(saved, given | {"tokens.npy": huge.getvalue() + b"\0" * 96})
    assert "tokens: got 'shape [1000000000000, 3]', expected 96 bytes" in refused(saved)
    rewritten(saved, given | {"tokens.npy": b"no array at all"})
    assert "tokens: got 'damage'" in refused(saved)


def test_sizes_are_bounded(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gamesim.data import archives

    monkeypatch.setattr(archives, "LIMIT", 50_000)
    rewritten(saved, members(saved) | {"more.npy": npy(np.zeros(10**6))}, compression=zipfile.ZIP_DEFLATED)
    assert saved.stat().st_size < 50_000
    assert "of arrays up to here', expected at most" in refused(saved)
    monkeypatch.setattr(archives, "LIMIT", 100)
    assert "expected at most" in refused(saved)


def test_rules_hold_of_files_too(saved: Path) -> None:
    given = members(saved)
    time = npy(np.array([0, 1, 2, 0, 0, 5], dtype=np.uint8))
    arrays = json.loads(str(np.load(io.BytesIO(given["header.npy"]))))["arrays"]
    arrays["time"]["sha256"] = hashlib.sha256(bytes([0, 1, 2, 0, 0, 5])).hexdigest()
    rewritten(saved, signed(given | {"time.npy": time}, arrays=arrays))
    assert refused(saved).endswith("time[5]: got 5, expected 1, the steps since its episode began")


def test_saving_is_whole_or_not_at_all(saved: Path, tmp_path: Path) -> None:
    before = saved.read_bytes()
    broken = replace(little())
    object.__setattr__(broken, "header", {"f": object})
    with pytest.raises(InvalidInput, match="path: got"):
        broken.save(tmp_path / "nowhere" / "data.npz")
    with pytest.raises(InvalidInput, match=r"a name that ends in .npz"):
        little().save(tmp_path / "data.npy")
    assert saved.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["data.npz"]
