"""The options of a command that waits for a run."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class WaitOptions:
    """How long a command waits for a run, and what it prints meanwhile.

    Args:
        as_json: one JSON object on stdout instead of the result.
        detach: print the run's id, and continue in the background.
        timeout: seconds to wait; the run continues after them.
        strict: a partial run is a failure.
        quiet: no progress, and a summary only of a run that did not succeed.
    """

    as_json: bool = False
    detach: bool = False
    timeout: float | None = None
    strict: bool = False
    quiet: bool = False
