"""The Lua scripts that change the ledger, each atomic and one round trip.

The first outcome of a step wins, so a message may be delivered any number of times. A script works on many steps at once,
and adds one event for all of a batch: a hundred thousand collectors are as many steps, and a few hundred
messages. README.md draws the states of steps and runs between them; the keys, and the functions that several scripts use, are
in prelude.py.
"""

from runner.ledger.limiting import LIMITING
from runner.ledger.prelude import NOW, PRELUDE

# The same id again changes nothing.
ACCEPT = (
    PRELUDE
    + """
-- The process that accepted it asks again when the answer was lost: its token is the same.
if status then return redis.call('HGET', RUN, 'token') == a.token and stamp(now) or 0 end
redis.call('SET', PLAN, a.plan)
redis.call('HSET', RUN, 'status', 'pending', 'submitted_at', stamp(now), 'token', a.token)
redis.call('HSET', RUN, 'workflow', a.workflow, 'hash', a.hash, 'inputs', a.inputs, 'layout', a.layout)
event({event = 'accepted'})
if a.timeout then redis.call('HSET', RUN, 'timeout', a.timeout) end
if a.fan_out then
  begin(a.fan_out)
  skip(a.fan_out)
end
record(a.kept)
keep(unpack(ALL))
return stamp(now)
"""
)

# A later fan-out begins, once: what another worker has staged for it meanwhile is not used. Its gather's lease ends, which
# the worker that begins it holds. Returns whether this call has begun it.
BEGIN = (
    PRELUDE
    + """
local fan_out = a.fan_out
if not status or ended or has_begun(fan_out.id) then
  redis.call('DEL', fan_out.staged)
  return 0
end
begin(fan_out)
local later = redis.call('HGET', RUN, 'later')
redis.call('HSET', RUN, 'layout:' .. fan_out.id, a.layout, 'later', (later and later .. ' ' or '') .. fan_out.id)
redis.call('HDEL', OPEN, fan_out.id)
for collector, count in pairs(fan_out.counts) do event({event = 'begun', step = collector, count = count}) end
skip(fan_out)
record(a.kept)
redis.call('EXPIRE', key(fan_out.items), TTL)
keep(RUN, LEFT, OUTCOMES, TALLY)
return 1
"""
)

