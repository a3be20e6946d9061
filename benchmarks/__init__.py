"""Benchmarks: ratios measured side by side. One line in TABLE makes a suite known to `gamesim bench`."""

if __name__ != "gamesim.benchmarks":
    raise ImportError("this folder is the package gamesim.benchmarks: write `gamesim bench SUITE`")

from gamesim.catalog import Table

LONG = ("faults", "fuzz", "scale")
"""Suites of many minutes, which run only when they are named."""
TABLE: Table = {
    "attention": (
        "gamesim.benchmarks.attention:suite",
        "attention within sets against every option of torch: blocks and cores, dense and ragged",
    ),
    "estimation": (
        "gamesim.benchmarks.estimation:suite",
        "learning from agents: regressions against scikit-learn, whole fits, and how near they come",
    ),
    "faults": (
        "gamesim.benchmarks.faults:suite",
        "nothing is lost: kills, broken disks, races, harmed files, sweeps",
    ),
    "fuzz": (
        "gamesim.benchmarks.fuzz:suite",
        "ten thousand generated inputs: taken or refused in a line, or counted as defects",
    ),
    "graphon": (
        "gamesim.benchmarks.graphon:suite",
        "graphon games against plain loops, batches, MFGLib, and a million positions",
    ),
    "matrix": (
        "gamesim.benchmarks.matrix:suite",
        "normal-form games: learning of many seeds, zero-sum and correlated equilibria, files, certificates",
    ),
    "planning": (
        "gamesim.benchmarks.planning:suite",
        "planners: runs of the needle side by side, pretraining of the small transformer",
    ),
    "population": (
        "gamesim.benchmarks.population:suite",
        "finitely many agents: a step of play dense and sparse, drawing networks, sampling data",
    ),
    "scale": (
        "gamesim.benchmarks.scale:suite",
        "a thousand runs against a shell loop, on one and two cores, local and Ray; start-up; sizes of installs",
    ),
    "sets": ("gamesim.benchmarks.sets:suite", "particle worlds: steps against mpe2, VMAS and JaxMARL"),
    "stochastic": (
        "gamesim.benchmarks.stochastic:suite",
        "stochastic games: REINFORCE of many seeds, Shapley iteration, stationary equilibria",
    ),
}
