"""The gallery: `python docs/make_gallery.py REPORTS` writes docs/gallery.md and its pictures from what was found.

REPORTS is the folder of `gamesim reproduce`. An experiment that has no folder there keeps what the gallery has of it.

    gamesim reproduce $(gamesim list experiments --json | python -c "import json, sys
    print(*(row['id'] for row in json.load(sys.stdin)))") --out gallery
    python docs/make_gallery.py gallery
"""

import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

WIDTH, COLOURS, LARGEST = 1200, 256, 60_000
"""Of a picture: points, colours, and bytes at most."""
FEW = 5
"""Claims that hold are all shown if there are no more than so many; else they are folded."""
GROUPS = {
    "Normal-form games": ("ftrl-", "last-iterate"),
    "Games with states": ("pg-", "soccer"),
    "Graphon games": ("graphon-",),
    "Agents as sets": ("offline-", "relational-", "suboptimality-", "n-free-", "attention-", "linear-attention-"),
    "Planners": ("bail-",),
    "Sequence models": ("icl-", "cot-", "superposition", "speculative-"),
    "Variational inequalities and bandits": ("vi-", "banditspec-", "sparse-"),
}
PAGES = {"Planners": "planning-experiments.md", "Sequence models": "planning-experiments.md"}


def shrink(source: Path, target: Path) -> None:
    """The first panels of a figure, small."""
    from PIL import Image

    with Image.open(source) as whole:
        picture = whole.convert("RGB")
    for width, colours in ((WIDTH, COLOURS), (WIDTH, 64), (800, 64), (600, 32)):
        height = max(1, round(picture.height * width / picture.width))
        small = picture.resize((width, height), Image.Resampling.LANCZOS)
        # an octree keeps the hues of thin lines; the median cut, which is the default, makes blue and green the same
        few = small.quantize(colours, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        few.save(target, optimize=True)
        if target.stat().st_size < LARGEST:
            return
    raise SystemExit(f"{source}: no picture of it stays below {LARGEST} bytes")


def entry(name: str, summary: str, found: dict[str, Any], page: str, papers: str) -> str:
    """A section: what is claimed by whom, the verdicts, the figure."""
    claims = found["claims"]
    lines = [f"### {name}", "", sentence(summary), ""]
    if (HERE / "images" / "gallery" / f"{name}.png").is_file():
        lines += [f"![{summary}](images/gallery/{name}.png)", ""]
    first = [claim for claim in claims if claim["verdict"] != "holds"]
    rest = [claim for claim in claims if claim["verdict"] == "holds"]
    if len(rest) <= FEW:
        first, rest = first + rest, []
    lines += rows(first) if first else []
    if rest:  # many that hold are folded
        lines += [f"<details><summary>{len(rest)} claims hold</summary>", "", *rows(rest), "</details>"]
    return "\n".join([*lines, "", f"{papers} `gamesim reproduce {name}`; [more]({page}#{name}).", ""])


def absent(name: str, summary: str) -> str:
    """A section of what was not run for the gallery."""
    lines = [f"### {name}", "", sentence(summary), ""]
    return "\n".join([*lines, f"Not run for this gallery; [what was found]({page_of(name)}#{name}).", ""])


def sentence(summary: str) -> str:
    """A line of the catalogue as one of prose."""
    return f"{summary[0].upper()}{summary[1:]}{'' if summary.endswith('?') else '.'}"


def page_of(name: str) -> str:
    """The page that says what an experiment means."""
    return PAGES.get(next(g for g, starts in GROUPS.items() if name.startswith(starts)), "experiments.md")


def rows(claims: list[dict[str, Any]]) -> list[str]:
    """A table of claims."""
    lines = ["| claim | verdict | measured |", "|---|---|---|"]
    for claim in claims:
        interval = claim["interval"]
        between = "" if not interval else f" [{number(interval[0])}, {number(interval[1])}]"
        verdict = claim["verdict"] if claim["verdict"] == "holds" else f"**{claim['verdict']}**"
        lines.append(f"| {cell(claim['statement'])} | {verdict} | {number(claim['statistic'])}{between} |")
    return [*lines, ""]


def number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.3g}"


def cell(text: str) -> str:
    return re.sub(r"([*_<>\[\]$])", r"\\\1", " ".join(text.split())).replace("|", "\\|")


def sections() -> dict[str, str]:
    """What the gallery has already, by experiment."""
    page = HERE / "gallery.md"
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    parts = re.split(r"(?m)^### (\S+)\n", text)
    return {
        name: f"### {name}\n{re.split(r'(?m)^## ', body)[0]}"
        for name, body in zip(parts[1::2], parts[2::2], strict=True)
    }


def main(reports: Path) -> None:
    from gamesim import catalog
    from gamesim.citations import cited_by

    pictures = HERE / "images" / "gallery"
    pictures.mkdir(parents=True, exist_ok=True)
    kept, made = sections(), dict[str, str]()
    for name, (_, summary) in catalog.table("experiments").items():
        file = reports / name / "claims.json"
        if not file.is_file():
            made[name] = kept.get(name) or absent(name, summary)
            continue
        found = json.loads(file.read_text(encoding="utf-8"))
        drawn = [p for p in found["figures"] if p.endswith(".png")]
        if drawn:
            shrink(reports / name / "figures" / Path(drawn[0]).name, pictures / f"{name}.png")
        papers = " ".join(cell(paper.words()) for paper in cited_by(name)[:2])
        made[name] = entry(name, summary, found, page_of(name), papers)
    verdicts = re.findall(r"\| \*{0,2}(holds|fails|undecided)\*{0,2} \|", "".join(made.values()))
    counts = {verdict: verdicts.count(verdict) for verdict in ("holds", "fails", "undecided")}
    head = inspect.cleandoc(f"""
        # Gallery

        Every experiment with the verdicts of its claims at `--scale quick` and one of its figures, written by
        `docs/make_gallery.py` from what `gamesim reproduce` left. [Experiments](experiments.md) and [experiments on
        planners](planning-experiments.md) say what the claims mean, and what a verdict is.

        Of {len(verdicts)} claims {counts["holds"]} hold, {counts["fails"]} fail, {counts["undecided"]} are undecided.
        """)
    overview = ["", "| experiment | holds | fails | undecided |", "|---|---|---|---|"]
    for name in sorted(name for name in made if made[name]):
        said = re.findall(r"\| \*{0,2}(holds|fails|undecided)\*{0,2} \|", made[name])
        each = " | ".join(str(said.count(v) or "") for v in counts)
        overview.append(f"| [{name}](#{name}) | {each} |")
    body = []
    for group, starts in GROUPS.items():
        parts = [made[name] for name in sorted(made) if name.startswith(starts) and made[name]]
        body.append("\n".join([f"## {group}", "", *(part.rstrip() + "\n" for part in parts)]))
    (HERE / "gallery.md").write_text("\n".join([head, *overview, "", *body]), encoding="utf-8")
    missing = [name for name in made if "Not run for this gallery" in made[name]]
    print(f"{len(made) - len(missing)} experiments, {counts}" + (f"; missing: {', '.join(missing)}" if missing else ""))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
