"""A game in a file: Gambit's .nfg and .efg (in its reduced normal form), or the .gam of GAMUT and QuantEcon.

Players and actions stand in the order of the file. Payoffs are played as float64; what asks for exactness, as strict
equilibria do, takes the fractions and decimals that the file says. `gamesim run path/to/game.nfg ftrl` means this game
with `file=path/to/game.nfg`.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, final

import torch
from torch import Tensor

from gamesim.files import fingerprint
from gamesim.formats.game_files import GameFile, read_game_file
from gamesim.games import DenseGame
from gamesim.games.matrix import as_payoffs
from gamesim.parameters import Device, check


@final
@dataclass(frozen=True, eq=False)
class FileGame(DenseGame):
    """The game in a file."""

    file: str
    """Path of a .nfg, .gam or .efg file."""
    dtype: Literal["float32", "float64"] = "float64"
    """Precision of payoffs and policies."""
    device: Device = "cpu"
    """Where tensors live."""

    def __post_init__(self) -> None:
        check(self)
        _ = self.payoffs  # a file that cannot be read is refused here

    @cached_property
    def content(self) -> GameFile:
        """What the file holds."""
        return read_game_file(self.file)

    @cached_property
    def payoffs(self) -> Tensor:
        u = torch.from_numpy(self.content.payoffs)
        return as_payoffs(u, "file", u.dim() - 1).to(self.device, getattr(torch, self.dtype))

    @property
    def player_count(self) -> int:  # type: ignore[override]
        return len(self.content.players)

    @property
    def players(self) -> tuple[str, ...]:
        return self.content.players

    @property
    def actions(self) -> tuple[tuple[str, ...], ...]:
        return self.content.actions

    @property
    def title(self) -> str:
        """The title that the file gives."""
        return self.content.title

    def rational(self, player: int, profile: Any) -> Fraction:
        return self.content.rational(player, tuple(profile))

    def plain(self) -> dict[str, Any]:
        """What JSON says of it: the file and its fingerprint instead of its payoffs."""
        name = f"{type(self).__module__}:{type(self).__qualname__}"
        whole = {"kind": name, "file": Path(self.file).name, "sha256": fingerprint(Path(self.file))}
        return whole | {"dtype": self.dtype, "device": self.device}
