"""Every solver on every game that it takes, held to the trace that is kept of it."""

import pytest

from golden_traces import CASES, FOLDER, ITERATIONS, Case, drifts, read, trace

KEPT = read()


def test_a_trace_is_kept_of_every_pair_and_of_nothing_else() -> None:
    """To keep those of a new game or solver: .venv/bin/python tests/golden_traces.py, and review the diff."""
    assert set(KEPT) == set(CASES)
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 400_000


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(filter(None, case)))
def test_every_pair_leaves_the_trace_that_is_kept(case: Case) -> None:
    found = sorted(drifts(case, KEPT[case], trace(case)))
    assert not found, f"{found[0][2]}; if that is meant: .venv/bin/python tests/golden_traces.py, and review the diff"


def test_a_drift_is_said_with_where_it_began_and_how_large_it_is() -> None:
    case = ("matrix/shapley", "ftrl", "")
    kept = KEPT[case]
    moved = {name: [*values[:-1], values[-1] + 1e-8 * max(map(abs, values))] for name, values in kept.items()}
    assert not list(drifts(case, kept, kept))
    first, *_ = sorted(drifts(case, kept, moved))
    assert first[0] == ITERATIONS
    assert first[1] == pytest.approx(1e-8, rel=1e-3)
    assert first[2].startswith("matrix/shapley ftrl: ")
    assert list(drifts(case, kept, {**kept, "regret": [1.0]}))
