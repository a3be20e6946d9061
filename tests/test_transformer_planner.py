"""The transformer planner: streams of latent worlds, pretraining that is kept, and planning with what was trained."""

import threading
from dataclasses import replace

import pytest
import torch

from gamesim.algorithms.bail import BAIL
from gamesim.envs.latent.many_actors import ManyActors
from gamesim.envs.latent.needle import Needle
from gamesim.envs.latent.random_hierarchy import RandomHierarchy
from gamesim.envs.latent.trap import Trap
from gamesim.errors import Caution, InvalidInput
from gamesim.experiments import bail_transformer
from gamesim.loop import Snapshot, solve
from gamesim.parameters import convert
from gamesim.planning import Bail, Planner
from gamesim.planning.transformer import TransformerPlanner
from gamesim.randomness import Stream
from gamesim.sequence import pretraining
from gamesim.sequence.pretraining import Recipe, pretrain, pretrain_model, pretrained, read_model
from gamesim.sequence.streams import Documents, Vocabulary, documents
from gamesim.sequence.weights import save
from gamesim.states import expanded, tensors

TINY = Needle(boxes=3)
RECIPE = Recipe(episodes=6, steps=300, width=32, heads=4, blocks=2)
UNTRAINED = Recipe(episodes=6, steps=1, width=8, heads=2, blocks=1)
WORLDS = {
    "needle": Needle(boxes=4, luck=0.1),
    "trap": Trap(),
    "tasks-and-first-reports": RandomHierarchy(latent_count=4, report_count=3, subgoal_count=3, episode=2),
}
ANSWERS = ("total-variation", "log-likelihood", "own-prompts")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(autouse=True)
def cache(folder, monkeypatch):
    monkeypatch.setenv("GAMESIM_CACHE", str(folder))
    return folder / "models"


@pytest.fixture
def fresh_cache(tmp_path, monkeypatch):
    """An empty folder, and a process that has read nothing yet."""
    monkeypatch.setenv("GAMESIM_CACHE", str(tmp_path))
    monkeypatch.setattr(pretraining, "_LOADED", {})
    return tmp_path / "models"


def planner(recipe: Recipe, **more) -> TransformerPlanner:
    return replace(bail_transformer.planner(recipe), **more)


# --- streams ------------------------------------------------------------------------------------------------


def test_vocabulary_of_the_needle():
    words = Vocabulary.of(Needle(boxes=8))
    assert words.size == 34
    assert words.context(24) == 49
    assert words.words[0] == "<begin>"
    assert "nothing yet" not in words.words
    assert {"open box 1", "read the sign", "box 8 is empty", "box 1 holds the prize"} < set(words.words)
    with pytest.raises(InvalidInput, match="observation: got 0, expected a report"):
        words.turn(torch.tensor(0), torch.tensor(0))
    with pytest.raises(InvalidInput, match="4 actors"):
        Vocabulary.of(ManyActors())


@pytest.mark.parametrize("name", WORLDS)
def test_streams_tell_everything_in_order(name):
    world = WORLDS[name]
    words = Vocabulary.of(world)
    d = documents(world, words, 3, 50, Stream(1))
    text = [[words.words[k] for k in row] for row in d.tokens.tolist()]
    for b in range(50):
        told = ["<begin>"]
        for r in range(3):
            told += [world.tasks[d.tasks[b, r]]] if len(world.tasks) > 1 else []
            told += [world.observations[d.first[b, r]]] if words.opens else []
            for h in range(world.horizon):
                told += [world.subgoals[d.subgoals[b, r, h]], world.observations[d.observations[b, r, h]]]
        assert text[b] == told
    subgoals = range(words.subgoal_tokens.start, words.subgoal_tokens.stop)
    asked = words.asked(3)
    follows = [i for i in range(d.tokens.shape[1] - 1) if int(d.tokens[0, i + 1]) in subgoals]
    assert asked[: len(follows)] == follows
    assert len(asked) == d.labels.shape[1]
    others = [i for i in range(d.tokens.shape[1] - 1) if i not in asked]
    assert torch.equal(d.targets[:, others], d.tokens[:, 1:][:, others])
    assert torch.equal(d.targets[:, asked] - subgoals.start, d.labels)


