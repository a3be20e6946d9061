"""Many runs from one file: a design over games, solvers, parameters and seeds, done in batches, finished whatever dies.

    design     TOML -> a plan: every run there is to be, checked before anything starts (axes, points, plans, checking)
    batches    the runs that differ only in seed or in continuous parameters of the solver: one tensor batch
    work       one batch -> its folder; a pure function of the plan, whoever does it, however often it was killed
    engines    who does it: processes of this machine (local), or a Ray cluster (ray, clusters)
    scheduler  the loop: start, retry, isolate failures, collect
    results    one tidy table of everything, and its pictures (pictures)
    tuning     Optuna, which chooses what is run next

Randomness is named by seeds, a batch is fixed by the plan, and a batch that is finished on disk is never done again:
a sweep that was killed and resumed leaves the same bits as one that was not.
"""

from gamesim.sweeps.design import read_plan
from gamesim.sweeps.plans import Plan
from gamesim.sweeps.scheduler import sweep

__all__ = ["Plan", "read_plan", "sweep"]
