"""The suite `faults`: nothing is lost. Processes are killed, disks fail, folders are fought over and harmed; a row
counts what went wrong, and its bar is zero.

Every random moment comes from the seed that the rows print.
"""

from collections.abc import Iterator

from gamesim.benchmarks.timing import Row


def suite(share: float = 1.0) -> Iterator[Row]:
    """Rows as they are measured; a smaller share takes fewer trials of everything."""
    from gamesim.benchmarks.faults import damage, disks, kills, races, sweeps
    from gamesim.benchmarks.faults.twins import Ward

    def some(count: int) -> int:
        return max(1, round(share * count))

    with Ward() as ward:
        yield from kills.rows(ward, kills=some(200), points=some(40))
        yield from disks.rows(ward, points=some(12), sizes=some(40), others=some(10))
        yield from races.rows(ward, races=some(100), resumes=some(20), others=some(20))
        yield from damage.rows(ward, each=some(20))
        yield from sweeps.rows(ward, kills=some(100), cold=some(10), workers=some(20), ray=some(50))
