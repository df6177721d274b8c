"""The code of a fault to what explains it: why it is one, an example of it, and the same mended."""

from dataclasses import dataclass
from importlib import resources

import yaml

from runner.language.faults import CODES, WARNINGS

MEANINGS = CODES | WARNINGS


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """What is known of a code.

    Args:
        meaning: in a line, as `faults.CODES` or `faults.WARNINGS` has it.
        why: it is a fault, and what to do.
        wrong: YAML or Python that has this fault alone; empty for one that cannot be shown in a few lines.
        mended: the same without it.
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