# The token is the claimer's own: a claim that is sent again because its answer was lost is answered as the first time, and
# counts no attempt. Returns the time, when the run began, a letter for each step, the details of some of them, for
# the gather or a stage its input (how many collectors are absent and how many outcomes there are, or the value
# before), and the values of the steps that a gather names beside its own.
CLAIM = (
    PRELUDE
    + """
local letters, more, started, opening, before, handed = {}, {}, {}, {}, '', {}
local given, last = 0, false
"""
    + LIMITING
    + """
local ready = {}
-- What a step needs: '' nothing; '*' and a fan-out, all of whose collectors have ended; or a step that has ended.
local function is_ready(needs)
  if ready[needs] == nil then
    if needs == '' then ready[needs] = true
    elseif string.sub(needs, 1, 1) == '*' then
      ready[needs] = tonumber(redis.call('HGET', RUN, 'left:' .. string.sub(needs, 2)) or '0') == 0
    else ready[needs] = redis.call('HEXISTS', OUTCOMES, needs) == 1 end
  end
  return ready[needs]
end
-- How many steps of a collector with `max_concurrency` are executed: each is leased. What has ended, waits for its next attempt
-- or was lost with its worker takes no slot, so that nothing has to give it back.
local used, taken, waits, limited = nil, {}, {}, {}
local function slots_of(collector)
  if not used then
    used = {}
    local all, steps, free = redis.call('HGETALL', SLOTS), {}, {}
    for at = 1, #all, 2 do steps[#steps + 1] = all[at] end
    for at, text in ipairs(fields_of(OPEN, steps)) do
      local is, of = read(text), all[2 * at]
      if is.token ~= '-' and is.until_ > now then used[of] = (used[of] or 0) + 1 else free[#free + 1] = steps[at] end
    end
    in_parts('HDEL', SLOTS, free)
  end
  return used[collector] or 0
end
local stopped = is_stopped(a.stops)
local function claim(step, ref, needs, most, outcome, begun, quiet, is_hook, limits)
  if not status then return 'u' end
  if outcome or (stopped and ref ~= '') then return 'd' end  -- defence: DONE
  if is_hook and step ~= hook then return 'c' end
  if ended and not is_hook then return 'c' end  -- defence: ENDED
  if not is_ready(needs) then return 'n' end
  local is = read(begun)
  if is.token ~= a.token then
    if is.until_ > now then  -- defence: BUSY
      more[#more + 1] = stamp(is.until_ - now)
      return 'b'
    end
    -- A lease that has run out was held by a worker that is lost: it neither finished the step nor postponed it. What
    -- was lost twice, with others perhaps, is executed alone, so that none is blamed for another.
    local lost = is.lost + (is.token ~= '-' and 1 or 0)
    if last or (lost >= 2 and not (a.alone and given == 0)) then return 'l' end  -- defence: ALONE
    if given >= a.take then return 'l' end
    local of = ref == '' and step or many(ref) or ref
    if most > 0 then
      if slots_of(of) >= most then  -- defence: SLOTS
        waits[ref] = stamp(now) .. ' ' .. stamp(now + a.back)
        return 'f'
      end
    end
    if #limits > 0 then
      local wait, l, why, longest = start(step, limits)
      if wait then
        waits[ref == '' and step or ref] = table.concat({stamp(now), stamp(now + wait), stamp(now + longest), l.id}, ' ')
        local before = limited[of]
        if not before or before.seconds < longest then limited[of] = {message = l.id, why = why, seconds = longest} end
        more[#more + 1] = stamp(wait)
        return 'x'
      end
    end
    if most > 0 then
      used[of] = (used[of] or 0) + 1
      taken[#taken + 1] = step
      taken[#taken + 1] = of
    end
    last = lost >= 2
    is = {attempt = is.attempt + 1, first = is.first, lost = lost, ref = ref, worker = a.worker}
    grant(is, a.token, a.lease)
    opening[#opening + 1] = step
    opening[#opening + 1] = written(is)
    local collector = many(ref)
    if collector then started[collector] = (started[collector] or 0) + 1
    elseif not quiet then event({event = 'started', step = step, attempt = is.attempt, worker = a.worker}) end
  end
  given = given + 1
  if is.attempt == 1 and is.lost == 0 and not delayed[step] then return 'y' end
  more[#more + 1] = is.attempt .. ' ' .. is.first .. ' ' .. is.lost .. ' ' .. (delayed[step] or 0)
  return 'Y'
end
local of_the_fan_out = false
for _, wanted in ipairs(a.wanted) do
  local ref, needs, steps = wanted.ref, wanted.needs, wanted.steps
  local done, begun = fields_of(OUTCOMES, steps), fields_of(OPEN, steps)
  local gathers = string.sub(needs, 1, 1) == '*'
  local absent = gathers and redis.call('HGET', RUN, 'absent:' .. string.sub(needs, 2)) or '0'
  for at, step in ipairs(steps) do
    letters[#letters + 1] = claim(step, ref, needs, wanted.most, done[at], begun[at], wanted.quiet or absent ~= '0', wanted.hook,
                                  wanted.limits)
  end
  of_the_fan_out = of_the_fan_out or (ref ~= '' and (given > 0 or next(limited) ~= nil))
  if given > 0 then
    redis.call('HDEL', WAITS, ref ~= '' and ref or steps[1])
    if gathers then
      before = absent .. ' ' .. redis.call('HLEN', OUTCOMES)
      if #wanted.values > 0 then handed = redis.call('HMGET', VALUES, unpack(wanted.values)) end
    elseif wanted.handed then before = redis.call('HGET', VALUES, needs) or '' end
  end
end
in_parts('HSET', OPEN, opening)
in_parts('HSET', SLOTS, taken)
-- Until its message comes back it counts as held, and is not sent again.
for ref, until_ in pairs(waits) do redis.call('HSET', WAITS, ref, until_) end
keep_limits()
for of, is in pairs(limited) do tell_limited(of, is.message, is.why, is.seconds) end
for collector, count in pairs(started) do event({event = 'started', step = collector, count = count, worker = a.worker}) end
-- To wait for a limit is a part of the run: its timeout and its deadlines go on.
if (given > 0 or next(limited)) and status == 'pending' then
  redis.call('HSET', RUN, 'status', 'running', 'started_at', stamp(now))
end
if of_the_fan_out then redis.call('HSETNX', RUN, 'began:' .. redis.call('HGET', RUN, 'fan_out'), stamp(now)) end
if given > 0 then redis.call('HDEL', RUN, 'waits_for') end
if status then keep(OPEN, unpack(next(waits) and {SLOTS, WAITS} or #taken > 0 and {SLOTS} or {})) end
return {stamp(now), redis.call('HGET', RUN, 'started_at') or stamp(now), table.concat(letters), more, before, handed}
"""
)