def posteriors(world, d: Documents) -> torch.Tensor:
    """P(z | reports before each question), [document, question, z], by the product of likelihoods, read off words."""
    p, q, n = world.prize, world.luck, world.boxes
    chance = torch.zeros(len(world.observations), n, dtype=torch.float64)
    for o, said in enumerate(world.observations[1:], 1):
        for z, box in enumerate(world.latents):
            about = said.endswith(box) or said.startswith(f"{box} ")
            hit = {"empty": 1 - (p if about else q), "prize": p if about else q}
            sign = (1 - world.blur) * about + world.blur / n
            chance[o, z] = next((x for word, x in hit.items() if said.endswith(word)), sign)
    heard = chance[d.observations[..., 0]].log().cumsum(1)
    heard = torch.cat([torch.zeros_like(heard[:, :1]), heard], 1)
    return heard.softmax(-1)


def test_laws_of_the_needle_by_hand():
    world = WORLDS["needle"]
    d = documents(world, Vocabulary.of(world), 5, 400, Stream(2), exact=True)
    assert d.laws is not None
    assert torch.allclose(d.laws[..., :4], posteriors(world, d), atol=1e-12)
    assert bool((d.laws[..., 4] == 0).all())  # no expert reads the sign


@pytest.mark.parametrize("name", WORLDS)
def test_labels_have_the_exact_law(name):
    """Labels given everything that precedes them: of each subgoal as many as the mixture says, where it says so."""
    world = WORLDS[name]
    d = documents(world, Vocabulary.of(world), 6, 4000, Stream(3), exact=True)
    assert d.laws is not None
    hit = torch.nn.functional.one_hot(d.labels, d.laws.shape[-1]).double()
    for low, high in ((0.0, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 1.0)):
        inside = (d.laws > low) & (d.laws <= high)
        for question in range(d.laws.shape[1]):  # documents are independent, questions of one are not
            at = inside[:, question]
            excess = torch.where(at, hit[:, question] - d.laws[:, question], 0.0).sum(-1)
            assert abs(float(excess.sum())) <= 4.5 * float(excess.square().sum().sqrt()) + 1e-9


def test_behaviour_of_both_kinds():
    world = Needle(boxes=3)
    words = Vocabulary.of(world)
    shown = documents(world, words, 4, 2000, Stream(4), "demonstrations")
    assert torch.equal(shown.subgoals[..., 0], shown.labels[:, :4])
    d = documents(world, words, 4, 20_000, Stream(4))
    table = torch.zeros(3, 4).index_put((d.latent, d.subgoals[:, 0, 0]), torch.ones(()), accumulate=True)
    expected = table.sum(1, keepdim=True) * table.sum(0) / table.sum()
    assert float(((table - expected) ** 2 / expected).sum()) < 22.5  # chi^2 with 6 degrees of freedom: 1 in 1000
    signs = (d.subgoals == 3).double().mean((1, 2))
    read = 1 / 6 + (5 / 6) * 0.75 * 0.25  # E u^2 / 2, and else uniform for 1 - E max(0, 2 v - 1)
    assert float(signs.mean()) == pytest.approx(read, abs=5 * float(signs.std()) / 20_000**0.5)
    with pytest.raises(InvalidInput, match="labeled"):
        documents(world, words, 4, 2, Stream(4), "labeled")


# --- pretraining --------------------------------------------------------------------------------------------


def distance(made) -> torch.Tensor:
    d = documents(TINY, made.words, 6, 2000, Stream(0, 2**30), exact=True)
    assert d.laws is not None
    logits = made.model(d.tokens)[:, made.words.asked(6), made.words.subgoal_tokens]
    return (logits.double().softmax(-1) - d.laws).abs().sum(-1).mean(0) / 2


def test_a_short_training_comes_near_the_mixture():
    before, after = distance(pretrain(TINY, replace(RECIPE, steps=1))), distance(pretrained(TINY, RECIPE))
    assert float(before.max()) > 0.3
    assert float(after.max()) < 0.1
    runs = {name: solve(TINY, BAIL(p), iterations=6, every=6, seeds=256)
            for name, p in (("exact", Bail()), ("made", planner(RECIPE)))}  # fmt: skip
    regret = {name: run.metric("regret")[:, -1] for name, run in runs.items()}
    lost = regret["made"] - regret["exact"]
    assert abs(float(lost.mean())) < 0.25 + 2 * float(lost.std()) / 16
    assert float(runs["made"].metric("off_mixture")[:, -1].mean()) < 0.1
    assert float(runs["made"].metric("off_subgoals")[:, -1].mean()) < 0.05


