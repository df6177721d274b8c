"""The ledger: runs, outcomes, leases and events in Redis or Valkey. The only file that knows its keys.

Every key of a run lives in one hash slot and expires. Every transition is one Lua script: atomic, one round trip, and
first write wins, so that messages may be delivered as often as they like and each outcome is still recorded once.
"""

import json
import math
import re
import secrets
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, cast

import redis

from runner import mask
from runner import plan as plans
from runner.errors import MalformedRunId, RunnerError, UnknownRun, echo
from runner.plan import Plan, Step
from runner.settings import Settings

StepStatus = Literal["succeeded", "failed", "timed_out", "skipped", "cancelled", "late"]
RunStatus = Literal["pending", "running", "succeeded", "partial", "failed", "cancelled"]
# How a run may end, and what `run` and `watch` exit with then.
EXIT_CODES: dict[RunStatus, int] = {"succeeded": 0, "partial": 0, "failed": 1, "cancelled": 6}

# Without the letters and digits that are mistaken for one another when they are read aloud or typed.
_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"

# Every script gets the same keys in this order. ARGV[1] is the time to live in seconds, and by how many more the clock is
# put forward (0, but in tests).
_KEYS = ("run", "plan", "outcomes", "values", "leases", "attempts", "postponed", "events")
_PRELUDE = """
local RUN, PLAN, OUTCOMES, VALUES, LEASES, ATTEMPTS, POSTPONED, EVENTS = unpack(KEYS)
local TTL, forward = string.match(ARGV[1], '^(%S+) (%S+)$')
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000 + tonumber(forward)
local status = redis.call('HGET', RUN, 'status')
local ended = status == 'succeeded' or status == 'partial' or status == 'failed' or status == 'cancelled'
local function stamp(t) return string.format('%.6f', t) end
local function event(fields)
  local flat = {'at', stamp(now)}
  for name, value in pairs(fields) do flat[#flat + 1] = name; flat[#flat + 1] = tostring(value) end
  redis.call('XADD', EVENTS, '*', unpack(flat))
  redis.call('HSET', RUN, 'last_at', stamp(now), 'sent_again', 0)
end
local function keep() for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, TTL) end end
local function finish(step, outcome, value)
  if redis.call('HSETNX', OUTCOMES, step, outcome) == 0 then
    -- What answers after the deadline stays late: how it went is kept, and its value.
    local function over(text) return cjson.decode(text).finished_at ~= cjson.null end
    local first = redis.call('HGET', OUTCOMES, step)
    if cjson.decode(first).status == 'late' and over(outcome) and not over(first) then
      redis.call('HSET', OUTCOMES, step, (string.gsub(outcome, '^{"status":"[a-z_]+"', '{"status":"late"')))
      if value ~= '' then redis.call('HSET', VALUES, step, value) end
      redis.call('HDEL', LEASES, step)
      event({event = 'answered', step = step, status = 'late'})
    end
    return false
  end
  if value ~= '' then redis.call('HSET', VALUES, step, value) end
  redis.call('HDEL', LEASES, step)
  redis.call('HDEL', POSTPONED, step)
  local told = cjson.decode(outcome)
  local message = type(told.error) == 'table' and told.error.type .. ': ' .. told.error.message or ''
  event({event = 'finished', step = step, status = told.status, attempt = told.attempts, worker = told.worker, message = message})
  return true
end
local function finish_run(final, cause)
  redis.call('HSET', RUN, 'status', final, 'finished_at', stamp(now), 'cause', cause)
  redis.call('DEL', LEASES, POSTPONED)
  event({event = 'ended', status = final, message = cause})
end
"""

# ARGV: ttl, plan, how many fields and values follow, those of the run, then for each step that is taken from another
# run: id, outcome, value. The same id again changes nothing.
_ACCEPT = """
-- Whoever accepted it asks again when the answer was lost: the first field is their token.
if status then return redis.call('HGET', RUN, 'token') == ARGV[5] and stamp(now) or 0 end
local fields = tonumber(ARGV[3])
redis.call('SET', PLAN, ARGV[2])
redis.call('HSET', RUN, 'status', 'pending', 'submitted_at', stamp(now), unpack(ARGV, 4, 3 + fields))
event({event = 'accepted'})
for at = 4 + fields, #ARGV, 3 do finish(ARGV[at], ARGV[at + 1], ARGV[at + 2]) end
keep()
return stamp(now)
"""