# A gather that lacks collectors is started, or a stage with `when`: its claimer knows whether it is executed, and CLAIM does not.
STARTED = (
    PRELUDE
    + """
if status and (not ended or a.step == hook) and redis.call('HEXISTS', OUTCOMES, a.step) == 0 then
  event({event = 'started', step = a.step, attempt = a.attempt, worker = a.worker})
  keep(EVENTS)
end
return 1
"""
)

# Returns the steps that this claimer still holds.
RENEW = (
    PRELUDE
    + """
local kept = {}
for _, step in ipairs(a.steps) do
  local is = opened(step)
  if (not ended or step == hook) and is.token == a.token then
    grant(is, a.token, a.lease)
    open(step, is)
    kept[#kept + 1] = step
  end
end
if #kept > 0 then keep() end
return kept
"""
)

# A step that was claimed with this token and has not begun is as it was before.
RELEASE = (
    PRELUDE
    + """
for _, step in ipairs(a.steps) do
  local is = opened(step)
  if is.token == a.token then
    is.attempt = is.attempt - 1
    let_go(is)
    if is.attempt == 0 then redis.call('HDEL', OPEN, step) else open(step, is) end
  end
end
return 1
"""
)

# Returns as JSON the steps that were recorded, whether what follows the message is done, and whether the message was the last
# of its chord.
FINISH = (
    PRELUDE
    + """
if not status then return {'[]', 0, 0} end
if a.hook then
  if a.hook ~= hook then return {'[]', 0, 0} end
  local recorded = record(a.outcomes)
  if #recorded > 0 then go_on() end
  keep(OUTCOMES, VALUES)
  return {#recorded > 0 and cjson.encode(recorded) or '[]', 0, 0}
end
if ended then  -- defence: NOT_AFTER_THE_END
  for _, group in ipairs(a.outcomes) do
    for at, step in ipairs(group.steps) do
      local first = redis.call('HGET', OUTCOMES, step)
      if first then answer(group, at, first) end
    end
  end
  return {'[]', 0, 0}
end
local outcomes = a.outcomes
-- What becomes of collectors that are not needed any more is dropped.
if is_stopped(a.stops) then  -- defence: STOPPED
  outcomes = {}
  for _, group in ipairs(a.outcomes) do
    if group.ref == '' then outcomes[#outcomes + 1] = group end
  end
end
local recorded, done, last = record(outcomes, a.later), 0, 0
if a.ends then conclude(a.ends, a.cause, a.hooks) end
local follows = a.follows
if follows and follows.chord ~= '' then
  done, last = 1, returned(follows.chord, follows.message, '')
elseif follows and #recorded > 0 then
  -- Not if there was an outcome: its message was sent with that, and is not sent twice if only the answer was lost.
  -- One that fails is no fault of the outcome, which stands: Celery sends the message then, and has the server's reason.
  for _, command in ipairs(follows.commands) do
    local reply = redis.pcall(unpack(command))
    done = type(reply) == 'table' and reply.err and 0 or 1
    if done == 0 then break end
  end
end
keep(OUTCOMES, VALUES, ABSENT, TALLY, CHORDS)
return {#recorded > 0 and cjson.encode(recorded) or '[]', done, last}
"""
)

