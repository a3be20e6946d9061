"""Decoders in files: safetensors, with a header that says what the weights are and what they were trained on.

The header is one JSON text under the key `gamesim`: the format, the sizes of the network, the name of each token,
whatever was said about its training, and the sha256 of the numbers. Files are read as data only, and checked before any
memory is taken: sizes against limits, shapes against sizes, then the sha256, and that all numbers are finite.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from gamesim.errors import InvalidInput, refuse
from gamesim.files import write_with
from gamesim.formats.reading import require_file, shown
from gamesim.networks.adam import Weights
from gamesim.parameters import plain
from gamesim.sequence.decoder import Decoder

FORMAT = "gamesim-decoder/1"
SIZE_LIMIT = 500 * 10**6
HEADER_LIMIT = 10**6
"""Bytes of a file, and letters of its header."""
LARGEST = {"vocabulary": 10**6, "width": 10**4, "heads": 10**3, "blocks": 100, "context": 10**6}
TYPES = {"F32": torch.float32, "F64": torch.float64}


@dataclass(frozen=True)
class Saved:
    """What a file held."""

    decoder: Decoder
    """Without gradients."""
    words: tuple[str, ...]
    """The name of each token; none where they were not given."""
    about: dict[str, Any]
    """What was said when it was saved."""


def save(
    path: str | Path,
    decoder: Decoder,
    weights: Weights | None = None,
    *,
    words: Sequence[str] = (),
    about: Mapping[str, Any] | None = None,
) -> Path:
    """Put the decoder into a file, at once or not at all; with other weights if given.

    words: the name of each token. about: anything that JSON can say, as what it was trained on.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise refuse("path", str(path), "a name that ends in .safetensors")
    if words and len(words) != decoder.vocabulary:
        raise refuse("words", f"{len(words)} names", f"{decoder.vocabulary}, one for each token")
    if weights is not None:
        decoder = decoder.holding(weights)
    tensors = {name: x.detach().cpu().contiguous().clone() for name, x in decoder.named_parameters()}
    wrong = [name for name, x in tensors.items() if not bool(x.isfinite().all())]
    if wrong:
        raise refuse(f"weights {wrong[0]}", "a number that is not finite", "finite numbers")
    note = {
        "format": FORMAT, "sizes": decoder.sizes, "front": list(decoder.front), "words": list(words),
        "about": plain(dict(about or {})), "sha256": digest(tensors),
    }  # fmt: skip
    text = json.dumps(note, sort_keys=True, allow_nan=False)
    if len(text) > HEADER_LIMIT:
        raise refuse("words and about", f"{len(text):,} letters", f"at most {HEADER_LIMIT:,}")
    try:
        write_with(path, lambda spare: save_file(tensors, spare, metadata={"gamesim": text}))
    except OSError as error:
        raise refuse("path", str(path), f"a file that can be written ({error.strerror})") from None
    return path


def load(path: str | Path) -> Saved:
    """The decoder in a file that `save` wrote; anything else is refused in one line."""
    file = require_file("weights", path, (".safetensors",), SIZE_LIMIT)
    name = f"weights {shown(path)}"
    try:
        with safe_open(file, framework="pt") as f:
            note = _header(name, f.metadata())
            decoder, front = _made(name, note)
            own = dict(decoder.named_parameters())
            found = set(f.keys())
            if found != set(own):
                odd = sorted(found ^ set(own))[0]
                raise refuse(f"{name}, {odd}", "lacking" if odd in own else "there", "the tensors of its sizes alone")
            for key, parameter in own.items():
                part = f.get_slice(key)
                shape, kind = tuple(part.get_shape()), part.get_dtype()
                if kind not in TYPES or shape != (*front, *parameter.shape):
                    wanted = f"{' or '.join(TYPES)} {[*front, *parameter.shape]}"
                    raise refuse(f"{name}, {key}", f"{kind} {list(shape)}", wanted)
            tensors = {key: f.get_tensor(key) for key in own}
    except (OSError, SafetensorError) as error:
        raise refuse(name, f"damaged: {error}", "a file that gamesim wrote") from None
    if digest(tensors) != note["sha256"]:
        raise refuse(f"{name}, sha256", digest(tensors), f"{note['sha256']}, as its header says")
    for key, x in tensors.items():
        if not bool(x.isfinite().all()):
            raise refuse(f"{name}, {key}", "a number that is not finite", "finite numbers")
    return Saved(decoder.holding(tuple(tensors.values())), tuple(note["words"]), note["about"])


def digest(tensors: Mapping[str, Tensor]) -> str:
    """sha256 of numbers, their types and names, in the order of names."""
    total = hashlib.sha256()
    for name, x in sorted(tensors.items()):
        total.update(f"{name} {x.dtype} {list(x.shape)}\n".encode())
        total.update(x.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()


def _header(name: str, metadata: Mapping[str, str] | None) -> dict[str, Any]:
    text = (metadata or {}).get("gamesim", "")
    try:
        note = json.loads(text) if len(text) <= HEADER_LIMIT else None
    except (ValueError, RecursionError):
        note = None
    if not isinstance(note, dict) or note.get("format") != FORMAT:
        said = note.get("format") if isinstance(note, dict) else "none that could be read"
        raise refuse(f"{name}, header", said, f"one with the format {FORMAT}")
    kinds = {"sizes": dict, "front": list, "words": list, "about": dict, "sha256": str}
    for key, kind in kinds.items():
        if not isinstance(note.get(key), kind):
            raise refuse(f"{name}, {key}", note.get(key), f"a JSON {kind.__name__}")
    return note


def _made(name: str, note: Mapping[str, Any]) -> tuple[Decoder, tuple[int, ...]]:
    """A decoder of the header's sizes, without memory of its own, and its leading dimensions."""
    sizes = note["sizes"]
    for key, most in LARGEST.items():
        _require_whole(f"{name}, {key}", sizes.get(key), most)
    if len(sizes) != len(LARGEST):
        raise refuse(f"{name}, sizes", ", ".join(sizes), ", ".join(LARGEST))
    front = tuple(note["front"])
    for n in front:
        _require_whole(f"{name}, front", n, 10**6)
    words = note["words"]
    if not all(isinstance(word, str) for word in words) or (words and len(words) != sizes["vocabulary"]):
        raise refuse(f"{name}, words", f"{len(words)} of them", f"{sizes['vocabulary']} texts, one for each token")
    try:
        with torch.device("meta"):
            decoder = Decoder(**sizes)
    except InvalidInput as error:
        raise InvalidInput(f"{name}, {error}") from None
    return decoder, front


def _require_whole(field: str, value: object, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise refuse(field, value, f"a whole number from 1 to {most:,}")