# ARGV: ttl, token, lease, worker, then for each step its id and what it needs: '' nothing, '*' every collector, or a
# step id. A lease is "until token worker". The token is the claimer's own: a claim that is sent again because its answer was
# lost is answered as the first time, and counts no attempt.
_CLAIM = """
local answers = {}
for at = 5, #ARGV, 2 do
  local step, needs = ARGV[at], ARGV[at + 1]
  local until_, token = string.match(redis.call('HGET', LEASES, step) or '0 - -', '^(%S+) (%S+) ')
  local postponed = redis.call('HGET', POSTPONED, step)
  local busy = tonumber(until_)
  local function lost() return redis.call('HGET', ATTEMPTS, step .. ' lost') or '0' end
  local function yours(attempt)
    local began = redis.call('HGET', RUN, 'started_at') or stamp(now)
    return {'yours', attempt, stamp(now), redis.call('HGET', ATTEMPTS, step .. ' first'), lost(), began}
  end
  local answer
  if not status then answer = {'unknown', '0'}
  elseif redis.call('HEXISTS', OUTCOMES, step) == 1 then answer = {'done', '0'}
  elseif ended then answer = {'cancelled', '0'}
  elseif needs == '*' and tonumber(redis.call('HGET', RUN, 'collectors_left')) > 0 then answer = {'not ready', '0'}
  elseif needs ~= '' and needs ~= '*' and redis.call('HEXISTS', OUTCOMES, needs) == 0 then answer = {'not ready', '0'}
  elseif token == ARGV[2] then answer = yours(redis.call('HGET', ATTEMPTS, step))
  elseif busy > now then answer = {'busy', stamp(busy - now)}
  elseif postponed and tonumber(postponed) > now then answer = {'busy', stamp(tonumber(postponed) - now)}
  else
    -- A lease that has run out was held by a worker that is lost: it neither finished the step nor postponed it.
    if busy > 0 then redis.call('HINCRBY', ATTEMPTS, step .. ' lost', 1) end
    local attempt = redis.call('HINCRBY', ATTEMPTS, step, 1)
    redis.call('HSETNX', ATTEMPTS, step .. ' first', stamp(now))
    redis.call('HDEL', POSTPONED, step)
    redis.call('HDEL', ATTEMPTS, step .. ' waits')
    redis.call('HDEL', RUN, 'waits_for')
    redis.call('HSET', LEASES, step, stamp(now + ARGV[3]) .. ' ' .. ARGV[2] .. ' ' .. ARGV[4])
    event({event = 'started', step = step, attempt = attempt, worker = ARGV[4]})
    if status == 'pending' then
      status = 'running'
      redis.call('HSET', RUN, 'status', status, 'started_at', stamp(now))
    end
    answer = yours(tostring(attempt))
  end
  answers[#answers + 1] = answer
end
if status then keep() end
return answers
"""

# ARGV: ttl, token, lease, then step ids. Answers which are still this claimer's to work on.
_RENEW = """
local kept = {}
for at = 4, #ARGV do
  local step = ARGV[at]
  local lease = redis.call('HGET', LEASES, step)
  local token, worker = string.match(lease or '0 - -', '^%S+ (%S+) (.*)$')
  if not ended and token == ARGV[2] then
    redis.call('HSET', LEASES, step, stamp(now + ARGV[3]) .. ' ' .. token .. ' ' .. worker)
    kept[#kept + 1] = step
  end
end
if #kept > 0 then keep() end
return kept
"""

# ARGV: ttl, how the run ends ('' if it goes on), the cause, then for each step: id, is it a collector, outcome, value.
_FINISH = """
local recorded = {}
if not status then return recorded end
if ended then
  for at = 4, #ARGV, 4 do
    if redis.call('HEXISTS', OUTCOMES, ARGV[at]) == 1 then finish(ARGV[at], ARGV[at + 2], ARGV[at + 3]) end
  end
  return recorded
end
for at = 4, #ARGV, 4 do
  if finish(ARGV[at], ARGV[at + 2], ARGV[at + 3]) then
    recorded[#recorded + 1] = ARGV[at]
    if ARGV[at + 1] == '1' then redis.call('HINCRBY', RUN, 'collectors_left', -1) end
  end
end
if ARGV[2] ~= '' then finish_run(ARGV[2], ARGV[3]) end
keep()
return recorded
"""

