"""Probabilities estimated from independent runs, with the exact interval of Clopper and Pearson, Biometrika 26 (1934).

k of B        [Beta^-1(alpha / 2; k, B - k + 1), Beta^-1(1 - alpha / 2; k + 1, B - k)]
B of B        [(alpha / 2)^(1 / B), 1]
"""

from dataclasses import dataclass
from typing import Annotated, Any

from gamesim.parameters import Bounds

Share = Annotated[float, Bounds("a probability between 0 and 1", 0, 1, low_open=True, high_open=True)]
Runs = Annotated[int, Bounds("a whole number from 1 to 1,000,000", 1, 10**6)]


@dataclass(frozen=True)
class Probability:
    """A probability estimated from independent runs, k of B."""

    successes: int
    runs: int
    confidence: float = 0.99

    @property
    def value(self) -> float:
        return self.successes / self.runs

    @property
    def interval(self) -> tuple[float, float]:
        """Clopper and Pearson's exact interval, two-sided.

        >>> low, high = Probability(1000, 1000, 0.99).interval
        >>> round(low, 4), round(0.005 ** (1 / 1000), 4), high
        (0.9947, 0.9947, 1.0)
        """
        from scipy.special import betaincinv

        k, n, tail = self.successes, self.runs, (1 - self.confidence) / 2
        low = betaincinv(k, n - k + 1, tail) if k > 0 else 0.0
        high = betaincinv(k + 1, n - k, 1 - tail) if k < n else 1.0
        return float(low), float(high)

    def plain(self) -> dict[str, Any]:
        return {"probability": self.value, "interval": list(self.interval), "runs": self.runs}
