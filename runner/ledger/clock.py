"""The ledger's time: its server's, which may be set back or forward, as a time that only goes on.

A server tells no other time than that of the day, and an operator, or NTP after a start, may set it. Retries then stalled
for as long as it went back, and deadlines fired at once when it went forward. Every process that asks the ledger has a clock
that nobody sets. It says in each command what time it must be by now, and where the server's differs by more than
``TOLERANCE``, that is what counts. How far the server's time is from the ledger's is agreed on under one key; it goes back
to nothing at one twentieth of the speed of time.
"""

import sys
import time
from typing import cast

import redis

EVERY = 10.0  # seconds for which a process knows by itself what time it is
TOLERANCE = 5.0  # seconds; a command may be that long on its way, and clocks that NTP keeps differ by far less

# KEYS: what is agreed on. ARGV: ttl, what time it must be by the clock of who asks ('' if it asks for the first time), the
# tolerance. Returns the ledger's time, and what has to be added to the server's.
_AGREE = """
local time = redis.call('TIME')
local server = time[1] + time[2] / 1000000
local held = redis.call('HMGET', KEYS[1], 'offset', 'seen')
local offset, seen = tonumber(held[1] or '0') or 0, tonumber(held[2] or '0') or 0
local expected, tolerance = tonumber(ARGV[2]), tonumber(ARGV[3])
local now = server + offset
-- Who is behind what others have seen meanwhile has been stopped itself: its machine was asleep, say.
local is_awake = expected and expected > seen - tolerance  -- defence: AWAKE
if is_awake and math.abs(now - expected) > tolerance then now = expected end  -- defence: AGREED
if not expected and now < seen - tolerance then now = seen end
offset = now - server
local most = seen > 0 and math.max(0, now - seen) / 20 or 0
if offset > 0 then offset = math.max(0, offset - most) else offset = math.min(0, offset + most) end
now = server + offset
if math.abs(offset) < 0.001 then offset = 0 end
redis.call('HSET', KEYS[1], 'offset', string.format('%.6f', offset), 'seen', string.format('%.6f', math.max(now, seen)))
redis.call('EXPIRE', KEYS[1], ARGV[1])
return {string.format('%.6f', now), string.format('%.6f', offset)}
"""


class Clock:
    """What time it is by the ledger, as this process knows it.

    Args:
        key: under which all agree.
        ttl: seconds for which that is kept.
    """

    def __init__(self, client: redis.Redis, key: str, ttl: int) -> None:
        self._agree = client.register_script(_AGREE)
        self._key = key
        self._ttl = ttl
        # What is added to the server's time, the ledger's time, and when that was by our own clock. One value: threads share it.
        self._known: tuple[float, float, float] | None = None

    def read(self) -> tuple[float, float]:
        """What is added to the server's time, and the ledger's time now; a round trip to the server every ``EVERY`` seconds."""
        known = self._known
        if known is None or _elapsed() - known[2] >= EVERY:
            known = self._known = self._ask(known)
        offset, at, since = known
        return offset, at + _elapsed() - since

    def _ask(self, known: tuple[float, float, float] | None) -> tuple[float, float, float]:
        expected = "" if known is None else f"{known[1] + _elapsed() - known[2]:.6f}"
        answer = cast("list[str]", self._agree([self._key], [self._ttl, expected, TOLERANCE]))
        now, offset = map(float, answer)
        return offset, now, _elapsed()


def _elapsed() -> float:
    """Seconds by a clock that nobody sets; on Linux it goes on while the machine sleeps, as the server's time does."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic()
