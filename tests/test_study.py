"""Experiments: slopes, verdicts, and what `reproduce` writes."""

import csv
import json
import math
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gamesim import catalog, cli
from gamesim.charts import Chart, Curve, Panel
from gamesim.errors import InvalidInput
from gamesim.study import Claim, Scale, Study, at_least, at_most, fit_slope, reproduce, table

QUICK = settings(max_examples=60, deadline=None, derandomize=True, database=None)


# --- slopes ---------------------------------------------------------------------------------------------------------


@QUICK
@given(st.floats(-3, -0.01), st.floats(1e-6, 1e6), st.integers(4, 12))
def test_the_slope_of_a_power_law(slope: float, scale: float, points: int) -> None:
    x = 2.0 ** np.arange(points)
    found = fit_slope(list(x), list(scale * x**slope))
    assert found.value == pytest.approx(slope, abs=1e-9)
    assert found.interval[0] <= found.value <= found.interval[1]
    assert found.interval[1] - found.interval[0] < 1e-6
    assert found.window == (1.0, x[-1])


@pytest.mark.parametrize("slope", [-1.0, -0.5, -1 / 3])
def test_the_interval_of_a_noisy_power_law_holds_the_slope(slope: float) -> None:
    """95% by the regression, and wider by the shorter windows: at least 95 of 100."""
    rng = np.random.default_rng(3)
    x = 2.0 ** np.arange(10)
    held = 0
    for _ in range(100):
        found = fit_slope(list(x), list(5 * x**slope * np.exp(0.1 * rng.normal(size=10))))
        held += found.interval[0] <= slope <= found.interval[1]
        assert abs(found.value - slope) < 0.1
    assert held >= 95


def test_a_curve_that_bends_has_a_wide_interval() -> None:
    x = 2.0 ** np.arange(10)
    found = fit_slope(list(x), list(1 / x + 0.05))
    assert found.interval[0] < -0.8
    assert found.interval[1] > -0.2


# --- verdicts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statistic", "interval", "verdict"),
    [
        (0.5, None, "holds"),
        (1.0, None, "holds"),
        (1.5, None, "fails"),
        (0.5, (0.4, 0.6), "holds"),
        (0.5, (0.4, 1.0), "holds"),
        (0.5, (0.4, 1.1), "undecided"),
        (1.5, (0.9, 2.0), "undecided"),
        (1.5, (1.1, 2.0), "fails"),
        (math.nan, None, "undecided"),
        (math.inf, None, "undecided"),
        (0.5, (math.nan, 0.6), "undecided"),
    ],
)
def test_at_most(statistic: float, interval: tuple[float, float] | None, verdict: str) -> None:
    assert at_most("id", "words", statistic, 1.0, interval).verdict == verdict
    flipped = None if interval is None else (-interval[1], -interval[0])
    found = at_least("id", "words", -statistic, -1.0, flipped)
    assert found.verdict == verdict
    assert found.interval == flipped
    assert found.statistic == -statistic or math.isnan(statistic)


# --- reproduce ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fake:
    """It says <b>what</b> it claims & by whom."""

    verdict: ClassVar[float] = 0.5

    def run(self, scale: Scale, say: Callable[[str], None]) -> Study:
        say(f"  at {scale}")
        claims = [
            at_most(
                "small<",
                "a <script>alert(1)</script> claim",
                self.verdict,
                1.0,
                (self.verdict - 0.1, self.verdict + 0.1),
            ),
            Claim("open", "nobody knows", "undecided", math.nan),
        ]
        chart = Chart("rates", [Panel("p <script>", "x", "y", [Curve("c", [1, 2, 3], [1.0, 0.5, 0.25])])])
        return Study(
            claims, [chart], [{"name": "=1+1", "x": 1, "y": 0.5}, {"name": "b,c", "x": 2, "y": math.nan}], "Noted."
        )


class Failing(Fake):
    """It does not hold."""

    verdict: ClassVar[float] = 2.0


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    known = {"fake": Fake, "failing": Failing}
    real = catalog.find
    monkeypatch.setattr(catalog, "find", lambda kind, name: known[name] if name in known else real(kind, name))
    return tmp_path / "reports"


