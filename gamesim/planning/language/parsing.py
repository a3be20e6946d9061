"""What a model answered, taken back to a subgoal: its text is data, bounded, matched against known names and no more.

A reply and the names are cut into words and numbers alike (Unicode NFKC, case and punctuation aside), and names are
looked for at each place of the reply, the longest first: "box 1" is not found in "box 10". Thoughts that a model writes
down before its answer (up to </think>) are left out. Of these parts of a reply the first that names one subgoal, and no
other beside it, decides; where none does the reply is invalid and the model is asked again:

    the whole reply;   what follows the last "answer:" or "subgoal:";   the last line;   the first line

No sense is made of sentences: "not box 1" names box 1.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from gamesim.errors import refuse

LONGEST = 10_000
"""Characters of a reply; who is asked for a subgoal and says more than this has not answered."""
WORDS = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+")
SIGNS = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+|[^\w\s]|_")
MARK = re.compile(r"(?:answer|subgoal)\s*(?:is)?\s*[:=]", re.IGNORECASE)
Word = tuple[str, ...]


@dataclass(frozen=True)
class Names:
    """Names to be found in text.

    >>> names = Names(("open box 1", "open box 10", "inspect"))
    >>> names.find('I would say: "Open  BOX-10".'), names.find("box 1"), names.find("inspect or open box 1?")
    (1, None, None)
    """

    names: tuple[str, ...]

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """What a word is: punctuation counts only where names differ by nothing else."""
        for pattern in (WORDS, SIGNS):
            cut = [words(name, pattern) for name in self.names]
            if all(cut) and len(set(cut)) == len(cut):
                return pattern
        cut = [words(name, SIGNS) for name in self.names]
        same = next(name for i, name in enumerate(self.names) if not cut[i] or cut[i] in cut[:i])
        raise refuse("subgoals", same, "names that differ by more than case and spaces, and are not empty")

    @cached_property
    def known(self) -> dict[Word, int]:
        return {words(name, self.pattern): i for i, name in enumerate(self.names)}

    @cached_property
    def lengths(self) -> list[int]:
        return sorted({len(word) for word in self.known}, reverse=True)

    def find(self, reply: object) -> int | None:
        """Which name a reply gives; None where it gives none, or several, or is no text."""
        if not isinstance(reply, str) or len(reply) > LONGEST:
            return None
        text = reply.rpartition("</think>")[2]
        lines = [line for line in text.splitlines() if line.strip()]
        marks = list(MARK.finditer(text))
        after = [text[marks[-1].end() :]] if marks else []
        for part in (text, *after, *lines[-1:], *lines[:1]):
            found = self.found(part)
            if len(found) == 1:
                return found.pop()
        return None

    def found(self, text: str) -> set[int]:
        """Every name in a text; where one stands, what is within it is not another."""
        cut, found, i = words(text, self.pattern), set[int](), 0
        while i < len(cut):
            for length in self.lengths:
                here = self.known.get(cut[i : i + length])
                if here is not None:
                    found.add(here)
                    i += length - 1
                    break
            i += 1
        return found


def words(text: str, pattern: re.Pattern[str] = WORDS) -> Word:
    """A text in words and numbers: NFKC, no case, nothing that is not seen.

    >>> words("Open\\u200b Box\\u00a0\\u2460, now!")
    ('open', 'box', '1', 'now')
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return tuple(pattern.findall("".join(c for c in folded if unicodedata.category(c) not in ("Cf", "Cs"))))


def labelled(pairs: Sequence[tuple[str, float]], labels: Sequence[str]) -> list[float]:
    """Weights of labels by the log-probabilities of tokens, " A" and "A" together; what is no label is left out.

    >>> import math
    >>> labelled([("A", math.log(0.5)), (" A", math.log(0.25)), ("B", math.log(0.25)), ("C", 7.0)], "ABC")
    [0.75, 0.25, 0.0]
    """
    import math

    weights = dict.fromkeys(labels, 0.0)
    for token, log in pairs:
        label = token.strip(" \t\r\n\u0120\u2581.:)(\"'*")
        if label in weights and log <= 1e-6:  # a probability is at most 1, but for rounding; NaN is refused here, too
            weights[label] += math.exp(min(log, 0.0))
    return list(weights.values())
