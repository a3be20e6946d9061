"""What is cited: one file, read strictly, that agrees with the docstrings, with CITATION.cff and with the pages."""

import importlib
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from gamesim import catalog, cli
from gamesim.citations import FILE, ITSELF, cited_by, read_bibtex, references
from gamesim.cli.shell import KINDS
from gamesim.errors import InvalidInput

importlib.import_module("gamesim.cli.citing")
ROOT = Path(__file__).parent.parent
IDS = {name: kind for kind in KINDS for name in catalog.table(kind)}
WITHOUT = {
    "fixed-policy",
    "matrix/cyclic",
    "matrix/dominance-solvable",
    "matrix/file",
    "matrix/symmetric",
    "variational/softplus",
}
"""Nobody's but ours: an id that is new is cited in references.bib or named here."""


def about(name: str) -> str:
    """All docstrings behind an id: of its class, of what that derives, and of their modules."""
    found = catalog.find(IDS[name], name)
    ours = [c for c in found.__mro__ if c.__module__.startswith("gamesim")]
    texts = [text for c in ours for text in (c.__doc__, sys.modules[c.__module__].__doc__)]
    if IDS[name] == "games":  # a room's own docstring may name what all its games are from
        texts.append(sys.modules[found.__module__.rpartition(".")[0]].__doc__)
    return " ".join(text for text in texts if text)


def test_every_id_is_cited_or_known_to_have_no_paper() -> None:
    assert {name for name in IDS if not cited_by(name)} == WITHOUT
    assert not [name for name, kind in IDS.items() if kind == "experiments" and not cited_by(name)]
    named = [name for entry in references().values() for name in entry.used_by]
    assert set(named) <= set(IDS), "the file names an id that is not in the catalogue"
    assert len(IDS) == sum(len(catalog.table(kind)) for kind in KINDS), "one name, two things: cite could not tell"


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_agrees_with_the_docstrings(kind: str) -> None:
    """The first author, or the number of a preprint, stands in a docstring of who cites it; no number is left out."""
    wrong = []
    for name in [n for n, k in IDS.items() if k == kind]:
        text = about(name)
        for paper in cited_by(name):
            first = re.split(r" and ", paper.fields.get("author", ""))[0]
            if not (first and first.lower() in text.lower()) and paper.fields.get("eprint", "-") not in text:
                wrong.append(f"{name}: {paper.key} is not in its docstrings")
    homes = {name: catalog.find(kind, name).__module__ for name, k in IDS.items() if k == kind}
    for home in set(homes.values()):  # a module may hold several, and speak of each
        known = {paper.fields.get("eprint") for name in homes if homes[name] == home for paper in cited_by(name)}
        numbers = set(re.findall(r"\b\d{4}\.\d{5}\b", sys.modules[home].__doc__ or ""))
        wrong += [f"{home}: {number} is not in the file" for number in numbers - known]
    assert wrong == []


def test_the_file_is_bibtex() -> None:
    text = FILE.read_text(encoding="utf-8")
    assert text.count("{") == text.count("}")
    assert text.count("@") == len(references()), "a sign that begins an entry stands elsewhere"
    for entry in references().values():
        assert entry.fields.keys() & {"author", "title"}, entry.key
        assert entry.key == ITSELF or re.fullmatch(r"1[89]\d\d|20[0-3]\d", entry.fields["year"]), entry.key
        assert entry.fields.get("eprint", "0000.00000").replace(".", "").isdigit(), entry.key
        needed = {"article": "journal", "inproceedings": "booktitle", "incollection": "booktitle", "book": "title"}
        assert entry.form in {*needed, "misc", "software"}, entry.key
        assert needed.get(entry.form, "year" if entry.key != ITSELF else "version") in entry.fields, entry.key
        again = read_bibtex(entry.bibtex())[entry.key]
        assert (again.form, again.fields) == (entry.form, entry.fields)
        assert not re.search("  |[{}]", entry.words()), entry.words()
    eprints = [e.fields["eprint"] for e in references().values() if "eprint" in e.fields]
    assert len(eprints) == len(set(eprints)), "one paper stands twice"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("@misc{a, title = {x}", "closing"),
        ("@misc{a, title = {x{y},", "balance"),
        ("@misc{a, title = x}", "field"),
        ("@misc{a, title = {x}, title = {y}}", "each field once"),
        ("@misc{a, title = {x}} @misc{a, title = {x}}", "each key once"),
        ("@misc{A B, title = {x}}", "@form"),
        ("mail me @ home", "@form"),
    ],
)
def test_what_is_not_bibtex_is_refused(text: str, wrong: str) -> None:
    with pytest.raises(InvalidInput, match="references") as refused:
        read_bibtex(text)
    assert wrong in str(refused.value)


def test_gamesim_cites_itself_as_citation_cff_does() -> None:
    cff = dict(re.findall(r"(?m)^([a-z-]+): (.+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8")))
    own = references()[ITSELF].fields
    assert (own["title"], own["version"], own["license"]) == (cff["title"], cff["version"], cff["license"])
    assert own["version"] == importlib.import_module("gamesim").__version__
    assert own["author"].strip("{}") in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def run(capsys: pytest.CaptureFixture[str], arguments: Sequence[str]) -> tuple[int, str, str]:
    code = cli.main(["cite", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_cite(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, [])
    assert code == 0
    assert list(read_bibtex(out)) == [ITSELF]
    code, out, _ = run(capsys, ["graphon-rate", "gmfg-ppo", "matrix/cyclic"])
    assert code == 0
    assert list(read_bibtex(out)) == ["zhang2024unknown", "xie2021ppo"], "a paper stands once"
    assert "% matrix/cyclic: no paper" in out
    assert "used_by" not in out
    code, out, _ = run(capsys, ["graphon-rate", "fixed-policy", "--json"])
    cited = json.loads(out)
    assert [c["papers"] for c in cited["cited"]] == [["zhang2024unknown", "xie2021ppo"], []]
    assert [e["key"] for e in cited["entries"]] == ["zhang2024unknown", "xie2021ppo"]
    code, out, err = run(capsys, ["graphon-rat"])
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "graphon-rate" in err


def test_preprints_of_the_pages_are_in_the_file() -> None:
    """Pages cite through the same file, and an entry that no id cites is a page's."""
    pages = [ROOT / "README.md", *(p for p in sorted((ROOT / "docs").glob("**/*.md")) if "_build" not in p.parts)]
    numbers = {n for page in pages for n in re.findall(r"\b\d{4}\.\d{5}\b", page.read_text(encoding="utf-8"))}
    known = {entry.fields["eprint"]: entry for entry in references().values() if "eprint" in entry.fields}
    assert numbers <= set(known)
    alone = {entry.fields.get("eprint") for entry in references().values() if not entry.used_by and entry.key != ITSELF}
    assert alone <= numbers