# Returns the steps that wait now.
POSTPONE = (
    PRELUDE
    + """
local postponed, counted = {}, {}
if not status or (ended and not hook) or is_stopped(a.stops) then return postponed end
for _, each in ipairs(a.attempts) do
  local step = each.step
  if (not ended or step == hook) and redis.call('HEXISTS', OUTCOMES, step) == 0 then
    local is = opened(step)
    let_go(is, each.seconds)
    open(step, is)
    redis.call('HSET', FAILURES, step, (redis.call('HGET', FAILURES, step) or '') .. each.failure .. ',')
    postponed[#postponed + 1] = step
    local collector = many(is.ref)
    local fields = {event = 'postponed', step = step, attempt = each.attempt, message = each.message, seconds = each.seconds}
    if not collector then event(fields)
    elseif counted[collector] then counted[collector].count = counted[collector].count + 1
    else
      fields.step, fields.count, fields.message = collector, 1, step .. ': ' .. fields.message
      counted[collector] = fields
    end
  end
end
for _, fields in pairs(counted) do event(fields) end
keep(OPEN, FAILURES)
return postponed
"""
)

# The leases of a worker whose process died end. Returns, for each step that it held, the step, its attempts, how many of
# them were lost, and when the first and the last began. If it held several, nobody knows of which it died: they count as
# lost with their worker.
ABANDON = (
    PRELUDE
    + """
local wanted, abandoned = {}, {}
for _, name in ipairs(a.names) do wanted[name] = true end
local all = redis.call('HGETALL', OPEN)
for at = 1, #all, 2 do
  local step = all[at]
  local is = opened(step)
  if is.worker == a.worker and is.token ~= '-' and (wanted[step] or wanted[is.ref]) then
    abandoned[#abandoned + 1] = {step, tostring(is.attempt), tostring(is.lost), is.first, stamp(now)}
  end
end
for _, each in ipairs(abandoned) do
  local is = opened(each[1])
  let_go(is)
  if #abandoned > 1 then is.lost = is.lost + 1 end
  open(each[1], is)
end
return abandoned
"""
)

