"""The broker's clock, which may be set back or forward, to a time that never jumps: the ledger's.

A server has the time of day only, and an operator, or NTP after a start, may set it. Retries then stalled for as long as it
was set back, and deadlines passed at once when it was set forward. Each process has a monotonic clock: with each request it
sends the time that it expects, which replaces the server's where the two differ by more than ``TOLERANCE``. The difference
between the server's time and the ledger's is stored under one key, and shrinks by 1 s in 20 s.
"""

import sys
import time
from typing import cast

import redis

EVERY = 10.0  # seconds between two requests of a process; in between it uses its own clock
TOLERANCE = 5.0  # seconds; a command may take that long, and clocks under NTP differ by far less

# KEYS[1]: the hash of the offset. ARGV: ttl, the time that the process expects ('' at its first request), the tolerance.
# Returns the ledger's time, and the offset: what is added to the server's time.
_AGREE = """
local time = redis.call('TIME')
local server = time[1] + time[2] / 1000000
local held = redis.call('HMGET', KEYS[1], 'offset', 'seen')
local offset, seen = tonumber(held[1] or '0') or 0, tonumber(held[2] or '0') or 0
local expected, tolerance = tonumber(ARGV[2]), tonumber(ARGV[3])
local now = server + offset
-- A process that is behind the time that others have seen was suspended itself: its machine slept, for example.
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
    """The ledger's time in this process.

    Args:
        client: of the broker.
        key: of the hash with the offset, the same for all processes.
        ttl: seconds for which the hash is kept.
    """

    def __init__(self, client: redis.Redis, key: str, ttl: int) -> None:
        self._agree = client.register_script(_AGREE)
        self._key = key
        self._ttl = ttl
        # The offset, the ledger's time, and this process's clock at that moment. One tuple, as threads share it.
        self._reading: tuple[float, float, float] | None = None

    def read(self) -> tuple[float, float]:
        """Return the offset that is added to the server's time, and the ledger's time now; a round trip every ``EVERY`` seconds."""
        reading = self._reading
        if reading is None or _elapsed() - reading[2] >= EVERY:
            reading = self._reading = self._ask(reading)
        offset, at, since = reading
        return offset, at + _elapsed() - since

    def _ask(self, reading: tuple[float, float, float] | None) -> tuple[float, float, float]:
        expected = "" if reading is None else f"{reading[1] + _elapsed() - reading[2]:.6f}"
        answer = cast("list[str]", self._agree([self._key], [self._ttl, expected, TOLERANCE]))
        now, offset = map(float, answer)
        return offset, now, _elapsed()


def _elapsed() -> float:
    """Seconds of a monotonic clock; on Linux it counts while the machine sleeps, as the server's time does."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic()
