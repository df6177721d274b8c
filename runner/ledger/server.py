"""The ledger's server: its client, its clock, its scripts, and the names of its keys."""

import json
import re
from typing import Any

import redis
from redis.commands.core import Script

from runner.ledger.clock import Clock

_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_SURROGATES = re.compile("[\ud800-\udfff]")


class Server:
    """One server, and the prefix of the ledger's keys.

    Args:
        client: with ``decode_responses=True``.
        prefix: what every key begins with.
        ttl: seconds that a run is kept after its last change.

    ``clock_offset`` sets the clock forward by some seconds, for tests.
    """

    def __init__(self, client: redis.Redis, *, prefix: str, ttl: float) -> None:
        self.client = client
        self.prefix = prefix
        self.ttl = int(ttl)
        self.clock_offset = 0.0
        self.clock = Clock(client, f"{prefix}:clock", self.ttl)
        self._scripts: dict[str, Script] = {}

    def do(self, script: str, run_id: str, *, client: "redis.Redis | None" = None, **arguments: Any) -> Any:
        """Run a script on the keys of a run; in a pipeline, if that is the client.

        Args:
            arguments: the script reads them as ``a.NAME``; None is left out.
        """
        return self.script(script)([self.key(run_id, "")], [self.pack(**arguments)], client=client)

    def pack(self, **arguments: Any) -> bytes:
        """Return the one argument of a script: JSON, which the server reads in less than the microsecond that an argument costs the client."""
        offset, now = self.clock.read()
        times = {"ttl": self.ttl, "offset": offset + self.clock_offset, "now": now + self.clock_offset}
        # Null in Lua's JSON is a value that is true.
        text = _compact(times | {name: value for name, value in arguments.items() if value is not None})
        try:
            return text.encode()
        except UnicodeEncodeError:  # half a surrogate pair, which that JSON refuses
            return _SURROGATES.sub(lambda half: f"\\\\u{ord(half[0]):04x}", text).encode()

    def script(self, text: str) -> Script:
        """Return a script, loaded at its first use."""
        if text not in self._scripts:
            self._scripts[text] = self.client.register_script(text)
        return self._scripts[text]

    def now(self) -> float:
        """Return the ledger's time, in seconds since the epoch."""
        return self.clock.read()[1] + self.clock_offset

    def shared(self, name: str) -> str:
        """Return the name of a key of all runs together."""
        return f"{self.prefix}:{name}"

    def key(self, run_id: str, name: str) -> str:
        """Return the name of a key of one run: all of them are in one hash slot."""
        return f"{self.prefix}:{{{run_id}}}:{name}"
