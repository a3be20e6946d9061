"""For a server of forks alone, which imports it: every batch of the study once, so that its forks begin at once."""

import tempfile
import warnings
from pathlib import Path

from gamesim.benchmarks.faults.study import STUDY
from gamesim.files import write_text
from gamesim.sweeps.batches import batched
from gamesim.sweeps.design import read_plan
from gamesim.sweeps.work import perform

with tempfile.TemporaryDirectory(prefix="gamesim-warm-") as folder, warnings.catch_warnings():
    warnings.simplefilter("ignore")
    write_text(Path(folder) / "study.toml", STUDY)
    for batch in batched(read_plan(Path(folder) / "study.toml").runs):
        perform(Path(folder), batch, 1)