def test_models_are_kept_and_mended(fresh_cache, monkeypatch):
    said = list[str]()
    made = pretrained(TINY, UNTRAINED, said.append)
    (path,) = fresh_cache.glob("*.safetensors")

    def weights():
        pretraining._LOADED.clear()
        return pretrained(replace(TINY, truth=1), UNTRAINED, said.append).model.head.weight  # the truth is not learned

    with monkeypatch.context() as patch:
        patch.setattr(pretraining, "train", None)
        assert torch.equal(weights(), made.model.head.weight)
        assert said == []
    whole = path.read_bytes()
    for broken in (b"", whole[:-9], whole[:-9] + bytes(9), b"no model"):
        path.write_bytes(broken)
        assert torch.equal(weights(), made.model.head.weight)
        assert "made anew" in said.pop()
        assert path.read_bytes() == whole
    for other in ({"seed": 1}, {"data": "demonstrations"}, {"episodes": 5}):
        pretrained(TINY, replace(UNTRAINED, **other))
    pretrained(Needle(boxes=3, prize=0.4), UNTRAINED)
    assert len(list(fresh_cache.glob("*.safetensors"))) == 5


def test_a_folder_that_is_none(fresh_cache, monkeypatch):
    (fresh_cache.parent / "file").write_text("")
    monkeypatch.setenv("GAMESIM_CACHE", str(fresh_cache.parent / "file"))
    said = list[str]()
    assert pretrained(TINY, UNTRAINED, said.append).words.size == 14
    assert "cannot be kept" in said[0]
    assert "GAMESIM_CACHE" in said[0]


def test_two_at_once_train_once(fresh_cache, monkeypatch):
    trained, found, both = list[int](), list[object](), threading.Barrier(2)
    own = pretraining.pretrain

    def counted(*given):
        trained.append(1)
        return own(*given)

    def ask():
        both.wait()
        found.append(pretrained(TINY, UNTRAINED).model.head.weight)

    monkeypatch.setattr(pretraining, "pretrain", counted)
    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert trained == [1]
    assert len(found) == 2


def test_files_of_models(tmp_path):
    out = tmp_path / "model.safetensors"
    made = pretrain_model(TINY, out, UNTRAINED)
    p = TransformerPlanner(weights=str(out))
    tokens = documents(TINY, made.words, 6, 4, Stream(0)).tokens
    assert torch.equal(p.model(TINY).model(tokens), made.model(tokens))
    with pytest.raises(InvalidInput, match="a model that speaks of 'open box 3'"):
        TransformerPlanner(weights=str(out)).model(Needle(boxes=2))
    save(tmp_path / "other.safetensors", made.model, words=made.words.words)
    with pytest.raises(InvalidInput, match="pretrained on a latent world"):
        read_model(tmp_path / "other.safetensors", made.words)
    with pytest.raises(InvalidInput, match="an existing file"):
        TransformerPlanner(weights=str(tmp_path / "none.safetensors")).model(TINY)
    for wrong in (tmp_path / "model.bin", tmp_path / "none" / "model.safetensors"):
        with pytest.raises(InvalidInput, match="out"):
            pretrain_model(TINY, wrong, UNTRAINED)