# ARGV: ttl, the worker whose process died, then step ids. Their leases end now. Answers, for each that it held, the step,
# its attempts, how many of them were lost with their workers, and when the first and the last began.
_RELEASE = """
local released = {}
for at = 3, #ARGV do
  local step = ARGV[at]
  local worker = string.match(redis.call('HGET', LEASES, step) or '', '^%S+ %S+ (.*)$')
  if worker == ARGV[2] and redis.call('HEXISTS', OUTCOMES, step) == 0 then
    redis.call('HDEL', LEASES, step)
    released[#released + 1] = {
      step, redis.call('HGET', ATTEMPTS, step), redis.call('HGET', ATTEMPTS, step .. ' lost') or '0',
      redis.call('HGET', ATTEMPTS, step .. ' first'), stamp(now),
    }
  end
end
return released
"""

# ARGV: ttl, grace. What has gone wrong in a run, as far as its ledger shows: 'ended' alone, or the run's state, the
# steps whose worker is lost, those whose next attempt is overdue, the others that somebody holds, and whether the run
# has been silent: for the grace, doubled each time that it was sent again since the last event.
_SWEEP = """
if not status then return {'unknown'} end
if ended then return {'ended'} end
local run = {}
for _, field in ipairs({'last_at', 'sent_at', 'sent_again', 'started_at'}) do
  run[field] = tonumber(redis.call('HGET', RUN, field) or '0')
end
local wait = ARGV[2] * 2 ^ math.min(run.sent_again, 10)
local again = now - run.sent_at >= wait
local lost, overdue, held = {}, {}, {}
local leases = redis.call('HGETALL', LEASES)
for at = 1, #leases, 2 do
  local until_ = tonumber(string.match(leases[at + 1], '^%S+'))
  -- Not sent since the lease ran out, or long ago: the message may have been lost as well.
  if until_ < now and (run.sent_at < until_ or again) then lost[#lost + 1] = leases[at] else held[#held + 1] = leases[at] end
end
local postponed = redis.call('HGETALL', POSTPONED)
for at = 1, #postponed, 2 do
  if tonumber(postponed[at + 1]) + ARGV[2] < now and again then overdue[#overdue + 1] = postponed[at]
  else held[#held + 1] = postponed[at] end
end
local silent = now - math.max(run.last_at, run.sent_at) >= wait and 1 or 0
local elapsed = run.started_at > 0 and now - run.started_at or 0
return {status, lost, overdue, held, silent, stamp(elapsed), redis.call('HGET', RUN, 'collectors_left')}
"""

# ARGV: ttl. The run, or a part of it, is sent again.
_SENT_AGAIN = """
if status and not ended then
  redis.call('HSET', RUN, 'sent_at', stamp(now))
  return redis.call('HINCRBY', RUN, 'sent_again', 1)
end
return 0
"""

# ARGV: ttl, the reason why a step waits, the step, seconds until somebody looks again, seconds that it may wait in all,
# whether it begins to wait now. Answers 1 if it waits, 0 if it has waited long enough, and nothing if it has ended. An
# event only when it begins, and for another reason than the step before. Until it is looked at again it counts as
# postponed: it is not lost, and others of the run may be.
_WAIT = """
if not status or ended or redis.call('HEXISTS', OUTCOMES, ARGV[3]) == 1 then return false end
local leased = string.match(redis.call('HGET', LEASES, ARGV[3]) or '0', '^%S+')
if tonumber(leased) > now then return 1 end
if ARGV[6] == '1' then redis.call('HDEL', ATTEMPTS, ARGV[3] .. ' waits') end
local begins = redis.call('HSETNX', ATTEMPTS, ARGV[3] .. ' waits', stamp(now)) == 1
if now - redis.call('HGET', ATTEMPTS, ARGV[3] .. ' waits') >= tonumber(ARGV[5]) then return 0 end
local again = math.max(now + ARGV[4], tonumber(redis.call('HGET', POSTPONED, ARGV[3]) or '0'))
redis.call('HSET', POSTPONED, ARGV[3], stamp(again))
if redis.call('HGET', RUN, 'waits_for') ~= ARGV[2] then
  redis.call('HSET', RUN, 'waits_for', ARGV[2])
  if begins then event({event = 'waiting', message = ARGV[2]}) end
end
keep()
return 1
"""

