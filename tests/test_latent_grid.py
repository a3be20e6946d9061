"""Tabular latent worlds against brute force: filters, experts, distances between latents; and their constants."""

import itertools
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pytest
import torch
from torch import Tensor

import gamesim as gs
from gamesim.algorithms.bail import BAIL
from gamesim.envs.latent.grid import Grid
from gamesim.envs.latent.imagined import Imagined
from gamesim.envs.latent.lock import Lock
from gamesim.envs.latent.random_hierarchy import RandomHierarchy, dirichlet
from gamesim.envs.latent.trap import Trap
from gamesim.errors import InvalidInput
from gamesim.games.latent_tables import TabularWorld
from gamesim.randomness import Stream


@dataclass(frozen=True, kw_only=True, eq=False)
class Tables(TabularWorld):
    """A world by random tables, whose reports tell no state for sure."""

    sizes: tuple[int, int, int, int] = (3, 4, 2, 3)
    """Latents, states, subgoals, reports."""
    episode: int = 3
    task_count: int = 1
    instance: int = 0
    truth: int | str = "prior"
    about: str = "random tables"  # type: ignore[assignment]

    @property
    def horizon(self) -> int:
        return self.episode

    @cached_property
    def _all(self) -> tuple[Tensor, ...]:
        z, s, g, o = self.sizes
        luck = Stream(self.instance)
        shapes = ((z, s, g, s), (z, s, o), (z, s), (z,))
        return *(dirichlet(0.7, shape, luck) for shape in shapes), luck.uniform((self.task_count, self.episode, o))

    @property
    def transition(self) -> Tensor:
        return self._all[0]

    @property
    def emission(self) -> Tensor:
        return self._all[1]

    @property
    def initial(self) -> Tensor:
        return self._all[2]

    @property
    def prior(self) -> Tensor:
        return self._all[3]

    @property
    def reward(self) -> Tensor:
        return self._all[4]

    @property
    def task_law(self) -> Tensor:
        return torch.full((self.task_count,), 1 / self.task_count, **self.like)

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(f"task {w}" for w in range(self.task_count))

    @property
    def latents(self) -> tuple[str, ...]:
        return tuple(map(str, range(self.sizes[0])))

    @property
    def subgoals(self) -> tuple[str, ...]:
        return tuple(map(str, range(self.sizes[2])))

    @property
    def observations(self) -> tuple[str, ...]:
        return tuple(map(str, range(self.sizes[3])))

    def explore(self, h: int, observation: Tensor) -> Tensor:
        law = dirichlet(1.0, (self.horizon, self.sizes[3], self.sizes[2]), Stream(99))
        return law[h, observation].unsqueeze(-2)


def likelihood(world: TabularWorld, z: int, subgoals: tuple[int, ...], reports: tuple[int, ...]) -> float:
    """P_z(o_0, ..., o_h | g_0, ..., g_{h-1}): a sum over all paths of states."""
    total = 0.0
    for path in itertools.product(range(world.initial.shape[1]), repeat=len(reports)):
        p = float(world.initial[z, path[0]] * world.emission[z, path[0], reports[0]])
        for s, g, t, o in zip(path, subgoals, path[1:], reports[1:], strict=False):
            p *= float(world.transition[z, s, g, t] * world.emission[z, t, o])
        total += p
    return total