# What has gone wrong in a run, as far as its ledger shows: 'ended' alone, or the run's state, the refs and steps whose
# worker is lost, those whose next attempt is overdue, those that somebody holds, whether the run has been silent (for the
# grace, doubled each time that it was sent again since the last event), how many collectors of the open fan-out have no
# outcome, the seconds until their deadline ('inf' without one), if it has been silent the refs they belong to, the seconds
# that the whole run has left ('inf' without a timeout), and the hook that is due, of a run that has ended.
SWEEP = (
    PRELUDE
    + """
if not status then return {'unknown'} end
if ended and not hook then return {'ended'} end
local run = {}
local fan_out = redis.call('HGET', RUN, 'fan_out') or ''
local names = {'last_at', 'sent_at', 'sent_again', 'timeout', 'started_at', 'left', 'deadline', 'began'}
local fields = {}
for at, name in ipairs(names) do fields[at] = at > 5 and name .. ':' .. fan_out or name end
for at, text in ipairs(redis.call('HMGET', RUN, unpack(fields))) do run[names[at]] = tonumber(text or '0') end
if ended then run.left, run.timeout = 0, 0 end
local wait = a.grace * 2 ^ math.min(run.sent_again, 10)
local again = now - run.sent_at >= wait
local lost, overdue, held = {}, {}, {}
local all = redis.call('HGETALL', OPEN)
for at = 1, #all, 2 do
  local is = opened(all[at])
  local name = is.ref ~= '' and is.ref or all[at]
  if is.token ~= '-' then
    -- Not sent since the lease ran out, or long ago: the message may have been lost as well.
    if is.until_ < now and (run.sent_at < is.until_ or again) then lost[name] = 1 else held[name] = 1 end
  elseif is.until_ > 0 then
    if is.until_ + a.grace < now and again then overdue[name] = 1 else held[name] = 1 end
  end
end
local waits = redis.call('HGETALL', WAITS)
for at = 1, #waits, 2 do
  local until_ = tonumber(string.match(waits[at + 1], '^%S+ (%S+)'))
  if many(waits[at]) and redis.call('HEXISTS', LEFT, waits[at]) == 0 then  -- its collectors have been executed elsewhere
  elseif until_ + a.grace < now and again then overdue[waits[at]] = 1 else held[waits[at]] = 1 end
end
local function list(set)
  local found = {}
  for name in pairs(set) do found[#found + 1] = name end
  return found
end
local silent = now - math.max(run.last_at, run.sent_at) >= wait
local seconds = 'inf'
if run.deadline > 0 and run.left > 0 then
  seconds = stamp(run.deadline - (run.began > 0 and now - run.began or 0))
end
local idle = silent and not ended and redis.call('HKEYS', LEFT) or {}
local time_left = run.timeout > 0 and run.started_at > 0 and stamp(run.timeout - (now - run.started_at)) or 'inf'
return {status, list(lost), list(overdue), list(held), silent and 1 or 0, run.left, seconds, idle, time_left, hook or ''}
"""
)

# The run, or a part of it, is sent again.
SENT_AGAIN = (
    PRELUDE
    + """
if status and (not ended or hook) then
  redis.call('HSET', RUN, 'sent_at', stamp(now))
  return redis.call('HINCRBY', RUN, 'sent_again', 1)
end
return 0
"""
)

# Returns `parked`, `expired` if it has waited long enough, and `ended` if the step or the run has. An event only when it
# begins, and for another reason than the one before. Until it is looked at again it counts as held: it is not lost, and
# others of the run may be.
PARK = (
    PRELUDE
    + """
if not status or (ended and a.name ~= hook) or redis.call('HEXISTS', OUTCOMES, a.name) == 1 then return 'ended' end
if tonumber(opened(a.name).until_) > now then return 'parked' end
local before = not a.restart and redis.call('HGET', WAITS, a.name)
local since = before and tonumber(string.match(before, '^%S+')) or now
if now - since >= a.limit then return 'expired' end
redis.call('HSET', WAITS, a.name, stamp(since) .. ' ' .. stamp(now + a.seconds))
if redis.call('HGET', RUN, 'waits_for') ~= a.reason then
  redis.call('HSET', RUN, 'waits_for', a.reason)
  if not before then event({event = 'waiting', message = a.reason}) end
end
keep(WAITS)
return 'parked'
"""
)

