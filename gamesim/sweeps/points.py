"""Designs: the values of all parameters of a block, for each of its configurations.

`grid` crosses all axes, `list` takes them side by side, `random` and `sobol` draw the parameters so many times
(`draws`, `design_seed`): each axis at its share of the way through. Sobol' points: scipy.stats.qmc, scrambled.
"""

import itertools
import warnings
from typing import cast

from gamesim.errors import refuse
from gamesim.sweeps.checking import require_few
from gamesim.sweeps.plans import Block


def points_of(block: Block) -> list[dict[str, str]]:
    """The values of all parameters of a block, for each of its configurations."""
    axes = block.axes
    if block.design == "grid":
        require_few(block, [len(a.values) for a in axes])
        return [dict(zip((a.name for a in axes), v, strict=True)) for v in itertools.product(*(a.values for a in axes))]
    if block.design == "list":
        length = max((len(a.values) for a in axes), default=1)
        for a in axes:
            if len(a.values) not in (1, length):
                raise refuse(
                    f"{block.where}.{a.name}", f"{len(a.values)} values", f"one, or {length} as the longest has"
                )
        return [{a.name: a.values[i % len(a.values)] for a in axes} for i in range(length)]
    return [{a.name: a.at(u) for a, u in zip(axes, row, strict=True)} for row in _shares(block)]


def _shares(block: Block) -> list[list[float]]:
    """Points of the unit cube, [draw][axis]."""
    import numpy as np

    width = len(block.axes)
    if not width:
        raise refuse(f"{block.where}.design", block.design, "grid: no parameter is there to be drawn")
    if block.design == "random":
        rows = np.random.default_rng(np.random.SeedSequence(block.design_seed)).random((block.draws, width))
    else:
        from scipy.stats import qmc

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a number of points which is no power of two is less balanced
            rows = qmc.Sobol(width, rng=np.random.default_rng(block.design_seed)).random(block.draws)
    return cast(list[list[float]], np.minimum(rows, np.nextafter(1, 0)).tolist())
