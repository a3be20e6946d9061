"""Files made to harm whoever reads them are refused in a line, within a bound of memory and of time."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fuzzing.malicious import CASES, GIGABYTES, PASSED_OVER

TESTS = Path(__file__).parent
MEGABYTES = 300
"""That a refusal may take beside what the program itself holds; the largest file here unpacks to 10 GB."""
SECONDS = 10.0


@functools.cache
def met() -> dict[str, dict[str, object]]:
    """What came of each case: all of them in one process that may not have more than a few GB."""
    where = os.pathsep.join([str(TESTS), str(TESTS.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "fuzzing.malicious"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | {"PYTHONPATH": where, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, dict[str, object]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.xdist_group("malicious")
def test_malicious_files_are_refused_within_bounds() -> None:
    """One test for all, so that one process meets them however tests are distributed."""
    found = met()
    assert found.keys() == CASES.keys()
    assert len(found) >= 40
    assert GIGABYTES * 1000 < 10 * 1024, "the bombs are larger than what the process may have"
    wrong = {name: about for name, about in found.items() if about["verdict"] != _expected(name, about)}
    assert not wrong, wrong
    large = {name: about for name, about in found.items() if float(str(about["megabytes"])) > MEGABYTES}
    assert not large, large
    slow = {name: about for name, about in found.items() if float(str(about["seconds"])) > SECONDS}
    assert not slow, slow


def _expected(name: str, about: dict[str, object]) -> object:
    return about["verdict"] if name in PASSED_OVER and about["verdict"] in ("refused", "succeeded") else "refused"
