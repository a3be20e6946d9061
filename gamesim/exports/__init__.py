"""Results for other programs: a run read back from disk; its policy, its trace or a sweep's table in one file."""

from gamesim.exports.saved import SavedRun, read_run
from gamesim.exports.writing import FORMATS, export

__all__ = ["FORMATS", "SavedRun", "export", "read_run"]
