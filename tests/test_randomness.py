"""The counter-based generator: known answers, independence of the batch, and its distributions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from gamesim.kernels import fused
from gamesim.randomness import Stream, philox

QUICK = settings(max_examples=40, deadline=None, derandomize=True, database=None)

# kat_vectors of Random123: philox4x32 10 rounds, counter, key -> result
ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text: str) -> tuple[Tensor, ...]:
    return tuple(torch.tensor(int(word, 16)) for word in text.split())


@pytest.mark.parametrize(("counter", "key", "answer"), ANSWERS)
def test_known_answers(counter: str, key: str, answer: str) -> None:
    assert [f"{int(x):08x}" for x in philox(words(counter), words(key))] == answer.split()


def test_philox_broadcasts() -> None:
    counters = tuple(torch.stack(column) for column in zip(*(words(c) for c, _, _ in ANSWERS), strict=True))
    keys = tuple(torch.stack(column) for column in zip(*(words(k) for _, k, _ in ANSWERS), strict=True))
    found = torch.stack(philox(counters, keys), -1)
    assert [[f"{x:08x}" for x in row] for row in found.tolist()] == [a.split() for _, _, a in ANSWERS]


@QUICK
@given(
    st.lists(st.integers(0, 2**40), min_size=1, max_size=5),
    st.integers(0, 2**31),
    st.lists(st.integers(1, 4), max_size=3),
    st.sampled_from(["uniform", "normal"]),
)
def test_a_batch_of_seeds_is_one_by_one(seeds: list[int], iteration: int, shape: list[int], law: str) -> None:
    together = getattr(Stream(seeds, iteration), law)((len(seeds), *shape))
    for i, seed in enumerate(seeds):
        assert torch.equal(together[i], getattr(Stream(seed, iteration), law)(shape))


def test_draws_are_named_by_seed_iteration_and_order() -> None:
    stream = Stream(3)
    first, second = stream.at(5).uniform((4,)), stream.at(6).uniform((4,))
    assert torch.equal(first, Stream(3, 5).uniform((4,)))
    assert not torch.equal(first, second)
    later = stream.at(5)
    assert torch.equal(later.uniform((4,)), first)
    assert not torch.equal(later.uniform((4,)), first)
    assert not torch.equal(Stream(4, 5).uniform((4,)), first)


def test_a_longer_draw_begins_like_a_shorter_one() -> None:
    assert torch.equal(Stream(1).uniform((100,))[:10], Stream(1).uniform((10,)))


def test_a_shape_without_the_seeds_is_refused() -> None:
    with pytest.raises(ValueError, match="2 seeds need a shape that begins with 2"):
        Stream([1, 2]).uniform((3, 2))
    with pytest.raises(ValueError, match="begins with 2"):
        Stream([1, 2]).uniform(())


def test_numbers_are_inside_the_open_interval_and_normal_ones_finite() -> None:
    u = Stream(0).uniform((200_000,))
    assert 0 < float(u.min()) < 1e-4
    assert 1 - 1e-4 < float(u.max()) < 1
    assert bool(Stream(0).normal((200_000,)).isfinite().all())
    assert bool(Stream(0).normal((1000,), torch.float32).isfinite().all())
    assert Stream(0).normal((2,), torch.float32).dtype == torch.float32


@pytest.mark.parametrize(("law", "cdf"), [("uniform", "uniform"), ("normal", "norm")])
def test_distributions(law: str, cdf: str) -> None:
    x = getattr(Stream(12345, 7), law)((50_000,)).numpy()
    assert stats.kstest(x, cdf).pvalue > 0.01
    assert abs(np.corrcoef(x[:-1], x[1:])[0, 1]) < 3 / np.sqrt(len(x))


def test_seeds_and_iterations_are_uncorrelated() -> None:
    rows = Stream(list(range(20)), 0).normal((20, 5000)).numpy()
    steps = np.stack([Stream(0, t).normal((5000,)).numpy() for t in range(20)])
    for x in (rows, steps):
        off = np.corrcoef(x)[~np.eye(20, dtype=bool)]
        assert np.abs(off).max() < 5 / np.sqrt(5000)


def test_the_global_generators_are_left_alone() -> None:
    before, numpys = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    Stream([0, 1]).normal((2, 10))
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == numpys).all()  # noqa: NPY002


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("shape", [(3,), (5, 7), (5, 3000, 4)])
def test_the_compiled_quick_numbers_are_those_of_tensors(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    pytest.importorskip("numba", reason="needs the fast path")
    import gamesim.kernels.philox_loops  # noqa: F401  from here on it serves short draws, too

    seeds = list(range(5)) if shape[0] == 5 else 3
    with fused(False):
        plain = Stream(seeds, 7).quick(shape, dtype)
    assert torch.equal(Stream(seeds, 7).quick(shape, dtype), plain)


def test_what_is_set_aside_is_not_drawn_again() -> None:
    stream, other = Stream(3, 1), Stream(3, 1)
    aside = stream.aside()
    assert torch.equal(aside.uniform((4,)), other.uniform((4,)))
    aside.uniform((4,))
    after = stream.uniform((4,))
    again = Stream(3, 1)
    again.aside()
    assert torch.equal(after, again.uniform((4,)))
