"""Benchmarks: ratios measured side by side. One line in TABLE makes a suite known to `gamesim bench`."""

if __name__ != "gamesim.benchmarks":
    raise ImportError("this folder is the package gamesim.benchmarks: write `gamesim bench SUITE`")

from gamesim.catalog import Table

TABLE: Table = {
    "graphon": (
        "gamesim.benchmarks.graphon:suite",
        "graphon games against plain loops, batches, MFGLib, and a million positions",
    ),
}