# A run that has ended starts again, and so do its events; the steps that are kept, and not counted in the tally, get theirs again.
REOPEN = (
    PRELUDE
    + """
if not ended then return 0 end
-- The collectors that are executed again: the absent ones of the fan-out, and those whose value or outcome is lost.
local steps, refs, missed = {}, {}, {}
local function miss(step, ref)
  if missed[step] then return end
  missed[step] = true
  steps[#steps + 1], refs[#refs + 1] = step, ref
end
if a.fan_out then
  local own = {}
  for _, id in ipairs(a.collectors) do own[id] = true end
  local absent = redis.call('HGETALL', ABSENT)
  for at = 1, #absent, 2 do
    local ref = absent[at + 1]
    if own[many(ref) or ref] then miss(absent[at], ref) end
  end
  redis.call('HSET', RUN, 'fan_out', a.fan_out)
  -- What was set may be that of a later fan-out, which has begun since.
  if a.early >= 0 then redis.call('HSET', RUN, 'early', a.early) else redis.call('HDEL', RUN, 'early') end
  redis.call('HDEL', RUN, 'absent:' .. a.fan_out, 'began:' .. a.fan_out)
end
for _, each in ipairs(a.lost) do miss(each[1], each[2]) end
local texts, left, tallied = fields_of(OUTCOMES, steps), {}, {}
for at, ref in ipairs(refs) do
  left[ref] = (left[ref] or 0) + 1
  if many(ref) then
    local name = many(ref) .. ' ' .. (texts[at] and outcome_of(texts[at]).status or 'succeeded')
    tallied[name] = (tallied[name] or 0) + 1
  end
end
for ref, count in pairs(left) do redis.call('HINCRBY', LEFT, ref, count) end
for name, count in pairs(tallied) do
  if redis.call('HINCRBY', TALLY, name, -count) <= 0 then redis.call('HDEL', TALLY, name) end
end
if a.fan_out then redis.call('HINCRBY', RUN, 'left:' .. a.fan_out, #steps) end
for _, step in ipairs(a.again) do steps[#steps + 1] = step end
for _, key in ipairs({OUTCOMES, VALUES, ABSENT}) do in_parts('HDEL', key, steps) end
redis.call('DEL', EVENTS, END, OPEN, WAITS, FAILURES, SLOTS, CHORDS)
redis.call('HDEL', RUN, 'finished_at', 'cause', 'waits_for', 'started_at', 'hooks')
for _, name in ipairs(redis.call('HKEYS', RUN)) do
  if string.sub(name, 1, 8) == 'limited:' then redis.call('HDEL', RUN, name) end
end
redis.call('HSET', RUN, 'status', 'pending', 'sent_at', stamp(now), 'resumed_at', stamp(now))
redis.call('HINCRBY', RUN, 'resumes', 1)
event({event = 'resumed'})
local tally = redis.call('HGETALL', TALLY)
for at = 1, #tally, 2 do
  local collector, is = string.match(tally[at], '^(%S+) (%S+)$')
  event({event = 'finished', step = collector, status = is, count = tally[at + 1]})
end
for _, step in ipairs(a.kept) do
  local text = redis.call('HGET', OUTCOMES, step)
  if text then
    local is = outcome_of(text)
    event({event = 'finished', step = step, status = is.status, attempt = is.attempt, worker = is.worker})
  end
end
keep(unpack(ALL))
return 1
"""
)

# Outcomes of a later fan-out of a run that has ended, which begins anew when it is resumed.
FORGET_OUTCOMES = (
    PRELUDE
    + """
if not ended then return 0 end
for _, key in ipairs({OUTCOMES, VALUES, ABSENT}) do in_parts('HDEL', key, a.steps) end
return 1
"""
)

# Then all else that is known of it: it has not begun.
FORGET_FAN_OUT = (
    PRELUDE
    + """
if not ended then return 0 end
local id, own, left, tallied = a.fan_out, {}, {}, {}
for _, collector in ipairs(a.collectors) do own[collector] = true end
for _, ref in ipairs(redis.call('HKEYS', LEFT)) do if own[many(ref) or ref] then left[#left + 1] = ref end end
for _, name in ipairs(redis.call('HKEYS', TALLY)) do
  if own[string.match(name, '^%S+')] then tallied[#tallied + 1] = name end
end
in_parts('HDEL', LEFT, left)
in_parts('HDEL', TALLY, tallied)
local later = {}
for other in string.gmatch(redis.call('HGET', RUN, 'later') or '', '%S+') do if other ~= id then later[#later + 1] = other end end
redis.call('HSET', RUN, 'later', table.concat(later, ' '))
redis.call('HDEL', RUN, 'left:' .. id, 'absent:' .. id, 'began:' .. id, 'deadline:' .. id, 'layout:' .. id, 'stopped:' .. id)
redis.call('DEL', key('items:' .. id))
return 1
"""
)

