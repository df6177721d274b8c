"""The limits of a ledger, each shared by the steps of all runs that name it; limiting.py says how they are stored, and asked."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

from runner.language.limits import Limit, Rate
from runner.ledger.prelude import NOW
from runner.ledger.server import Server

KEY_LIMIT = 200  # characters of the value of a `key`
_FOR_EVER = 1e11  # seconds since the epoch: an operator has said no time

# A source has said how long to wait. Returns until when the limit is closed now, and since when errors have closed it in a row.
_CLOSE = (
    NOW
    + """
local closed, since = unpack(redis.call('HMGET', KEYS[1], 'closed', 'since'))
local until_ = math.max(tonumber(closed or '0'), now + a.seconds)
redis.call('HSET', KEYS[1], 'closed', stamp(until_), 'why', a.why)
redis.call('HSETNX', KEYS[1], 'since', stamp(now))
redis.call('HDEL', KEYS[1], 'probe')
redis.call('EXPIRE', KEYS[1], TTL)
redis.call('ZADD', KEYS[2], now, a.id)
return {stamp(until_ - now), stamp(now - tonumber(since or now))}
"""
)

# Steps have ended: so many have failed since the last that has not. Enough in a row close the limit.
_COUNT = (
    NOW
    + """
local failed = a.failed
if a.reset then redis.call('HDEL', KEYS[1], 'failures', 'since')
else failed = failed + tonumber(redis.call('HGET', KEYS[1], 'failures') or '0') end
if failed > 0 then redis.call('HSET', KEYS[1], 'failures', failed) end
if a.failed > 0 and failed >= a.most then
  redis.call('HSET', KEYS[1], 'closed', stamp(now + a.seconds), 'why', failed .. ' failures in a row')
  redis.call('HDEL', KEYS[1], 'probe')
end
redis.call('EXPIRE', KEYS[1], TTL)
redis.call('ZADD', KEYS[2], now, a.id)
"""
)


@dataclass(frozen=True, slots=True)
class Named:
    """A limit of a step.

    Args:
        key: the value of the limit's ``key`` for this step; empty if it has none.
    """

    name: str
    limit: Limit
    key: str = ""

    @property
    def id(self) -> str:
        """What it is called in the ledger, and where it is shown: ``github``, or ``github=tea``."""
        return f"{self.name}={self.key}" if self.limit.key is not None else self.name


@dataclass(frozen=True, kw_only=True, slots=True)
class LimitState:
    """A limit at one moment. Times are seconds since the epoch by the ledger's clock.

    Args:
        limit: its figures, as the step said that started last; None of one that an operator has set before any.
        free: how many steps may start now; None for any number.
        used: how many steps that may take a slot are executed.
        waiting: runs that wait for it.
        closed: until when it is closed; 0 if it is not.
        why: why it is.
        paused: until when an operator has closed it; infinity for ever.
        rates: an operator's.
        concurrency: the same.
        failures: final failures in a row.
    """

    id: str
    limit: Limit | None
    free: int | None
    used: int
    waiting: int
    closed: float = 0.0
    why: str = ""
    paused: float = 0.0
    rates: tuple[Rate, ...] = ()
    concurrency: int | None = None
    failures: int = 0
    started_at: float | None = None

    @property
    def name(self) -> str:
        return self.id.partition("=")[0]


class Limits:
    """All limits of a ledger."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def dumped(self, named: Named) -> dict[str, Any]:
        """Return a limit as CLAIM takes it."""
        limit = named.limit
        return {
            "id": named.id,
            "key": self._key("limit", named.id),
            "top": self._key("limit", named.name),
            "held": self._key("limit-held", named.id),
            "waits": self._key("limit-runs", named.id),
            "figures": [[rate.starts, rate.seconds] for rate in limit.rates],
            "burst": limit.burst,
            "concurrency": limit.concurrency or 0,
            "shown": json.dumps(asdict(limit), separators=(",", ":")),
        }

    def close(self, named: Named, seconds: float, why: str) -> tuple[float, float]:
        """Close a limit, as its source has said how long to wait.

        Returns:
            The seconds that it stays closed, perhaps longer as another step has heard more, and the seconds for which errors have
            closed it in a row.
        """
        closed, row = self._do(_CLOSE, named.id, seconds=seconds, why=why)
        return float(closed), float(row)

    def count(self, named: Named, *, failed: int, reset: bool) -> None:
        """Count final failures in a row; enough of them close the limit, if it has a breaker.

        Args:
            failed: how many steps have failed since the last that has not.
            reset: whether one has not.
        """
        if named.limit.failures is not None:
            most, seconds = named.limit.failures, named.limit.open_for
            self._do(_COUNT, named.id, failed=failed, reset=reset, most=most, seconds=seconds)

    def pause(self, name: str, seconds: float | None = None) -> None:
        """Let no step start that names the limit, whatever its key; for ever, or for some seconds."""
        until = _FOR_EVER if seconds is None else self._server.now() + seconds
        self._change(name, "paused", f"{until:.6f}")

    def resume(self, name: str) -> None:
        """Open a limit, and each of its keys, whoever has closed it."""
        ids = [name, *(each for each in self.ids() if each.startswith(f"{name}="))]
        for each in ids:
            fields = ("paused", "closed", "why", "since", "probe", "failures")
            self._server.client.hdel(self._key("limit", each), *fields)

    def set(self, name: str, *, rates: Sequence[Rate] = (), burst: int = 1, concurrency: int | None = None) -> None:
        """Set an operator's figures, of which and those of the files the stricter hold; none to take them back."""
        if not rates and concurrency is None:
            self._server.client.hdel(self._key("limit", name), "set", "tat_set")
            return
        figures = [[rate.starts, rate.seconds] for rate in rates]
        stated = {"rates": figures, "burst": burst} | ({} if concurrency is None else {"concurrency": concurrency})
        self._change(name, "set", json.dumps(stated))

    def ids(self) -> list[str]:
        """Return the limits that steps have asked, or that an operator has changed, by their names."""
        index = self._server.shared("limits")
        self._server.client.zremrangebyscore(index, 0, self._server.now() - self._server.ttl)
        return sorted(cast("list[str]", self._server.client.zrange(index, 0, -1)))

    def states(self) -> list[LimitState]:
        """Return the state of every limit."""
        ids, now = self.ids(), self._server.now()
        with self._server.client.pipeline(transaction=False) as pipe:
            for each in ids:
                pipe.hgetall(self._key("limit", each))
                pipe.hgetall(self._key("limit", each.partition("=")[0]))
                pipe.hgetall(self._key("limit-held", each))
                pipe.hgetall(self._key("limit-runs", each))
            found = pipe.execute()
        return [
            _state(each, own, top, used=self._used(held, now), waiting=_waiting(runs, now), now=now)
            for each, own, top, held, runs in zip(ids, *(found[at::4] for at in range(4)), strict=True)
        ]

    def _used(self, held: Mapping[str, str], now: float) -> int:
        """Return how many of the steps that may take a slot are leased with their token."""
        with self._server.client.pipeline(transaction=False) as pipe:
            for holder in held:
                pipe.hget(*holder.split(" ", 1))
            texts = pipe.execute()
        lines = (text.split(" ", 2)[:2] for text in texts if text)
        tokens = {token for until, token in lines if float(until) > now}
        return sum(token in tokens for token in held.values())

    def _change(self, name: str, field: str, text: str) -> None:
        with self._server.client.pipeline(transaction=False) as pipe:
            pipe.hset(self._key("limit", name), field, text)
            pipe.expire(self._key("limit", name), self._server.ttl)
            pipe.zadd(self._server.shared("limits"), {name: self._server.now()})
            pipe.execute()

    def _key(self, kind: str, limit: str) -> str:
        return self._server.shared(f"{kind}:{limit}")

    def _do(self, script: str, limit: str, **arguments: Any) -> Any:
        keys = [self._key("limit", limit), self._server.shared("limits")]
        return self._server.script(script)(keys, [self._server.pack(id=limit, **arguments)])


