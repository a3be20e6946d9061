"""Data from elsewhere: every form of arrays, what is derived and told, and what is refused by the file's own names."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gamesim.data import SetData
from gamesim.envs.sets.spread import Spread
from gamesim.envs.sets.tag import Tag
from gamesim.errors import InvalidInput, MissingExtra
from gamesim.formats.joint import joint_arrays, write_d3rlpy
from gamesim.formats.omar import read_omar, write_omar
from gamesim.formats.set_arrays import Meaning, read_sets
from gamesim.offline.importing import import_sets
from gamesim.offline.recording import record_sets

E, H, N, L = 4, 6, 3, 3
MOVES = Meaning(actions=["discrete", 5], kinds_of_entity=("agent", "landmark"))


@pytest.fixture(scope="module")
def recorded() -> SetData:
    return record_sets(Spread(steps=H), "medium", E)


def dense(data: SetData) -> dict[str, Any]:
    """The arrays that somebody else might have."""
    return {
        "observations": data.tokens.view(E, H + 1, N + L, 4).numpy().copy(),
        "actions": data.actions.view(E, H, N).numpy(),
        "rewards": data.rewards.view(E, H, N).numpy(),
    }


def stored(folder: Path, **arrays: Any) -> Path:
    path = folder / "mine.npz"
    np.savez(path, **arrays)
    return path


def same(x: SetData, y: SetData) -> bool:
    names = ("tokens", "types", "offsets", "before", "after", "agents", "actions", "rewards", "terminated", "truncated")
    return all(torch.equal(getattr(x, name), getattr(y, name)) for name in (*names, "episode", "time"))


# --- forms ------------------------------------------------------------------------------------------------------------


def test_episodes(recorded: SetData, tmp_path: Path) -> None:
    given = dense(recorded)
    flags = {"truncated": np.arange(H) == np.full((E, 1), H - 1), "seeds": recorded.seed.numpy()}
    found = read_sets(stored(tmp_path, **given, **flags, comment=np.zeros(3)), MOVES)
    assert same(found, recorded)
    assert torch.equal(found.seed, recorded.seed)
    assert found.header["notes"] == ["array left out: comment"]
    assert found.header["worlds"] == [{"id": "unknown", "parameters": {}}]


def test_other_names_and_next_observations(recorded: SetData, tmp_path: Path) -> None:
    given = dense(recorded)
    path = stored(
        tmp_path,
        obs=given["observations"][:, :-1],
        next_obs=given["observations"][:, 1:],
        acs=given["actions"],
        rews=given["rewards"],
        dones=np.zeros((E, H, N)),
    )
    found = read_sets(path, MOVES)
    assert same(found, recorded)
    notes = found.header["notes"]
    assert notes[0] == "dones is 0 everywhere: no episode ended by itself, as far as it says"
    assert notes[1] == f"episodes that no flag ends are taken to be cut off, truncated ({E} of {E})"


def test_transitions(recorded: SetData, tmp_path: Path) -> None:
    joint = joint_arrays(recorded)
    given = {"observations": joint["before"], "next_observations": joint["after"], "actions": joint["actions"]}
    given |= {"rewards": joint["rewards"], "timeouts": joint["truncated"]}
    assert same(read_sets(stored(tmp_path, **given), MOVES), recorded)
    given.pop("timeouts")
    with pytest.raises(InvalidInput, match=r"steps: got 'none', expected the steps of an episode: there are no flags"):
        read_sets(stored(tmp_path, **given), MOVES)
    found = read_sets(stored(tmp_path, **given), MOVES, steps=H)
    assert same(found, recorded)
    assert f"episodes are cut after {H} steps, as asked ({E} of them)" in found.header["notes"]
    with pytest.raises(InvalidInput, match=r"steps: got 7, expected a divisor of 24"):
        read_sets(stored(tmp_path, **given), MOVES, steps=7)


def test_without_next_states_the_last_step_is_left_out(recorded: SetData, tmp_path: Path) -> None:
    given = dense(recorded)
    done = np.zeros((E, H), dtype=bool)
    done[:, -1] = True
    found = read_sets(stored(tmp_path, **given | {"observations": given["observations"][:, :-1]}, dones=done), MOVES)
    assert len(found) == E * (H - 1)
    assert found.truncated.sum() == E  # the steps that ended them are gone
    assert not found.terminated.any()
    assert f"({E} of {E * H})" in found.header["notes"][0]
    flat = {"observations": given["observations"][:, :-1].reshape(E * H, N + L, 4), "dones": done.ravel()}
    flat |= {"actions": given["actions"].reshape(-1, N), "rewards": given["rewards"].reshape(-1, N)}
    assert same(read_sets(stored(tmp_path, **flat), MOVES), found)


def test_episodes_that_end_early(recorded: SetData, tmp_path: Path) -> None:
    given = dense(recorded)
    done = np.zeros((E, H), dtype=bool)
    done[0, 2] = done[3, H - 1] = True
    given["observations"][0, 4:] = np.nan  # padding
    found = read_sets(stored(tmp_path, **given, terminated=done, lengths=np.array([H, H, 2, H])), MOVES)
    assert found.episode_offsets.diff().tolist() == [3, H, 2, H]
    assert found.terminated.nonzero()[:, 0].tolist() == [2, len(found) - 1]
    assert found.truncated.sum() == 2
    given["observations"][0, 4:] = 0.0
    ended = read_sets(stored(tmp_path, **given, terminated=np.arange(H) == np.full((E, 1), H - 1)), MOVES)
    assert f"terminated ends all {E} episodes after {H} steps: if that is a limit of time" in ended.header["notes"][0]
    assert ended.terminated.sum() == E
    both = np.arange(H) == np.full((E, 1), H - 1)
    told = read_sets(stored(tmp_path, **given, terminated=both, truncated=both), MOVES).header["notes"]
    assert told == [f"terminated and truncated at once is taken as terminated ({E} of {E} episodes)"]


def test_a_reward_of_the_team(recorded: SetData, tmp_path: Path) -> None:
    given = dense(recorded)
    found = read_sets(stored(tmp_path, **given | {"rewards": given["rewards"].mean(-1)}), MOVES)
    assert torch.allclose(found.returns, recorded.returns, atol=1e-4)
    assert found.header["notes"][0] == f"one reward for the team at each step: each of its {N} agents gets it"


def test_packed(tmp_path: Path) -> None:
    data = record_sets([Spread(agents=n, steps=4) for n in (2, 5)], "medium", 3, references=False)
    names = ("tokens", "types", "offsets", "agents", "episode", "actions", "rewards", "truncated")
    given = {name: getattr(data, name).numpy() for name in names}
    assert same(read_sets(stored(tmp_path, **given), MOVES), data)
    given.pop("types")
    guessed = read_sets(stored(tmp_path, **given), MOVES)
    assert same(guessed, data)
    assert "no types" in guessed.header["notes"][-1]
    given["offsets"] = given["offsets"][:-1]
    with pytest.raises(InvalidInput, match="a state before each transition, and one at the end of each episode"):
        read_sets(stored(tmp_path, **given), MOVES)


def test_a_dataset_is_read_as_it_is(recorded: SetData, tmp_path: Path) -> None:
    assert read_sets(recorded.save(tmp_path / "own.npz")).content == recorded.content


def test_what_arrays_do_not_say(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    given = {"observations": draw.normal(size=(2, 4, 5, 7)), "rewards": draw.normal(size=(2, 3, 5))}
    moves = read_sets(stored(tmp_path, **given, actions=draw.integers(0, 4, (2, 3, 5)).astype(float)))
    assert moves.header["actions"][0] == "discrete"
    assert "the moves are taken to be 0 to" in " ".join(moves.header["notes"])
    forces = read_sets(stored(tmp_path, **given, actions=draw.uniform(-1, 1, (2, 3, 5, 3))))
    assert forces.header["actions"] == ["continuous", 3]
    assert forces.header["features"] == [f"feature_{i}" for i in range(7)]


BAD = {
    "no rewards": ({"rewards": None}, r"rewards: got 'no such array \(here: observations, actions\)'"),
    "two of a kind": ({"obs": np.zeros(3)}, "obs: got 'observations and obs', expected one of them"),
    "flat observations": ({"observations": np.zeros((E, H))}, r"observations: got 'shape \[4, 6\]', expected \[e, h,"),
    "too few states": ({"observations": np.zeros((E, H - 1, 6, 4))}, r"observations: got 'shape \[4, 5, 6, 4\]'"),
    "more agents than entities": ({"actions": np.zeros((E, H, 9)), "rewards": np.zeros((E, H, 9))}, "got '9 agents'"),
    "rewards of others": ({"rewards": np.zeros((E, H, 2))}, r"rewards: got 'shape \[4, 6, 2\]', expected \[4, 6, 3\]"),
    "an action outside": ({"actions": np.full((E, H, N), 5)}, r"actions\[0\]: got 5, expected an action from 0 to 4"),
    "flags of text": ({"dones": np.full((E, H), "no")}, "dones: got 'type <U2', expected plain numbers"),
    "flags of 2": ({"dones": np.full((E, H), 2)}, r"dones\[0, 0\]: got 2, expected 0 or 1"),
    "flags of others": ({"dones": np.zeros((E, 2))}, r"dones: got 'shape \[4, 2\]', expected \[4, 6\]"),
    "lengths of 0": ({"lengths": np.zeros(E, dtype=int)}, r"lengths: got 'int64 of shape \[4\]', expected \[4\] whole"),
    "kinds of others": ({"types": np.zeros(5)}, r"types: got 'shape \[5\]', expected \[6\]"),
    "objects": (
        {"rewards": np.array([None])},
        "rewards: got 'type object', expected plain numbers: nothing is unpickled",
    ),
}


@pytest.mark.parametrize("case", BAD, ids=lambda c: c.replace(" ", "-"))
def test_refused(recorded: SetData, tmp_path: Path, case: str) -> None:
    changed, wanted = BAD[case]
    given = dense(recorded) | changed
    path = stored(tmp_path, **{name: array for name, array in given.items() if array is not None})
    with pytest.raises(InvalidInput, match=wanted) as error:
        read_sets(path, MOVES)
    assert str(error.value).startswith(f"data {path}, ")
    assert "\n" not in str(error.value)


def test_numbers_that_are_none_are_refused_where_they_stand(recorded: SetData, tmp_path: Path) -> None:
    given = dense(recorded)
    states, rewards = given["observations"].copy(), given["rewards"].copy()
    states[2, 3, 1, 0] = np.nan
    with pytest.raises(InvalidInput, match=r"observations\[2, 3, 1, 0\]: got nan, expected a finite number"):
        read_sets(stored(tmp_path, **given | {"observations": states}), MOVES)
    states[2, 3, 1, 0] = 0.0
    states[3, H, 0, 0] = np.inf  # after the last step
    with pytest.raises(InvalidInput, match=r"observations\[3, 6, 0, 0\]: got inf, expected a finite number"):
        read_sets(stored(tmp_path, **given | {"observations": states}), MOVES)
    rewards[1, 5, 2] = np.inf
    with pytest.raises(InvalidInput, match=r"rewards\[1, 5, 2\]: got inf, expected a finite number"):
        read_sets(stored(tmp_path, **given | {"rewards": rewards}), MOVES)
    before, after = given["observations"][:, :-1], given["observations"][:, 1:].copy()
    after[3, 1, 0, 0] += 1
    with pytest.raises(InvalidInput, match=r"next_observations\[3, 1\]: got 'another state \(1 of 23 are\)'"):
        read_sets(stored(tmp_path, **given | {"observations": before, "next_observations": after}), MOVES)


# --- worlds -----------------------------------------------------------------------------------------------------------


def test_in_a_world(recorded: SetData, tmp_path: Path) -> None:
    path = stored(tmp_path, **dense(recorded))
    found, told = import_sets(lambda m: read_sets(path, m), Spread(steps=H), "mine")
    assert told is not None
    assert told.whole
    assert same(found, recorded)
    for name in ("worlds", "kinds_of_entity", "features", "actions", "references"):
        assert found.header[name] == recorded.header[name]
    assert found.header["behaviours"] == ["mine"]
    wrong, told = import_sets(lambda m: read_sets(path, m), Spread(variant="vmas"), references=False)
    assert told is not None
    assert not told.whole
    assert "sets/spread (variant vmas) repeats only" in wrong.header["notes"][-1]
    assert wrong.header["notes"][-1].endswith("variant mpe2 or jaxmarl repeats them")
    with pytest.raises(InvalidInput, match="agents: got '3', expected 4, as act in sets/tag"):
        import_sets(lambda m: read_sets(path, m), Tag())
    with pytest.raises(InvalidInput, match=r"observations: got '6 entities of 4 numbers', expected 5 of 4"):
        import_sets(lambda m: read_sets(path, m), Spread(landmarks=2))
    plain, nothing = import_sets(lambda m: read_sets(path, m))
    assert nothing is None
    assert plain.header["worlds"][0]["id"] == "unknown"


# --- other libraries --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("actions", ["discrete", "continuous"])
def test_omar_and_back(tmp_path: Path, actions: str) -> None:
    world = Spread(agents=3, landmarks=2, actions=actions, variant="omar", steps=H)  # type: ignore[arg-type]
    data = record_sets(world, "replay", 7)

    def observe(tokens: Any) -> Any:
        return world.observations(world.restored(torch.from_numpy(tokens))).unbind(-2)

    folder = write_omar(data, tmp_path / "omar", observe)
    assert np.load(folder / "obs_1.npy").shape == (7 * H, world.observations(world.begin((1,), _stream())).shape[-1])
    assert np.load(folder / "acs_2.npy").shape == (7 * H, 5 if actions == "discrete" else 2)
    assert np.load(folder / "rews_0.npy").shape == (7 * H,)
    assert not np.load(folder / "dones_0.npy").any()  # nobody's episode ended by itself
    seen = read_omar(folder)
    for name in ("actions", "rewards", "truncated", "seed", "behaviour"):
        assert torch.equal(getattr(seen, name), getattr(data, name))
    found, told = import_sets(lambda m: read_omar(folder, m), world)
    assert told is not None
    assert told.whole
    assert torch.allclose(found.tokens, data.tokens, atol=1e-5)
    assert torch.equal(found.types, data.types)
    assert found.header["behaviours"] == data.header["behaviours"]
    for name in ("truncated_0.npy", "truncated_1.npy", "truncated_2.npy", "gamesim.json"):
        (folder / name).unlink()  # as OMAR's own
    with pytest.raises(InvalidInput, match="all flags are 0, and nothing says where one ends"):
        read_omar(folder)
    bare = read_omar(folder, steps=H)
    assert torch.equal(bare.actions, data.actions)
    assert torch.equal(bare.truncated, data.truncated)
    assert "dones is 0 everywhere" in " ".join(bare.header["notes"])
    with pytest.raises(InvalidInput, match="a folder that is not there yet"):
        write_omar(data, folder)


def test_broken_folders(recorded: SetData, tmp_path: Path) -> None:
    folder = write_omar(recorded, tmp_path / "omar")
    np.save(folder / "obs_1.npy", np.zeros((2, 2)))
    with pytest.raises(InvalidInput, match=r"obs_1.npy: got 'shape \[2, 2\]', expected \[24, 24\], as obs_0.npy"):
        read_omar(folder)
    (folder / "obs_1.npy").write_bytes((folder / "obs_0.npy").read_bytes()[:500])
    with pytest.raises(InvalidInput, match=r"obs_1.npy: got 'no array', expected an .npy of plain numbers"):
        read_omar(folder)
    np.save(folder / "obs_1.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(InvalidInput, match=r"obs_1.npy: got 'no array'"):
        read_omar(folder)
    (folder / "obs_0.npy").unlink()
    with pytest.raises(InvalidInput, match=r"a folder with obs_0.npy"):
        read_omar(folder)
    assert [p.name for p in tmp_path.iterdir()] == ["omar"]


def test_one_number_of_agents_elsewhere(tmp_path: Path) -> None:
    data = record_sets([Spread(agents=n, steps=2) for n in (1, 3)], "random", 2, references=False)
    with pytest.raises(InvalidInput, match="1 agents in 4 transitions, 3 agents in 4 transitions"):
        write_omar(data, tmp_path / "omar")
    with pytest.raises(InvalidInput, match="one number of agents"):
        write_d3rlpy(data, tmp_path / "flat.npz")
    assert not list(tmp_path.iterdir())


def test_d3rlpy(recorded: SetData, tmp_path: Path) -> None:
    with np.load(write_d3rlpy(recorded, tmp_path / "flat.npz")) as flat:
        assert set(flat) == {"observations", "actions", "rewards", "terminals", "timeouts"}
        assert flat["observations"].shape == (E * H, (N + L) * 4)
        assert np.array_equal(flat["actions"].reshape(-1, 5).argmax(-1), recorded.actions.numpy())
        assert flat["rewards"].reshape(E, H).sum(-1) == pytest.approx(recorded.returns.numpy(), abs=1e-4)
        assert np.flatnonzero(flat["timeouts"]).tolist() == [H - 1 + i * H for i in range(E)]


@pytest.mark.parametrize("actions", ["discrete", "continuous"])
def test_minari_and_back(tmp_path: Path, actions: str) -> None:
    from gamesim.envs.wrappers.minari_data import read_minari, write_minari

    minari = pytest.importorskip("minari", reason="pip install 'minari[hdf5]'")
    data = record_sets(Spread(agents=3, landmarks=2, actions=actions, steps=H), "replay", 7)  # type: ignore[arg-type]
    folder = write_minari(data, tmp_path / "spread")
    theirs = minari.MinariDataset(folder / "data")
    assert (theirs.total_episodes, theirs.total_steps) == (7, len(data))
    episode = next(iter(theirs.iterate_episodes()))
    assert episode.observations.shape == (H + 1, 5, 4)
    assert episode.rewards.shape == (H, 3)
    assert theirs.observation_space.shape == (5, 4)
    assert [p.name for p in tmp_path.iterdir()] == ["spread"]
    again = read_minari(folder)
    assert same(again, data)
    assert again.content == data.content
    (folder / "gamesim.json").unlink()
    found, told = import_sets(lambda m: read_minari(folder, m), Spread(landmarks=2, actions=actions))  # type: ignore[arg-type]
    assert told is not None
    assert told.whole
    assert same(found, data)
    with pytest.raises(InvalidInput, match="a dataset of Minari"):
        read_minari(tmp_path)


@pytest.mark.skipif(importlib.util.find_spec("minari") is not None, reason="Minari is installed")
def test_minari_is_an_extra(recorded: SetData, tmp_path: Path) -> None:
    from gamesim.envs.wrappers.minari_data import write_minari

    with pytest.raises(MissingExtra, match=r"^data of Minari needs minari with HDF5: pip install 'gamesim\[minari\]'$"):
        write_minari(recorded, tmp_path / "spread")


def _stream() -> Any:
    from gamesim.randomness import Stream

    return Stream(0)
