"""Other people's libraries, called as they are meant to be called; imported only when they are installed."""

import warnings
from collections.abc import Callable
from typing import Any


def mfglib_step(places: int, last_step: int) -> Callable[[], Any]:
    """One online mirror descent update of MFGLib on its beach bar, without its exploitability."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mfglib.alg
        import torch
        from mfglib.env import Environment

        environment = Environment.beach_bar(T=last_step, n=places, bar_loc=places // 2)
        solver = mfglib.alg.OnlineMirrorDescent(alpha=0.1)
        state = solver.init_state(environment, torch.full((last_step + 1, places, 3), 1 / 3))

    def step() -> Any:
        return solver.step_next_state(state, None, None)

    return step
