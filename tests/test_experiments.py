"""The claims that this repository makes, judged at the quick scale: a verdict that changes is a finding."""

from pathlib import Path

import pytest

from gamesim import catalog
from gamesim.study import reproduce


@pytest.mark.parametrize("name", sorted(catalog.table("experiments")))
def test_claims_hold_at_the_quick_scale(name: str, tmp_path: Path) -> None:
    (result,) = reproduce({name: catalog.find("experiments", name)}, "quick", tmp_path / "report")
    assert result["claims"]
    assert [c for c in result["claims"] if c["verdict"] != "holds"] == []
    report = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "<svg" in report
    assert "<script" not in report
    assert all(Path(figure).stat().st_size > 5000 for figure in result["figures"])
    assert (tmp_path / "report" / name / "data.csv").read_text(encoding="utf-8").count("\n") > 10