def _waiting(runs: Mapping[str, str], now: float) -> int:
    return sum(float(text.split(" ")[1]) >= now for text in runs.values())


def _state(
    limit_id: str, own: Mapping[str, str], top: Mapping[str, str], *, used: int, waiting: int, now: float
) -> LimitState:
    limit = _read_limit(own["figures"]) if "figures" in own else None
    stated = json.loads(top.get("set", "{}"))
    rates = tuple(Rate(*each) for each in stated.get("rates", ()))
    concurrency = stated.get("concurrency")
    closed, paused = float(own.get("closed", 0)), float(top.get("paused", 0))
    free = [
        *_tokens(limit.rates if limit else (), limit.burst if limit else 1, own.get("tat", ""), now),
        *_tokens(rates, stated.get("burst", 1), own.get("tat_set", ""), now),
        *(max(0, each - used) for each in (limit.concurrency if limit else None, concurrency) if each is not None),
    ]
    shut = max(closed, paused) > now
    return LimitState(
        id=limit_id,
        limit=limit,
        free=0 if shut else min(free, default=None),
        used=used,
        waiting=waiting,
        closed=closed if closed > now else 0.0,
        why=own.get("why", "") if closed > now else "",
        paused=(math.inf if paused >= _FOR_EVER else paused) if paused > now else 0.0,
        rates=rates,
        concurrency=concurrency,
        failures=int(own.get("failures", 0)),
        started_at=float(own["started"]) if "started" in own else None,
    )


def _tokens(rates: Iterable[Rate], burst: int, tats: str, now: float) -> list[int]:
    """Return how many steps may start now, by each of these rates."""
    stored = [float(each) for each in tats.split()]
    tokens = []
    for at, rate in enumerate(rates):
        each = rate.seconds / rate.starts
        behind = max(0.0, stored[at] - now) if at < len(stored) else 0.0
        tokens.append(max(0, math.floor(((burst - 1) * each - behind) / each + 1e-4) + 1))
    return tokens


def _read_limit(text: str) -> Limit:
    stored = json.loads(text)
    rates = tuple(Rate(**each) for each in stored.pop("rates"))
    return Limit(rates=rates, **{**stored, "cooldown_on": tuple(stored.pop("cooldown_on"))})