# ARGV: ttl, step, seconds to wait, the error's text, the attempt that failed.
_POSTPONE = """
if not status or ended or redis.call('HEXISTS', OUTCOMES, ARGV[2]) == 1 then return 0 end
redis.call('HDEL', LEASES, ARGV[2])
redis.call('HSET', POSTPONED, ARGV[2], stamp(now + ARGV[3]))
event({event = 'postponed', step = ARGV[2], attempt = ARGV[5], message = ARGV[4], seconds = ARGV[3]})
keep()
return 1
"""

# ARGV: ttl, how many collectors are among them, then the steps that are to be executed again, in a run that has ended.
# The story of the run begins anew, with what is kept of it.
_REOPEN = """
if not ended then return 0 end
for at = 3, #ARGV do
  local step = ARGV[at]
  redis.call('HDEL', OUTCOMES, step)
  redis.call('HDEL', VALUES, step)
  redis.call('HDEL', ATTEMPTS, step, step .. ' first', step .. ' lost', step .. ' waits')
end
redis.call('DEL', EVENTS, LEASES, POSTPONED)
redis.call('HDEL', RUN, 'finished_at', 'cause', 'waits_for', 'started_at')
redis.call('HSET', RUN, 'status', 'pending', 'collectors_left', ARGV[2], 'sent_at', stamp(now))
event({event = 'resumed'})
local kept = redis.call('HGETALL', OUTCOMES)
for at = 1, #kept, 2 do
  local told = cjson.decode(kept[at + 1])
  event({event = 'finished', step = kept[at], status = told.status, attempt = told.attempts, worker = told.worker})
end
keep()
return 1
"""

# ARGV: ttl, the cause, then for each step: id, outcome if it has none yet.
_CANCEL = """
if not status then return false end
if not ended then
  for at = 3, #ARGV, 2 do finish(ARGV[at], ARGV[at + 1], '') end
  finish_run('cancelled', ARGV[2])
  keep()
  status = 'cancelled'
end
return status
"""


_LOST = "`python -m runner runs` lists the runs; a broker without persistence forgets them when it restarts"


class FanInTooLarge(RunnerError):
    """The collectors' values together are more than a gather may be given."""


@dataclass(frozen=True, slots=True)
class Error:
    """Why an attempt failed.

    Args:
        type: the exception's class name.
        traceback: the frames of the user's task; empty where there is none.
    """

    type: str
    message: str
    traceback: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a step ended.

    Args:
        value: the task's JSON value; None unless it succeeded, and where values were not asked for.
        attempts: how often it was started.
        started_at: of the last attempt, seconds since the epoch by the broker's clock.
        finished_at: the same.
        worker: the worker that executed it; empty if none did.
    """

    step: str
    status: StepStatus
    value: Any = None
    error: Error | None = None
    attempts: int = 0
    started_at: float | None = None
    finished_at: float | None = None
    worker: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """The ledger's answer to a worker that wants to execute a step.

    Args:
        answer: ``yours``; ``done``; ``busy`` (leased or postponed); ``cancelled`` (the run has ended); ``not ready``;
            ``unknown`` (no such run).
        attempt: counted from 1, if it is yours.
        wait: seconds until it is worth asking again, if it is busy.
        started_at: now, seconds since the epoch by the broker's clock.
        first_started_at: when the first attempt was.
        lost: how many of the attempts ended with their worker, and say nothing about the step.
        run_started_at: when the first step of the run was.
    """

    step: str
    answer: Literal["yours", "done", "busy", "cancelled", "not ready", "unknown"]
    attempt: int = 0
    wait: float = 0.0
    started_at: float = 0.0
    first_started_at: float = 0.0
    lost: int = 0
    run_started_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Run:
    """What the ledger knows about a run. Times are seconds since the epoch by the broker's clock."""

    id: str
    workflow: str
    status: RunStatus
    hash: str
    submitted_at: float
    started_at: float | None = None
    finished_at: float | None = None
    cause: str = ""
    waits_for: str = ""
    inputs: Mapping[str, Any] | None = None

    @property
    def ended(self) -> bool:
        return self.status in EXIT_CODES


