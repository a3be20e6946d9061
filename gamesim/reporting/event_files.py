"""TensorBoard: event files that `tensorboard --logdir` shows; scalars, and the parameters under HPARAMS."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from gamesim.errors import refuse
from gamesim.files import own_folder
from gamesim.parameters import check
from gamesim.reporting.kinds import Place, Point, Reporter, Value

EVENTS = "events.out.tfevents.*"


@dataclass(frozen=True)
class Tensorboard(Reporter):
    """Event files in RUN/tensorboard, or in a folder of each run under another one."""

    folder: str = ""
    """Where runs go, each in FOLDER/NAME. Empty: in RUN/tensorboard."""

    package: ClassVar[str] = "tensorboard"
    extra: ClassVar[str] = "tb"

    def __post_init__(self) -> None:
        check(self)

    def where(self, place: Place) -> Path:
        if not self.folder:
            if place.folder is None:
                raise refuse("folder", self.folder, "a folder, as in tensorboard(folder=logs): this run has none")
            return place.folder / "tensorboard"
        if place.folder is None:
            return Path(self.folder)
        return Path(self.folder, *([place.group] if place.group else []), place.name)

    def target(self, place: Place) -> str:
        return str(self.where(place)) if self.folder else ""

    def require(self, place: Place) -> None:
        folder = self.where(place)
        if self.folder:
            held = sorted(folder.glob(EVENTS)) if folder.is_dir() else []
            if held and not place.continued:
                raise refuse("folder", str(folder), f"one without the events of another run; it holds {held[0].name}")
            made = [p for p in (folder, *folder.parents) if not p.exists()]
            own_folder(folder, "folder")
            for path in made:  # it can be made; the run itself may still be refused
                path.rmdir()

    def open(self, place: Place, parameters: Mapping[str, Value]) -> "EventFiles":
        folder = self.where(place)
        folder.mkdir(parents=True, exist_ok=True)
        return EventFiles(folder, parameters)


class EventFiles:
    """The event files of one run."""

    def __init__(self, folder: Path, parameters: Mapping[str, Value]) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
        from torch.utils.tensorboard import summary

        self.newest = newest_in(folder)
        self._summary = summary
        known: dict[str, Any] = {"hparam_dict": dict(parameters), "metric_dict": {}}
        self._begun, started, self._ended = summary.hparams(**known)
        self._file = EventFileWriter(str(folder))
        if not self.newest:
            self._add(self._begun, None)
        self._add(started, None)
        self._file.flush()

    def write(self, points: Iterable[Point]) -> None:
        for point in points:
            self._add(self._summary.scalar(point.name, point.value), point.iteration)
        self._file.flush()

    def close(self, ending: Mapping[str, Value]) -> None:
        at = int(ending["iterations"])
        for name, value in ending.items():
            if isinstance(value, float) and at > self.newest.get(f"end/{name}", -1):
                self._add(self._summary.scalar(f"end/{name}", value), at)
        self._add(self._summary.text("end", f"{ending['status']}: {ending['message']}"), at)
        self._add(self._ended, None)
        self._file.close()

    def _add(self, summary: Any, step: int | None) -> None:
        import time

        from tensorboard.compat.proto.event_pb2 import Event

        self._file.add_event(Event(wall_time=time.time(), summary=summary, step=step or 0))


def newest_in(folder: Path) -> dict[str, int]:
    """The last step of each tag in a folder of event files; a torn last record is left out."""
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    found = dict[str, int]()
    for path in sorted(folder.glob(EVENTS)):
        for event in LegacyEventFileLoader(str(path)).Load():
            for value in event.summary.value:
                found[value.tag] = max(event.step, found.get(value.tag, -1))
    return found