CANCEL = (
    PRELUDE
    + """
if not status then return false end
if not ended then  -- defence: ENDS_ONCE
  record(a.outcomes, a.later)
  conclude('cancelled', a.cause, a.hooks)
  keep(OUTCOMES, ABSENT)
  status = 'cancelled'
end
return status
"""
)

# Returns the steps that have no outcome, or whose value is missing.
LOST = (
    PRELUDE
    + """
local lost = {}
for _, step in ipairs(a.steps) do
  local text = redis.call('HGET', OUTCOMES, step)
  if not text or (outcome_of(text).valued and redis.call('HEXISTS', VALUES, step) == 0) then lost[#lost + 1] = step end
end
return lost
"""
)

# A run that cannot be read is cancelled: its state is replaced, whatever it was, so that no worker executes
# any of its steps and nobody waits for it. The prelude would fail over it.
BURY = (
    NOW
    + """
local function key(name) return KEYS[1] .. name end
if redis.call('EXISTS', key('run'), key('plan')) == 0 then return false end
now = stamp(now)
local run = {status = 'cancelled', finished_at = now, cause = a.cause, submitted_at = now, workflow = '', hash = '', inputs = '{}'}
if redis.call('TYPE', key('run')).ok == 'hash' then
  run.workflow = redis.call('HGET', key('run'), 'workflow') or ''
  local submitted = redis.call('HGET', key('run'), 'submitted_at')
  if tonumber(submitted or '') then run.submitted_at = submitted end
end
redis.call('DEL', key('run'), key('open'), key('waits'), key('events'), key('end'))
for name, value in pairs(run) do redis.call('HSET', key('run'), name, value) end
redis.call('XADD', key('events'), '*', 'at', now, 'event', 'ended', 'status', 'cancelled', 'message', a.cause)
redis.call('XADD', key('end'), '*', 'status', 'cancelled')
for _, name in ipairs({'run', 'events', 'end'}) do redis.call('EXPIRE', key(name), TTL) end
return 'cancelled'
"""
)

# The commands that send the messages of a chord's header write to queues, which are no keys of the run. They are sent once,
# however often this is asked for; a queue that refuses its message is raised, and the header is not counted then.
EXPECT = (
    PRELUDE
    + """
if redis.call('HEXISTS', CHORDS, a.chord) == 1 then return 0 end
for _, command in ipairs(a.commands) do redis.call(unpack(command)) end
redis.call('HSET', CHORDS, a.chord, a.messages)
if status then keep(CHORDS) else redis.call('EXPIRE', CHORDS, TTL) end
return 1
"""
)

# Returns 1 for the last message of a chord's header.
RETURNED = (
    PRELUDE
    + """
if not status then return 0 end
local last = returned(a.chord, a.message, a.fan_out)
keep(CHORDS)
return last
"""
)

# Of all runs: KEYS[1] is the index of the active ones. One that has been resumed meanwhile has another time since when it is.
RETIRE = """
local a = cjson.decode(ARGV[1])
for _, each in ipairs(a.runs) do
  local since = redis.call('ZSCORE', KEYS[1], each[1])
  if since and tonumber(since) == each[2] then redis.call('ZREM', KEYS[1], each[1]) end
end
"""

# Of all runs: KEYS[1] says which worker reconciles, and until when. Returns 1 if the one that asks is to.
LEAD = (
    NOW
    + """
local until_, who = string.match(redis.call('GET', KEYS[1]) or '', '^(%S+) (.*)$')
if who and who ~= a.who and (tonumber(until_) or 0) > now then return 0 end
redis.call('SET', KEYS[1], stamp(now + a.seconds) .. ' ' .. a.who, 'EX', TTL)
return 1
"""
)