@dataclass(frozen=True, slots=True)
class Sweep:
    """What has gone wrong in a run, as far as its ledger shows.

    Args:
        lost: steps whose worker has given no sign of life for the time of their lease.
        overdue: steps whose next attempt should have been made by now.
        held: steps that somebody executes, or that wait for their next attempt.
        silent: nothing has happened for the grace, or twice as long each time the run was sent again.
        elapsed: seconds since the first step started.
        collectors_left: how many have no outcome.
    """

    lost: tuple[str, ...]
    overdue: tuple[str, ...]
    held: tuple[str, ...]
    silent: bool
    elapsed: float
    collectors_left: int


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a run.

    Args:
        event: of the run, ``accepted``, ``waiting`` or ``ended``; of a step, ``started``, ``postponed``, ``finished``, and
            ``answered`` if it does so after the deadline.
        at: seconds since the epoch by the broker's clock.
        message: the error of a step that failed, or the cause of a run's end.
        seconds: until the next attempt, if the step is postponed.
    """

    id: str
    event: str
    at: float
    step: str = ""
    status: str = ""
    attempt: int = 0
    worker: str = ""
    message: str = ""
    seconds: float = 0.0


def new_run_id(plan: Plan) -> str:
    """A name for a run that a person can type: the workflow's, and eight random characters (2^39 of them)."""
    return f"{plan.name[:50]}-{''.join(secrets.choice(_ALPHABET) for _ in range(8))}"