def test_what_reproduce_writes(fakes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["reproduce", "fake", "--json"]) == 0
    out, err = capsys.readouterr()
    (found,) = json.loads(out, parse_constant=lambda text: pytest.fail(text))
    assert err == ""
    assert found.keys() == {"experiment", "claims", "figures", "seconds"}
    assert found["experiment"] == "fake"
    first, second = found["claims"]
    assert first.keys() == {"id", "statement", "verdict", "statistic", "interval"}
    assert (first["verdict"], first["statistic"], first["interval"]) == ("holds", 0.5, [0.4, 0.6])
    assert (second["verdict"], second["statistic"], second["interval"]) == ("undecided", None, None)
    assert {p.name for p in fakes.iterdir()} == {"report.html", "fake"}
    assert {p.name for p in (fakes / "fake").iterdir()} == {"claims.json", "data.csv", "figures"}
    assert json.loads((fakes / "fake" / "claims.json").read_text()) == found
    assert [Path(p).name for p in found["figures"]] == ["rates.png", "rates.pdf"]
    assert all(Path(p).stat().st_size > 1000 for p in found["figures"])
    rows = list(csv.reader((fakes / "fake" / "data.csv").read_text().splitlines()))
    assert rows == [["name", "x", "y"], ["'=1+1", "1", "0.5"], ["b,c", "2", "nan"]]


def test_the_report_is_self_contained_and_escaped(fakes: Path) -> None:
    reproduce({"fake": Fake}, "quick", fakes)
    page = (fakes / "report.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "<svg" in page
    assert "<b>holds</b>" in page
    assert "<b>undecided</b>" in page
    assert "Noted." in page
    assert "&lt;b&gt;what&lt;/b&gt; it claims &amp; by whom" in page
    assert not re.search(r"<script|<link|<iframe|<object|<img|@import|javascript:| on\w+=", page, re.IGNORECASE)
    assert not re.search(r"(?:src|(?<!:)href)\s*=\s*['\"]?\s*(?:https?:)?//", page, re.IGNORECASE)
    assert not re.search(r"xlink:href=\"(?!#)", page)
    assert not re.search(r"url\((?!#)", page)


def test_a_claim_that_fails_exits_with_1(fakes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["reproduce", "fake", "failing"]) == 1
    out, err = capsys.readouterr()
    assert "HOLDS" in out
    assert "FAILS" in out
    assert "UNDECIDED" in out
    assert "report  reports/report.html" in out
    assert "failing (quick)" in err
    page = (fakes / "report.html").read_text()
    assert page.index("fake") < page.index("failing")
    assert cli.main(["reproduce", "failing", "--json", "--out", "other"]) == 1
    assert json.loads(capsys.readouterr().out)[0]["claims"][0]["verdict"] == "fails"


def test_the_scale_is_passed_on(fakes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["reproduce", "fake", "--scale", "full"]) == 0
    assert "at full" in capsys.readouterr().err


def test_earlier_experiments_stay_when_a_later_one_breaks(fakes: Path) -> None:
    class Breaks:
        def run(self, scale: Scale, say: Callable[[str], None]) -> Study:
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        reproduce({"fake": Fake, "breaks": Breaks}, "quick", fakes)
    assert "<b>holds</b>" in (fakes / "report.html").read_text()
    assert (fakes / "fake" / "claims.json").exists()


def test_folders_and_names_that_will_not_do(fakes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").write_text("")
    assert cli.main(["reproduce", "fake", "--out", "file"]) == 2
    assert "out: got 'file'" in capsys.readouterr().err
    with pytest.raises(InvalidInput, match=r"experiment: got '\.\./x'"):
        reproduce({"../x": Fake}, "quick", fakes)


def test_a_users_own_experiment(
    fakes: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("user_experiment.py").write_text(
        "from gamesim.study import Study, at_most\n"
        "class Mine:\n def run(self, scale, say): return Study([at_most('a', 'b', 1, 2)], [], [])\n"
    )
    assert cli.main(["reproduce", "user_experiment:Mine", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["experiment"] == "user_experiment:Mine"
    sys.modules.pop("user_experiment", None)


def test_tables() -> None:
    assert table([]) == ""
    rows: list[dict[str, Any]] = [{"a": "+1", "b": -1}, {"a": "@x", "b": 2}, {"a": "-x", "b": 3}, {"a": "x", "b": 4}]
    assert table(rows) == "a,b\n+1,-1\n'@x,2\n'-x,3\nx,4\n"  # +1 is a number, and no formula
