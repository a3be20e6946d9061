"""The command line: it parses, imports late, and calls the rest.

Exit codes: 0 done, 1 the run diverged or a claim, check or bar fails, 2 bad input, 130 and 143 interrupted.
"""

from gamesim.cli import agents as _agents  # noqa: F401  each adds its commands to the group
from gamesim.cli import calibrating as _calibrating  # noqa: F401
from gamesim.cli import catalogue as _catalogue  # noqa: F401
from gamesim.cli import certifying as _certifying  # noqa: F401
from gamesim.cli import citing as _citing  # noqa: F401
from gamesim.cli import claims as _claims  # noqa: F401
from gamesim.cli import comparing as _comparing  # noqa: F401
from gamesim.cli import data as _data  # noqa: F401
from gamesim.cli import equilibria as _equilibria  # noqa: F401
from gamesim.cli import exporting as _exporting  # noqa: F401
from gamesim.cli import llm as _llm  # noqa: F401
from gamesim.cli import solving as _solving  # noqa: F401
from gamesim.cli import sweeping as _sweeping  # noqa: F401
from gamesim.cli import tournament as _tournament  # noqa: F401
from gamesim.cli.shell import KINDS, cli, entry, main

__all__ = ["KINDS", "cli", "entry", "main"]