def check_run_id(run_id: str) -> str:
    """The id itself.

    Raises:
        MalformedRunId: it could not have come from us.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", run_id):
        raise MalformedRunId(f"{echo(run_id)} is no run id", hint="letters, digits, - and _, at most 64")
    return run_id


class Store:
    """The ledger on one server.

    Args:
        client: with ``decode_responses=True``.
        prefix: what every key starts with.
        ttl: seconds that a run is kept after the last thing that happened in it.

    ``forward`` puts the clock forward by so many seconds, for tests of what time brings.
    """

    def __init__(self, client: "redis.Redis", *, prefix: str = "runner", ttl: float = 7 * 86400) -> None:
        self.client = client
        self._prefix = prefix
        self._ttl = int(ttl)
        self.forward = 0.0
        self._accept = client.register_script(_PRELUDE + _ACCEPT)
        self._claim = client.register_script(_PRELUDE + _CLAIM)
        self._renew = client.register_script(_PRELUDE + _RENEW)
        self._finish = client.register_script(_PRELUDE + _FINISH)
        self._postpone = client.register_script(_PRELUDE + _POSTPONE)
        self._cancel = client.register_script(_PRELUDE + _CANCEL)
        self._reopen = client.register_script(_PRELUDE + _REOPEN)
        self._release = client.register_script(_PRELUDE + _RELEASE)
        self._sweep = client.register_script(_PRELUDE + _SWEEP)
        self._sent_again = client.register_script(_PRELUDE + _SENT_AGAIN)
        self._wait = client.register_script(_PRELUDE + _WAIT)

    @classmethod
    def of(cls, client: "redis.Redis", chosen: Settings) -> "Store":
        return cls(client, prefix=chosen.key_prefix, ttl=chosen.ttl)

    # Transitions

    def accept(self, run_id: str, plan: Plan, *, kept: Iterable[Outcome] = ()) -> bool:
        """Record a run with its plan; False if the id is taken, and then nothing has changed.

        Args:
            kept: outcomes, with their values, that are taken from another run.
        """
        taken = [(each.step, _dump_outcome(each), _dump_value(each)) for each in kept]
        collectors = {step.id for step in plan.collectors} - {step for step, *_ in taken}
        fields = {
            "token": uuid.uuid4().hex,
            "workflow": plan.name,
            "hash": plan.hash,
            "collectors_left": len(collectors),
            "inputs": json.dumps(mask.inputs(plan), separators=(",", ":")),
        }
        flat: list[Any] = [text for name, value in fields.items() for text in (name, value)]
        rest = [text for each in taken for text in each]
        accepted = self._accept(self._keys(run_id), [self._life, plans.dump(plan), len(flat), *flat, *rest])
        if accepted:
            # The index is the one key that is not in the run's slot, so it is written beside the script, not in it.
            seconds = float(accepted)
            with self.client.pipeline(transaction=False) as pipe:
                for index in (self._index, self._active):
                    pipe.zadd(index, {run_id: seconds})
                    pipe.zremrangebyscore(index, 0, seconds - self._ttl)
                    pipe.expire(index, self._ttl)
                pipe.execute()
        return bool(accepted)

    def reopen(self, run_id: str, steps: Iterable[Step]) -> bool:
        """Forget how these steps of a run that has ended did, so that they are executed again; False if it has not ended."""
        again = list(steps)
        left = sum(step.kind == "collector" for step in again)
        reopened = self._reopen(self._keys(run_id), [self._life, left, *(step.id for step in again)])
        if reopened:
            self.client.zadd(self._active, {run_id: self._now()})
        return bool(reopened)

    def claim(
        self, run_id: str, steps: Sequence[Step], plan: Plan, *, token: str, worker: str, lease: float
    ) -> list[Claim]:
        """Ask to execute these steps; what is ``yours`` is leased for ``lease`` seconds.

        Args:
            token: says who holds the lease: another for every execution, the same when a claim is repeated.
            worker: shown beside the step.
        """
        wanted = [text for step in steps for text in (step.id, _needs(plan, step))]
        answers = self._claim(self._keys(run_id), [self._life, token, lease, worker, *wanted])
        return [_read_claim(step.id, answer) for step, answer in zip(steps, answers, strict=True)]

    def renew(self, run_id: str, steps: Iterable[str], *, token: str, lease: float) -> list[str]:
        """Lengthen leases; answers which of the steps are still this claimer's, and the run not ended."""
        kept = self._renew(self._keys(run_id), [self._life, token, lease, *steps])
        return cast("list[str]", kept)

    def finish(
        self, run_id: str, outcomes: Iterable[Outcome], plan: Plan, *, ends: RunStatus | None = None, cause: str = ""
    ) -> list[str]:
        """Record outcomes, and the end of the run if it ``ends`` with them; answers which were the first of their step."""
        collectors = {step.id for step in plan.collectors}
        flat: list[Any] = []
        for outcome in outcomes:
            flat += [outcome.step, int(outcome.step in collectors), _dump_outcome(outcome), _dump_value(outcome)]
        return cast("list[str]", self._finish(self._keys(run_id), [self._life, ends or "", cause, *flat]))

    def postpone(self, run_id: str, step: str, *, error: Error, attempt: int, seconds: float) -> bool:
        """Note a failed attempt that is tried again after so many seconds; False if there is nothing left to try."""
        text = f"{error.type}: {error.message}"
        return bool(self._postpone(self._keys(run_id), [self._life, step, seconds, text, attempt]))

    def release(self, run_id: str, steps: Iterable[str], *, worker: str) -> list[Claim]:
        """End the leases that a worker holds on these steps, because the process that executed them is dead.

        Answers the claims that it had on them; the lease of a step is not released twice.
        """
        released = self._release(self._keys(run_id), [self._life, worker, *steps])
        return [
            Claim(step, "yours", int(attempt), 0.0, float(now), float(first or now), int(lost))
            for step, attempt, lost, first, now in released
        ]

    def sweep(self, run_id: str, *, grace: float) -> Sweep | None:
        """What has gone wrong in a run; None if it has ended.

        Raises:
            UnknownRun: it is not there: it has expired, or the broker has lost its data.
        """
        answer = self._sweep(self._keys(run_id), [self._life, grace])
        if answer[0] == "unknown":
            raise UnknownRun(f'no run "{run_id}", or it has expired')
        if answer[0] == "ended":
            return None
        _, lost, overdue, held, silent, elapsed, left = answer
        return Sweep(tuple(lost), tuple(overdue), tuple(held), bool(silent), float(elapsed), int(left))

    def sent_again(self, run_id: str) -> int:
        """Note that a part of the run is sent again; answers how often since something last happened in it."""
        return int(self._sent_again(self._keys(run_id), [self._life]))

    def waits(
        self, run_id: str, step: str, reason: str, *, seconds: float, limit: float, anew: bool = False
    ) -> bool | None:
        """Note why a step waits, for `show` and whoever watches; False if it has waited long enough, None if it has ended.

        Args:
            seconds: until it is looked at again.
            limit: seconds that it may wait in all.
            anew: it begins to wait now, as it also does when it has been claimed meanwhile.
        """
        waits = self._wait(self._keys(run_id), [self._life, reason, step, seconds, limit, int(anew)])
        return None if waits is None else bool(waits)

    def active(self) -> list[str]:
        """Ids of the runs that have not been seen to end."""
        return cast("list[str]", self.client.zrange(self._active, 0, -1))

    def retire(self, run_id: str) -> None:
        """Take a run that has ended from the active ones."""
        self.client.zrem(self._active, run_id)

    def lead(self, who: str, seconds: float) -> bool:
        """Whether this one is to reconcile for so many seconds: one worker of all does it."""
        key = f"{self._prefix}:leader"
        if self.client.set(key, who, nx=True, px=int(seconds * 1000)):
            return True
        return self.client.get(key) == who and bool(self.client.pexpire(key, int(seconds * 1000)))

    def is_led(self) -> bool:
        """Whether there is a worker that reconciles, or was until a moment ago."""
        return bool(self.client.exists(f"{self._prefix}:leader"))

    def cancel(self, run_id: str, cause: str) -> RunStatus:
        """End a run now: no step of it starts any more. Answers its status, which is another if it had ended before."""
        steps = self.plan(run_id).steps
        flat = [text for step in steps for text in (step.id, _dump_outcome(Outcome(step.id, "cancelled")))]
        status = self._cancel(self._keys(run_id), [self._life, cause, *flat])
        if status is None:
            raise UnknownRun(f'no run "{run_id}"')
        return cast("RunStatus", status)

    # Reads

    def plan(self, run_id: str) -> Plan:
        text = self.client.get(self._key(run_id, "plan"))
        if text is None:
            raise UnknownRun(f'no run "{run_id}", or it has expired', hint=_LOST)
        return plans.load(cast("str", text))

    def run(self, run_id: str) -> Run:
        fields = cast("dict[str, str]", self.client.hgetall(self._key(run_id, "run")))
        if not fields:
            raise UnknownRun(f'no run "{run_id}", or it has expired', hint=_LOST)
        return _read_run(run_id, fields)

    def runs(self, limit: int = 20) -> list[Run]:
        """The latest runs, newest first."""
        ids = cast("list[str]", self.client.zrevrange(self._index, 0, limit - 1))
        with self.client.pipeline(transaction=False) as pipe:
            for run_id in ids:
                pipe.hgetall(self._key(run_id, "run"))
            found = pipe.execute()
        return [_read_run(run_id, fields) for run_id, fields in zip(ids, found, strict=True) if fields]

    def leased(self, run_id: str) -> dict[str, float]:
        """The steps that somebody is executing, or was when he was lost; the seconds until their leases run out."""
        with self.client.pipeline(transaction=False) as pipe:
            pipe.hgetall(self._key(run_id, "leases"))
            pipe.time()
            leases, (seconds, micros) = pipe.execute()
        left = {step: float(lease.split()[0]) - seconds - micros / 1e6 for step, lease in leases.items()}
        return {step: wait for step, wait in left.items() if wait > 0}

    def outcomes(self, run_id: str) -> dict[str, Outcome]:
        """How each step that has ended did, without values."""
        stored = cast("dict[str, str]", self.client.hgetall(self._key(run_id, "outcomes")))
        return {step: _read_outcome(step, text) for step, text in stored.items()}

    def outcome(self, run_id: str, step: str) -> Outcome | None:
        """One step's outcome, with its value."""
        with self.client.pipeline(transaction=False) as pipe:
            pipe.hget(self._key(run_id, "outcomes"), step)
            pipe.hget(self._key(run_id, "values"), step)
            text, value = pipe.execute()
        return replace(_read_outcome(step, text), value=json.loads(value) if value else None) if text else None

    def values(self, run_id: str, steps: Sequence[str], *, limit: float = math.inf) -> dict[str, Any]:
        """The values of those of the steps that succeeded, in this order, in one round trip.

        Raises:
            FanInTooLarge: they are more bytes of JSON than the limit.
        """
        stored = cast("list[str | None]", self.client.hmget(self._key(run_id, "values"), list(steps)) if steps else [])
        size = sum(len(text) for text in stored if text is not None)
        if size > limit:
            raise FanInTooLarge(f"the collectors' values are {size:,} bytes of JSON together, limit {limit:,}")
        return {step: json.loads(text) for step, text in zip(steps, stored, strict=True) if text is not None}

    def events(self, run_id: str, after: str = "0", *, wait: float = 0.0) -> list[Event]:
        """What has happened since the event with the id ``after``; waits up to so many seconds for the first."""
        block = max(1, int(wait * 1000)) if wait else None
        answer = cast("list[Any]", self.client.xread({self._key(run_id, "events"): after}, block=block))
        return [_read_event(event_id, fields) for _, entries in answer or [] for event_id, fields in entries]

    def follow(self, run_id: str, *, beat: float = 0.5, patience: float = 60.0) -> Iterator[Event | None]:
        """Every event of a run from its beginning, until it has ended; None whenever ``beat`` seconds pass without one.

        Args:
            patience: seconds for which a server that does not answer is waited for.
        """
        after, gone_since = "0", None
        while True:
            try:
                events = self.events(run_id, after, wait=beat)
            except (redis.ConnectionError, redis.TimeoutError):
                gone_since = gone_since or time.monotonic()
                if time.monotonic() - gone_since > patience:
                    raise
                time.sleep(beat)
                yield None
                continue
            gone_since = None
            for event in events:
                yield event
                if event.event == "ended":
                    return
                after = event.id
            if not events:
                yield None

    def _now(self) -> float:
        seconds, micros = self.client.time()
        return seconds + micros / 1e6

    @property
    def _life(self) -> str:
        return f"{self._ttl} {self.forward}"

    @property
    def _index(self) -> str:
        return f"{self._prefix}:runs"

    @property
    def _active(self) -> str:
        return f"{self._prefix}:active"

    def _key(self, run_id: str, name: str) -> str:
        return f"{self._prefix}:{{{run_id}}}:{name}"

    def _keys(self, run_id: str) -> list[str]:
        return [self._key(run_id, name) for name in _KEYS]