# --- planning -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize("window", [None, 2])
def test_what_was_remembered_is_what_is_read(name, window):
    """Laws with keys and values kept are those of the whole prompt read at once."""
    world = WORLDS[name]
    p = planner(replace(UNTRAINED, episodes=4), window=window)
    made = p.model(world)
    episodes = 4 if window is None else 9
    d = documents(world, made.words, episodes, 5, Stream(5))
    memory = expanded(p.begin(world, ()), (5,))
    shapes = {n: x.shape for n, x in tensors(memory).items()}
    for r in range(episodes):
        since = 0 if window is None else max(0, r - window)
        memory = p.meet(world, memory, d.tasks[:, r], d.first[:, r], Stream(0))
        for h in range(world.horizon):
            law = p.law(world, h, d.tasks[:, r], memory)
            end = r * made.words.episode + made.words.preface + 2 * h + 1
            prompt = torch.cat([d.tokens[:, :1], d.tokens[:, 1 + since * made.words.episode : end]], -1)
            logits = made.model(prompt)[:, -1, made.words.subgoal_tokens]
            assert torch.allclose(law[:, 0], logits.double().softmax(-1), atol=1e-5)
            memory = p.hear(world, h, memory, d.subgoals[:, r, h, None], d.observations[:, r, h])
    assert {n: x.shape for n, x in tensors(memory).items()} == shapes
    assert torch.equal(memory.tokens[:, : memory.count[0]][:, -2:], d.tokens[:, -2:])


def test_prompts_that_are_too_long():
    p = planner(UNTRAINED)
    with pytest.raises(InvalidInput, match=r"7 episodes.*at most 6 episodes.*transformer\(window=5\)"):
        solve(TINY, BAIL(p), iterations=7, seeds=2)
    told = solve(TINY, BAIL(p), iterations=6, seeds=2).state
    with pytest.raises(InvalidInput, match=r"an episode more than 6"):
        BAIL(p).step(6, TINY, told, Stream([0, 1], 6))
    with pytest.warns(Caution, match="older than 5 episodes"):
        run = solve(TINY, BAIL(replace(p, window=5)), iterations=20, seeds=2)
    assert bool(run.metric("regret").isfinite().all())
    with pytest.raises(InvalidInput, match="window"):
        planner(UNTRAINED, window=6)
    with pytest.raises(InvalidInput, match="heads"):
        TransformerPlanner(width=10, heads=4)


@pytest.mark.filterwarnings("ignore::gamesim.errors.Caution")
def test_a_run_is_resumed():
    solver = BAIL(planner(UNTRAINED, window=2), exploration="0.3")
    whole = solve(TINY, solver, iterations=8, seeds=3)
    half = solve(TINY, solver, iterations=3, seeds=3)
    rest = solve(TINY, solver, iterations=8, seeds=3, resume=Snapshot(3, tensors(half.state), half.trace))
    assert torch.equal(rest.metric("regret"), whole.metric("regret"))
    assert all(torch.equal(a, b) for a, b in zip(*(tensors(x.state).values() for x in (whole, rest)), strict=True))


def test_it_is_typed_and_said():
    p = convert("transformer(episodes=6, steps=1, width=8, heads=2, blocks=1, data=demonstrations)", Planner, "planner")
    assert isinstance(p, TransformerPlanner)
    assert str(p).startswith("transformer(episodes=6, data=demonstrations")
    assert any("own subgoals" in words for words in p.cautions(TINY))
    shapes = [
        solve(TINY, BAIL(p, temperature=torch.tensor([[0.5], [1.0]])), iterations=3, seeds=4).metric("regret").shape
        for p in (Bail(), planner(UNTRAINED))
    ]
    assert shapes[0] == shapes[1]


# --- the experiment -----------------------------------------------------------------------------------------


def test_the_experiment_at_a_small_size(monkeypatch):
    monkeypatch.setattr(bail_transformer, "WORLD", TINY)
    monkeypatch.setattr(bail_transformer, "RECIPE", replace(UNTRAINED, steps=5))
    monkeypatch.setattr(bail_transformer, "EFFORT", {"quick": (2, 16, 64), "full": (1, 16, 64)})
    said = list[str]()
    study = bail_transformer.BailTransformer().run("quick", said.append)
    found = {c.id: c for c in study.claims}
    assert set(ANSWERS) < set(found)
    assert found["total-variation"].verdict == "fails"
    assert {"greedy-not-above", "demonstrations-plain", "exploration-does-not-help"} < set(found)
    assert len({tuple(row) for row in study.data}) == 1
    assert len(said) > 10


def test_a_run_without_seeds_is_the_run_of_its_seed():
    alone = solve(TINY, BAIL(planner(UNTRAINED)), iterations=4, seed=3)
    batch = solve(TINY, BAIL(planner(UNTRAINED)), iterations=4, seed=3, seeds=2)
    assert torch.equal(alone.metric("regret")[0], batch.metric("regret")[0])
