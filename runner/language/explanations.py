"""The code of a fault to its explanation: why it is a fault, an example, and its correction."""

from dataclasses import dataclass
from importlib import resources

import yaml

from runner.language.faults import CODES, WARNINGS

MEANINGS = CODES | WARNINGS


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """The explanation of a code.

    Args:
        meaning: one line, from `faults.CODES` or `faults.WARNINGS`.
        why: why it is a fault, and what to do.
        wrong: YAML or Python with this fault alone; empty if a few lines cannot show it.
        mended: the same without the fault.
    """

    code: str
    meaning: str
    why: str
    wrong: str = ""
    mended: str = ""


def explain(code: str) -> Explanation:
    """Explain a code of a fault or of a warning.

    Raises:
        KeyError: there is no such code.
    """
    text = resources.files("runner.language").joinpath("explanations.yaml").read_text(encoding="utf-8")
    return Explanation(code=code, meaning=MEANINGS[code], **yaml.safe_load(text)[code])