def _needs(plan: Plan, step: Step) -> str:
    if step.kind == "gather":
        return "*"
    before = plan.before(step)
    return before.id if before else ""


def _read_claim(step: str, answer: list[str]) -> Claim:
    if answer[0] == "yours":
        numbers = [float(text) for text in answer[2:]]
        return Claim(step, "yours", int(answer[1]), 0.0, numbers[0], numbers[1], int(numbers[2]), numbers[3])
    return Claim(step, cast("Any", answer[0]), wait=float(answer[1]))


def _read_run(run_id: str, fields: Mapping[str, str]) -> Run:
    return Run(
        id=run_id,
        workflow=fields["workflow"],
        status=cast("RunStatus", fields["status"]),
        hash=fields["hash"],
        submitted_at=float(fields["submitted_at"]),
        started_at=float(fields["started_at"]) if "started_at" in fields else None,
        finished_at=float(fields["finished_at"]) if "finished_at" in fields else None,
        cause=fields.get("cause", ""),
        waits_for=fields.get("waits_for", ""),
        inputs=json.loads(fields["inputs"]),
    )


def _dump_outcome(outcome: Outcome) -> str:
    stored = asdict(replace(outcome, value=None))
    return json.dumps({name: stored[name] for name in stored if name not in {"step", "value"}}, separators=(",", ":"))


def _dump_value(outcome: Outcome) -> str:
    return json.dumps(outcome.value, separators=(",", ":")) if outcome.status == "succeeded" else ""


def _read_outcome(step: str, text: str) -> Outcome:
    fields = json.loads(text)
    return Outcome(step, **{**fields, "error": Error(**fields["error"]) if fields["error"] else None})


def _read_event(event_id: str, fields: Mapping[str, str]) -> Event:
    words: dict[str, Any] = {
        name: fields[name] for name in ("event", "step", "status", "worker", "message") if name in fields
    }
    numbers: dict[str, Any] = {"attempt": int(fields.get("attempt") or 0), "seconds": float(fields.get("seconds") or 0)}
    return Event(event_id, at=float(fields["at"]), **words, **numbers)
