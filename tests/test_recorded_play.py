"""Recorded play as a problem: minibatches hold what the data hold, measures are play in the world, bad pairs fail."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import gamesim as gs
from gamesim.data.sets import SetData
from gamesim.envs.sets.recorded import RecordedPlay
from gamesim.envs.sets.spread import Spread
from gamesim.errors import Caution, InvalidInput
from gamesim.games.worlds import EVALUATION
from gamesim.loop import Observer, Run, Status
from gamesim.offline.critics import drawn, followed, joined, resampled
from gamesim.randomness import Stream
from gamesim.records import Record, load_best, settings

NETWORK = "deep-sets(width=8, layers=1)"


@pytest.fixture(scope="module")
def task() -> RecordedPlay:
    return RecordedPlay(episodes=6, agents=(2, 3), behaviour="replay", evaluation_episodes=4)


def test_a_minibatch_holds_what_the_data_hold(task: RecordedPlay) -> None:
    batch, data = task.batch(40, Stream([3, 4])), task.play
    assert batch.chosen.shape == (2, 40)
    layout = batch.sets.layout
    for seed in range(2):
        for b in range(40):
            k = int(batch.chosen[seed, b])
            rows = slice(int(layout.offsets[b]), int(layout.offsets[b + 1]))
            for part, states in ((batch.tokens, data.before), (batch.after, data.after)):
                i = int(states[k])
                whole = data.tokens[int(data.offsets[i]) : int(data.offsets[i + 1])]
                torch.testing.assert_close(part[seed, rows, :4] * task.scale, whole, atol=1e-5, rtol=1e-5)
                kinds = data.types[int(data.offsets[i]) : int(data.offsets[i + 1])].long()
                assert torch.equal(part[seed, rows, 4:].argmax(-1), kinds)
            acts = slice(int(data.agent_offsets[k]), int(data.agent_offsets[k + 1]))
            own = slice(int(batch.sets.teams.offsets[b]), int(batch.sets.teams.offsets[b + 1]))
            assert torch.equal(batch.actions[seed, own].argmax(-1), data.actions[acts].long())
            expected = float(data.rewards[acts].mean()) / task.reward_scale
            assert float(batch.rewards[seed, b]) == pytest.approx(expected, abs=1e-5)
            assert bool(batch.terminated[seed, b]) == bool(data.terminated[k])
            first = batch.starts[seed, rows, :2] * task.scale[:2]
            begun = [data.tokens[int(data.offsets[i]) : int(data.offsets[i + 1]), :2] for i in data.starts]
            assert any(x.shape == first.shape and torch.allclose(x, first, atol=1e-5) for x in begun)


def test_a_seed_meets_the_same_alone_and_in_a_batch(task: RecordedPlay) -> None:
    for t in (0, 1, 17):
        together, alone = task.batch(33, Stream([5, 8], t)), task.batch(33, Stream(8, t))
        assert torch.equal(together.chosen[1], alone.chosen)
        assert torch.equal(together.tokens[1], alone.tokens)
        assert torch.equal(together.sets.layout.offsets, alone.sets.layout.offsets)


def test_worlds_have_their_share_of_minibatches(task: RecordedPlay) -> None:
    """7 of 300 transitions are drawn at a time: shares round differently in turn, and add up to what they should."""
    counts = torch.zeros(len(task.play))
    for t in range(2000):
        counts += torch.bincount(task.batch(7, Stream(0, t)).chosen, minlength=len(counts))
    small = task.play.agents == 2
    share = float(counts[small].sum() / counts.sum())
    assert share == pytest.approx(float(small.double().mean()), abs=0.005)
    expected = 2000 * 7 / len(counts)
    assert float((counts - expected).square().mean() / expected) == pytest.approx(1.0, abs=0.25)  # as Poisson counts


def test_the_measure_is_play_in_the_world(task: RecordedPlay) -> None:
    solver = gs.make_solver("bc", network=NETWORK)
    actor = solver.actor(task)
    weights = actor.network.draw((2,), Stream([0, 1]))
    found = task.metrics(weights, actor)
    for s in range(2):
        own = tuple(w[s] for w in weights)
        for world in task.worlds:
            state, total = world.begin((4,), Stream(0, EVALUATION)), torch.zeros(4)
            for _ in range(world.steps):
                moves = []
                for b in range(4):
                    tokens = task.seen(world.tokens(state)[b], world.types)
                    x = torch.relu(tokens @ own[0] + own[1])
                    z = torch.cat([x, x.mean(0).expand_as(x)], -1)[: world.acting] @ own[2] + own[3]
                    moves.append(z.argmax(-1))
                state, rewards = world.step(state, torch.stack(moves))
                total += rewards.mean(-1)
            assert float(found[f"return_{world.acting}"][s]) == pytest.approx(float(total.mean()), abs=1e-3)
    known = task.play.header["references"]
    scores = [
        100
        * (float(found[f"return_{n}"][0]) - known[str(i)]["random"])
        / (known[str(i)]["expert"] - known[str(i)]["random"])
        for i, n in enumerate((2, 3))
    ]
    assert float(found["score"][0]) == pytest.approx(sum(scores) / 2, abs=1e-2)


def test_random_play_scores_about_nothing_and_the_expert_about_a_hundred() -> None:
    for behaviour, score in (("random", 0), ("expert", 100)):
        data = RecordedPlay(episodes=200, behaviour=behaviour).play
        error = float(data.scores.std()) / 200**0.5
        assert float(data.scores.mean()) == pytest.approx(score, abs=5 * error)


# --- what does not fit ------------------------------------------------------------------------------------------------


def test_another_variant_is_refused_unless_forced() -> None:
    data = RecordedPlay(episodes=2, evaluation_episodes=2).play
    words = r"world: got .sets/spread, variant vmas., expected the world of the data, .*mpe2"
    with pytest.raises(InvalidInput, match=words):
        RecordedPlay(data=data, world=Spread(variant="vmas"))
    with pytest.raises(InvalidInput, match="reward"):  # what differs is explained
        RecordedPlay(data=data, world=Spread(variant="omar"))
    forced = RecordedPlay(data=data, world=Spread(variant="vmas"), force=True, evaluation_episodes=2)
    assert forced.metrics(forced.start())["return"].isfinite()
    with pytest.raises(InvalidInput, match=r"world.actions: .*continuous.*, expected .*discrete"):
        RecordedPlay(data=data, world=Spread(actions="continuous"), force=True)
    assert RecordedPlay(data=data, agents=5).worlds[0].acting == 5  # another number of agents is no other definition


def test_a_file_names_no_code_to_import() -> None:
    data = RecordedPlay(episodes=2).play
    worlds = [{"id": "os:system", "parameters": {}}]
    with pytest.raises(InvalidInput, match=r"world: got .os:system"):
        RecordedPlay(data=replace(data, header=data.header | {"worlds": worlds}))
    wrong = [{"id": "sets/spread", "parameters": {"agents": 3, "colour": 1}}]
    with pytest.raises(InvalidInput, match="colour"):
        RecordedPlay(data=replace(data, header=data.header | {"worlds": wrong}))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"data": "/nowhere.npz"}, "nowhere"),
        ({"world": "graphon/sis"}, "a world of sets"),
        ({"discount": 1.0}, "discount"),
        ({"agents": 0}, "agents"),
        ({"behaviour": "expret"}, "expert"),
    ],
)
def test_bad_fields_are_refused_by_name(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        assert RecordedPlay(**given).play


# --- runs -------------------------------------------------------------------------------------------------------------

RUN = {"iterations": 12, "every": 4, "seeds": 2}
SOLVERS = {"bc": {}, "atac": {"warm_start": 4}, "model-based-pessimism": {"fit": 5, "members": 2, "horizon": 2}}


class Stop(Observer):
    def iterated(self, run: Run) -> Status | None:
        return Status.STOPPED if run.iteration == 7 else None


@pytest.mark.parametrize("name", SOLVERS)
def test_a_resumed_run_has_the_same_bits(name: str, task: RecordedPlay, tmp_path: Path) -> None:
    solver = gs.make_solver(name, network="set-transformer(width=8, heads=2, blocks=1)", batch_size=6, **SOLVERS[name])
    whole = gs.solve(task, solver, **RUN)
    config = settings(task, solver, iterations=12, seeds=2, every=4)
    first = Record(tmp_path / "run", config)
    first.finish(gs.solve(task, solver, observers=[first, Stop()], **RUN))
    again = Record(tmp_path / "run", config, resume=True)
    assert again.snapshot is not None
    assert again.snapshot.iteration == 7
    result = gs.solve(task, solver, observers=[again], resume=again.snapshot, **RUN)
    again.finish(result)
    assert all(torch.equal(x, y) for x, y in zip(result.policy, whole.policy, strict=True))
    for metric in whole.trace.metrics:
        assert torch.equal(whole.metric(metric), result.metric(metric))


@pytest.mark.parametrize("name", SOLVERS)
def test_seeds_in_a_batch_are_the_separate_runs(name: str, task: RecordedPlay) -> None:
    """But for rounding: products of one matrix and of several are different routines of PyTorch."""
    solver = gs.make_solver(name, network=NETWORK, batch_size=6, **SOLVERS[name])
    exact = replace(task, precision="float64")
    many = gs.solve(exact, solver, **RUN)
    for seed in range(2):
        one = gs.solve(exact, solver, iterations=12, every=4, seed=seed)
        for x, y in zip(many.policy, one.policy, strict=True):
            torch.testing.assert_close(x[seed], y, atol=1e-9, rtol=1e-7)


def test_the_best_policy_is_kept(task: RecordedPlay, tmp_path: Path) -> None:
    solver = gs.make_solver("bc", network=NETWORK, batch_size=8, step_size=0.01)
    record = Record(tmp_path / "run", settings(task, solver, iterations=20, seeds=2, every=5))
    result = gs.solve(task, solver, iterations=20, every=5, seeds=2, observers=[record])
    record.finish(result)
    means = result.metric("return").mean(0)
    best, iteration = load_best(tmp_path / "run")
    assert iteration == result.trace.iterations[int(means.argmax())]
    at = gs.solve(task, solver, iterations=iteration, every=5, seeds=2)
    assert all(torch.equal(x, y) for x, y in zip(best, at.policy, strict=True))
    with pytest.raises(InvalidInput, match="no such file"):
        load_best(tmp_path)
    (tmp_path / "best.safetensors").write_bytes(b"\0" * 64)
    with pytest.raises(InvalidInput, match="no policy"):
        load_best(tmp_path)


def test_critics_that_run_away_end_the_run_with_advice(task: RecordedPlay) -> None:
    solver = gs.make_solver("atac", network=NETWORK, batch_size=8, step_size=3.0, beta=0.01, warm_start=0, radius=1e6)
    with pytest.warns(Caution, match="value: .* expected at most .*; the critics run away: lower step_size"):
        result = gs.solve(task, solver, iterations=60, every=2)
    assert result.status is Status.DIVERGED
    assert result.iterations < 60


# --- small things -----------------------------------------------------------------------------------------------------


def test_actions_stand_beside_those_who_act(task: RecordedPlay) -> None:
    batch = task.batch(9, Stream(0))
    x = joined(batch.tokens, batch.actions, batch.sets)
    assert torch.equal(x[batch.sets.acting, batch.tokens.shape[-1] :], batch.actions)
    assert float(x[:, batch.tokens.shape[-1] :].sum()) == float(batch.actions.sum())


def test_bootstrap_weights_are_poisson_and_named_by_the_transition() -> None:
    chosen = torch.arange(20000)
    counts = resampled(chosen, 3, Stream(0))
    assert torch.equal(counts[0], torch.ones_like(chosen))
    for member in (1, 2):
        share = torch.bincount(counts[member], minlength=4)[:4] / len(chosen)
        expected = torch.tensor([1, 1, 0.5, 1 / 6]) / torch.e
        torch.testing.assert_close(share, expected.to(share), atol=0.015, rtol=0)
    assert not torch.equal(counts[1], counts[2])
    both = resampled(chosen.expand(2, -1), 3, Stream([7, 0], 9))
    assert torch.equal(both[1], counts)  # at another iteration too
    assert not torch.equal(both[0], counts)


def test_networks_are_drawn_for_each_seed_and_alike_for_hyper_parameters(task: RecordedPlay) -> None:
    actor = gs.make_solver("bc", network=NETWORK).actor(task)
    from gamesim.networks.adam import Trained

    like = Trained.fresh(tuple(torch.zeros(2, 3, *shape) for shape in actor.network.shapes))
    found = drawn(actor.network, like, (2, 3), Stream([0, 1])).parameters[0]
    assert torch.equal(found[:, 0], found[:, 2])
    assert not torch.equal(found[0], found[1])
    spread = actor.network.draw((4000,), Stream(0))[0].std()
    assert float(spread) == pytest.approx(task.inputs**-0.5, rel=0.02)
    assert torch.equal(followed(like.parameters, like.mean, 0.5)[0], like.parameters[0])


def test_the_configuration_of_a_run_names_the_content_of_its_data(tmp_path: Path) -> None:
    data = RecordedPlay(episodes=2).play
    path = data.save(tmp_path / "two.npz")
    said = RecordedPlay(data=str(path)).plain()
    assert said["data"] == {"file": str(path), "sha256": SetData.load(path).content}
    json.dumps(settings(RecordedPlay(data=str(path)), gs.make_solver("bc"), iterations=1))
