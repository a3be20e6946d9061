"""Which papers an experiment, a game or a solver rests on: one BibTeX file, `references.bib`, and its reader.

The field `used_by` of an entry names the ids that cite it; it is gamesim's own and is left out of what is printed.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gamesim.errors import refuse

FILE = Path(__file__).with_name("references.bib")
ITSELF = "gamesim"
"""The key of gamesim's own entry."""
USED_BY = "used_by"
_HEAD = re.compile(r"@(\w+)\{([a-z][a-z0-9]*),\s*")
_FIELD = re.compile(r"([a-z_]+) = \{")


@dataclass(frozen=True)
class Reference:
    """An entry: its key, its form (`article`, `inproceedings`, ...) and its fields, as BibTeX writes them."""

    key: str
    form: str
    fields: dict[str, str]
    used_by: tuple[str, ...] = ()

    def bibtex(self) -> str:
        """The entry as BibTeX.

        >>> print(Reference("nash1950", "misc", {"author": "Nash", "year": "1950"}).bibtex())
        @misc{nash1950,
          author = {Nash},
          year = {1950},
        }
        """
        return "\n".join([f"@{self.form}{{{self.key},", *(f"  {k} = {{{v}}}," for k, v in self.fields.items()), "}"])

    def words(self) -> str:
        """The entry as a sentence for people.

        >>> next(r for r in references().values() if r.key == "ng1999shaping").words()
        'Ng, Harada and Russell, ICML, 1999.'
        """
        f = {name: _plain(text) for name, text in self.fields.items()}
        people = [p for p in f.get("author", "").split(" and ") if p]
        others = people[-1:] == ["others"]
        authors = (
            f"{people[0]} et al." if others else " and ".join(filter(None, [", ".join(people[:-1]), *people[-1:]]))
        )
        place = " ".join(filter(None, [f.get("booktitle") or f.get("journal", ""), f.get("volume", "")]))
        arxiv = f"arXiv {f['eprint']}" if "eprint" in f else ""
        title = f'"{f["title"]}"' if "title" in f else ""
        parts = [authors, title, place, f.get("year", ""), arxiv]
        return ", ".join(part for part in parts if part) + "."


@cache
def references() -> dict[str, Reference]:
    """Every entry of the file, by key, in its order."""
    return read_bibtex(FILE.read_text(encoding="utf-8"))


def cited_by(name: str) -> tuple[Reference, ...]:
    """The papers behind an id, in the order of the file; none where the catalogue's author had none to name.

    >>> [paper.key for paper in cited_by("gmfg-ppo")]
    ['zhang2024unknown']
    """
    return tuple(entry for entry in references().values() if name in entry.used_by)


def read_bibtex(text: str) -> dict[str, Reference]:
    """Entries of BibTeX written strictly: values in balanced braces, each key and each field once; else refused.

    Text between entries is a comment, as BibTeX has it; strings, macros and `#` are not read.
    """
    found, at = dict[str, Reference](), text.find("@")
    while at >= 0:
        head = _HEAD.match(text, at)
        if head is None:
            raise refuse("references", text[at : at + 40], "@form{key, field = {value}, ...}, keys of a-z and 0-9")
        form, key = head.groups()
        fields, at = _fields(text, head.end(), key)
        if key in found:
            raise refuse("references", key, "each key once")
        used_by = tuple(name for name in re.split(r",\s*", fields.pop(USED_BY, "")) if name)
        found[key] = Reference(key, form, fields, used_by)
        at = text.find("@", at)
    return found


def _fields(text: str, at: int, key: str) -> tuple[dict[str, str], int]:
    """The fields from a place on, and the place behind the brace that ends the entry."""
    fields = dict[str, str]()
    while not text.startswith("}", at):
        head = _FIELD.match(text, at)
        if head is None or head[1] in fields:
            raise refuse(f"references: {key}", text[at : at + 40], "field = {value}, each field once, or the closing }")
        end = _closing(text, head.end())
        if end < 0:
            raise refuse(f"references: {key}", head[1], "braces that balance")
        fields[head[1]] = " ".join(text[head.end() : end].split())
        at = end + 1
        at += len(re.compile(r",?\s*").match(text, at)[0])  # type: ignore[index]  # it matches nothing, too
    return fields, at + 1


def _closing(text: str, at: int) -> int:
    """Where the brace closes that was opened just before; -1 if it does not."""
    depth = 1
    for place in range(at, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if not depth:
            return place
    return -1


def _plain(text: str) -> str:
    """TeX's accents as letters, and no braces."""
    for tex, letter in (("{\\'e}", "é"), ('{\\"U}', "Ü")):
        text = text.replace(tex, letter)
    return text.replace("{", "").replace("}", "")