def episodes(world: TabularWorld, seed: int, count: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    u = Stream(seed).uniform((count, 2, world.horizon + 1))
    g, o = (u[:, 0, 1:] * len(world.subgoals)).long(), (u[:, 1] * len(world.observations)).long()
    return [(tuple(a), tuple(b)) for a, b in zip(g.tolist(), o.tolist(), strict=True)]


@pytest.mark.parametrize("instance", [0, 1])
def test_the_filter_is_brute_force_enumeration_of_paths(instance: int) -> None:
    world = Tables(instance=instance)
    world.validate()
    assert not world.revealed
    belief, exact = world.believe((1,)), world.prior.clone()
    for subgoals, reports in episodes(world, seed=instance, count=2):
        belief = world.meet(belief, torch.tensor(reports[:1]))
        for h in range(world.horizon):
            belief = world.update(h, belief, torch.tensor([[subgoals[h]]]), torch.tensor([reports[h + 1]]))
            seen = [likelihood(world, z, subgoals[: h + 1], reports[: h + 2]) for z in range(3)]
            posterior = exact * torch.tensor(seen, dtype=torch.float64)
            assert torch.allclose(belief.posterior[0], posterior / posterior.sum(), atol=1e-10, rtol=0)
        exact = posterior / posterior.sum()


@pytest.mark.parametrize("instance", [0, 1, 2])
def test_experts_on_beliefs_are_the_best_of_all_policies(instance: int) -> None:
    world = Tables(sizes=(2, 3, 2, 2), episode=2, instance=instance)
    both = range(2)
    best = [0.0, 0.0]
    for first in itertools.product(both, repeat=2):  # g_0 by o_0, then g_1 by (o_0, o_1)
        for second in itertools.product(both, repeat=4):
            for z in both:
                total = 0.0
                for o in itertools.product(both, repeat=3):
                    g = (first[o[0]], second[2 * o[0] + o[1]])
                    paid = float(world.reward[0, 0, o[1]] + world.reward[0, 1, o[2]])
                    total += paid * likelihood(world, z, g, o)
                best[z] = max(best[z], total)
    assert torch.allclose(world.value, torch.tensor(best).double(), atol=1e-12)


@pytest.mark.parametrize(
    "world",
    [
        Tables(sizes=(3, 3, 2, 2), episode=2),
        RandomHierarchy(latent_count=3, report_count=3, subgoal_count=2, episode=2),
    ],
)
def test_eta_is_that_of_the_laws_of_episodes(world: TabularWorld) -> None:
    n, reports, subgoals = len(world.prior), len(world.observations), len(world.subgoals)
    affinity = torch.zeros(n, n)
    for o in itertools.product(range(reports), repeat=world.horizon + 1):
        for g in itertools.product(range(subgoals), repeat=world.horizon):
            said = math.prod(float(world.explore(h, torch.tensor(o[h]))[..., 0, g[h]]) for h in range(world.horizon))
            p = torch.tensor([said * likelihood(world, z, g, o) for z in range(n)])
            affinity += (p[:, None] * p).sqrt()
    apart = [1 - float(affinity[i, j]) for i in range(n) for j in range(n) if i != j]
    assert world.distinguishability() == pytest.approx(min(apart), abs=1e-6)
    assert torch.allclose(affinity.diagonal(), torch.ones(n), atol=1e-5)


@pytest.mark.parametrize(
    "world", [Grid(), Grid(reporter="learned", pairs=500), RandomHierarchy(), Lock(), Tables(task_count=2)]
)
def test_losses_make_up_what_the_experts_get(world: TabularWorld) -> None:
    """Return and regret of the same episodes add up to J* on average: the performance difference lemma."""
    runs, episodes = 400, 5
    result = gs.solve(world, BAIL(error=0.5), iterations=episodes, seeds=runs, every=episodes)
    state = result.state
    regret, mean = result.metric("regret")[:, -1], result.metric("return")[:, -1]
    missing = world.value[state.latent] - mean - regret / episodes
    assert abs(float(missing.mean())) < 4 * float(missing.std()) / math.sqrt(runs)
    assert float(regret.min()) >= 0


def test_the_grid_has_its_constants() -> None:
    world = Grid()
    world.validate()
    assert world.actor_success == pytest.approx(0.858, abs=5e-4)
    assert float(world.value.mean()) == pytest.approx(0.897, abs=5e-4)
    assert world.distinguishability() == pytest.approx(0.9565, abs=5e-4)
    a, b = 0.95 + 0.05 / 24, 0.05 / 24  # one decision: it arrives, and signs differ; or it strays to a box, 1e-8
    once = Grid(walks=1)
    arrives = float(world.hierarchy.reaches(world.goals)[0, 10, -1])
    assert once.distinguishability() == pytest.approx(arrives * (1 - 2 * math.sqrt(a * b) - 22 * b), abs=1e-7)


def test_worlds_have_their_closed_forms() -> None:
    for dials, positions in ((1, 2), (2, 3), (3, 2)):
        lock = Lock(dials=dials, positions=positions)
        lock.validate()
        assert lock.distinguishability() == pytest.approx(2 * positions**-dials, abs=1e-12)
        assert torch.equal(lock.value, torch.ones(positions**dials).double())
    trap = Trap()
    trap.validate()
    assert trap.distinguishability() == pytest.approx(1 - math.sqrt(0.18) - math.sqrt(0.08), abs=1e-12)
    assert trap.value.tolist() == pytest.approx([0.6, 0.9])
    for instance in range(3):
        RandomHierarchy(instance=instance).validate()
    assert not torch.equal(RandomHierarchy(instance=1).transition, RandomHierarchy(instance=2).transition)
    differ = (RandomHierarchy().transition[0] != RandomHierarchy().transition[1]).any(-1).sum()
    assert 2 <= int(differ) <= 4


def test_a_lock_says_nothing_before_its_end() -> None:
    lock = Lock(dials=2, positions=2, truth="1-0")
    belief = lock.meet(lock.believe(()), torch.tensor(0))
    belief = lock.update(0, belief, torch.tensor([0]), torch.tensor(1))
    assert torch.allclose(belief.posterior, lock.prior)
    belief = lock.update(1, belief, torch.tensor([1]), torch.tensor(2))
    assert torch.allclose(belief.posterior, torch.tensor([1, 0, 1, 1]).double() / 3)


def test_who_imagines_the_world_as_it_is_believes_as_it_is() -> None:
    world = Grid(size=3)
    twin = Imagined(of=world, high=world.hierarchy.compiled, seen=world.emission)
    front = (5,)
    beliefs = [w.meet(w.believe(front), torch.zeros(front, dtype=torch.long)) for w in (world, twin)]
    g, o = torch.arange(5)[:, None], torch.tensor([1, 9, 17, 0, 20])
    beliefs = [w.update(0, belief, g, o) for w, belief in zip((world, twin), beliefs, strict=True)]
    assert torch.equal(beliefs[0].log, beliefs[1].log)
    task = torch.zeros(front, dtype=torch.long)
    assert torch.equal(world.experts(1, task, beliefs[0]), twin.experts(1, task, beliefs[1]))


def test_learned_parts_change_beliefs_and_walks_but_not_how_losses_are_counted() -> None:
    exact = Grid(size=3)
    for learned in (Grid(size=3, reporter="learned", pairs=2000), Grid(size=3, actor="learned", transitions=60)):
        assert learned.imagined is not None
        belief, other = learned.believe((2,)), exact.believe((2,))
        first = torch.zeros(2, dtype=torch.long)
        g, o = torch.tensor([[0], [8]]), torch.tensor([1, 18])
        belief, other = learned.meet(belief, first), exact.meet(other, first)
        belief, other = learned.update(0, belief, g, o), exact.update(0, other, g, o)
        shapes = [x.shape for x in learned.believe((2,)).inside]
        assert [x.shape for x in belief.inside] == shapes
        if learned.reporter == "learned":
            assert not torch.equal(belief.log, other.log)
            assert torch.equal(belief.inside[1], other.inside[1])  # the filter that losses are counted with
        else:
            assert torch.equal(belief.log, other.log)  # reasons with value iteration's Actor
            assert not torch.equal(learned.transition, exact.transition)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Grid(size=4), "size: got 4"),
        (lambda: Grid(size=17), "size: got 17"),
        (lambda: Grid(entrance=(1, 7)), "entrance: got"),
        (lambda: Grid(entrance=(1,)), "entrance: got"),
        (lambda: Grid(noise=1.5), "noise: got 1.5"),
        (lambda: Grid(slip=torch.tensor([0.1, 0.2])), "slip: got tensor"),
        (lambda: Grid(reporter="blind"), "reporter: got 'blind'"),  # type: ignore[arg-type]
        (lambda: Grid(truth="box 25"), "truth: got 'box 25'"),
        (lambda: Trap(truth="shy"), "truth: got 'shy'"),
        (lambda: Trap(safe=-0.1), "safe: got -0.1"),
        (lambda: Lock(dials=10, positions=9), "dials: got '9\\^10"),
        (lambda: Lock(truth=27), "truth: got 27"),
        (lambda: RandomHierarchy(redrawn=37), "redrawn: got 37"),
        (lambda: RandomHierarchy(concentration=0.0), "concentration: got 0"),
    ],
)
def test_what_does_not_fit_is_refused(make: Any, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        make()


def test_degenerate_worlds_run() -> None:
    for world in (
        Grid(size=3, slip=1.0, noise=1.0, walks=1),
        Grid(size=3, slip=0.0, noise=0.0, steps=1, entrance=(0, 0)),
        Lock(dials=1, positions=2),
        Trap(bold_prior=0.0),
        RandomHierarchy(latent_count=2, report_count=2, subgoal_count=2, episode=1, task_count=1, redrawn=0),
    ):
        world.validate()
        with pytest.warns(gs.Caution) if world.coverage == math.inf else _quiet():
            result = gs.solve(world, BAIL(), iterations=3, seeds=2)
        assert bool(result.metric("regret").isfinite().all())


class _quiet:
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...
