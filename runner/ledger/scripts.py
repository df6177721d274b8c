"""What changes the ledger: Lua scripts, each atomic and one round trip.

Of every outcome the first write wins, so messages may be delivered as often as they like. The work is done for many
steps at once, and told in one event for all of a batch: a hundred thousand collectors are as many steps, and a few hundred
messages.
"""

from runner.ledger.clock import TOLERANCE

# Every script is given how the keys of the run begin, up to and with its slot: twelve of them in every command were 3 % of
# the default workflow. ARGV[1] is the time to live in seconds, how many are added to the server's time, and what time it is
# by the caller's clock (clock.py).
#
#   run       what `Run` tells, and `collectors_left`: how many have no outcome
#   plan      the plan, as JSON
#   items     for each batch of a `foreach`: its keys and items, as JSON
#   left      for each ref of collectors (itself, or its batch): how many of them have no outcome
#   open      for each step that was begun and has no outcome: until, token, attempts, first start, attempts that were lost
#             with their workers, ref, worker. It is leased until then; with "-" for a token, postponed until then.
#   failures  for each step that was tried again: its attempts that failed, as JSON with a comma after each
#   waits     for each ref or step that no worker has the task of: since when, and until when somebody looks again
#   outcomes  for each step that has ended: how, as JSON that begins with the status
#   values    for each step that has one: its value, as JSON
#   absent    for each collector that has ended without success: its ref
#   tally     for each collector with `foreach` and status: how many have ended so
#   events    the story of the run, a stream
#   end       a stream with an entry once the run has ended: it wakes who waits for that alone
#   chords    for each chord that was sent: how many messages of its header have not returned, then "last" and the id of the
#             last that has; and until then a field for each message that has

# The names of a run's keys.
KEYS = (
    "run",
    "plan",
    "items",
    "left",
    "open",
    "waits",
    "outcomes",
    "values",
    "absent",
    "tally",
    "events",
    "end",
    "failures",
    "chords",
)

# The ledger's time (clock.py): the server's with what is agreed on, unless that has been set since.
_NOW = f"""
local TTL, offset, expected = string.match(ARGV[1], '^(%S+) (%S+) (%S+)$')
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000 + tonumber(offset)
if math.abs(now - tonumber(expected)) > {TOLERANCE} then now = tonumber(expected) end  -- defence: EXPECTED
"""

_PRELUDE = (
    _NOW
    + """
local function key(name) return KEYS[1] .. name end
local RUN, PLAN, ITEMS, LEFT, OPEN, WAITS = key('run'), key('plan'), key('items'), key('left'), key('open'), key('waits')
local OUTCOMES, VALUES, ABSENT, TALLY = key('outcomes'), key('values'), key('absent'), key('tally')
local EVENTS, END, FAILURES, CHORDS = key('events'), key('end'), key('failures'), key('chords')
local ALL = {RUN, PLAN, ITEMS, LEFT, OPEN, WAITS, OUTCOMES, VALUES, ABSENT, TALLY, EVENTS, END, FAILURES, CHORDS}
local status = redis.call('HGET', RUN, 'status')
local ended = status == 'succeeded' or status == 'partial' or status == 'failed' or status == 'cancelled'
local function stamp(t) return string.format('%.6f', t) end
local function event(fields)
  local flat = {'at', stamp(now)}
  for name, value in pairs(fields) do flat[#flat + 1] = name; flat[#flat + 1] = tostring(value) end
  redis.call('XADD', EVENTS, '*', unpack(flat))
  redis.call('HSET', RUN, 'last_at', stamp(now), 'sent_again', 0)
end
-- The keys that a transition may have made expire as well; all of them begin anew when a tenth of their time has passed.
local function keep(...)
  local keys = {...}
  if now - tonumber(redis.call('HGET', RUN, 'kept_at') or '0') > TTL / 10 then
    keys = ALL
    redis.call('HSET', RUN, 'kept_at', stamp(now))
  end
  for _, key in ipairs(keys) do redis.call('EXPIRE', key, TTL) end
end

-- The collector with `foreach` that a ref is a batch of; nil for any other step.
local function many(ref) return string.match(ref, '^(.-)/') end

local function read(text)
  if not text then return {until_ = 0, token = '-', attempt = 0, first = stamp(now), lost = 0, ref = '', worker = ''} end
  local until_, token, attempt, first, lost, ref, worker = string.match(text, '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S*) (.*)$')
  return {until_ = tonumber(until_), token = token, attempt = tonumber(attempt), first = first, lost = tonumber(lost),
          ref = ref, worker = worker}
end
local function written(is)
  local numbers = string.format('%.6f %s %d %s %d', is.until_, is.token, is.attempt, is.first, is.lost)
  return numbers .. ' ' .. is.ref .. ' ' .. is.worker
end
local function opened(step) return read(redis.call('HGET', OPEN, step)) end
local function open(step, is) redis.call('HSET', OPEN, step, written(is)) end

-- One command for many fields: of a thousand steps each would be a command in the server's log, too. Lua can unpack no
-- more than some thousand values at once.
local function in_parts(command, key, flat)
  for from = 1, #flat, 1000 do redis.call(command, key, unpack(flat, from, math.min(from + 999, #flat))) end
end
local function fields_of(key, names)
  local found = {}
  for from = 1, #names, 1000 do
    local some = redis.call('HMGET', key, unpack(names, from, math.min(from + 999, #names)))
    for at = 1, #some do found[from + at - 1] = some[at] end
  end
  return found
end

-- What `finish` has noted, until `told` writes it down at once.
local new, outcomes, values, gone, absent, finished, told_of = {}, {}, {}, {}, {}, {}, {}
local function answered(step, first, outcome, value)
  -- What answers after the deadline stays late: how it went is kept, and its value.
  local function over(text) return cjson.decode(text)[4] ~= cjson.null end
  if string.find(first, '^%["late"') and over(outcome) and not over(first) then
    redis.call('HSET', OUTCOMES, step, (string.gsub(outcome, '^%["[a-z_]+"', '["late"', 1)))
    if value ~= '' then redis.call('HSET', VALUES, step, value) end
    redis.call('HDEL', OPEN, step)
    event({event = 'answered', step = step, status = 'late'})
  end
end
-- `first` is the outcome that the step has, if it has one.
local function finish(step, ref, outcome, value, first)
  if first or new[step] then  -- defence: FIRST
    if first then answered(step, first, outcome, value) end
    return false
  end
  new[step] = true
  outcomes[#outcomes + 1] = step
  outcomes[#outcomes + 1] = outcome
  if value ~= '' then
    values[#values + 1] = step
    values[#values + 1] = value
  end
  gone[#gone + 1] = step
  local is = string.match(outcome, '^%["([a-z_]+)"')
  if ref ~= '' then
    finished[ref] = (finished[ref] or 0) + 1
    if is ~= 'succeeded' then
      absent[#absent + 1] = step
      absent[#absent + 1] = ref
    end
  end
  local collector = many(ref)
  if collector and told_of[collector .. ' ' .. is] then
    told_of[collector .. ' ' .. is].count = told_of[collector .. ' ' .. is].count + 1
    return true
  end
  local told = cjson.decode(outcome)
  local message = type(told[6]) == 'table' and told[6][1] .. ': ' .. told[6][2] or ''
  if collector then
    if message ~= '' then message = step .. ': ' .. message end
    told_of[collector .. ' ' .. is] =
      {event = 'finished', step = collector, status = is, count = 1, worker = told[5], message = message}
  else
    event({event = 'finished', step = step, status = is, attempt = told[2], worker = told[5], message = message})
  end
  return true
end
local function told()
  in_parts('HSET', OUTCOMES, outcomes)
  in_parts('HSET', VALUES, values)
  in_parts('HDEL', OPEN, gone)
  in_parts('HSET', ABSENT, absent)
  local total = 0
  for ref, count in pairs(finished) do
    -- One whose outcome was lost is counted as ended already.
    local before = tonumber(redis.call('HGET', LEFT, ref) or '0')
    total = total + math.min(count, before)
    if before <= count then redis.call('HDEL', LEFT, ref) else redis.call('HINCRBY', LEFT, ref, -count) end
  end
  if total > 0 then redis.call('HINCRBY', RUN, 'collectors_left', -total) end
  for name, fields in pairs(told_of) do
    redis.call('HINCRBY', TALLY, name, fields.count)
    event(fields)
  end
end
-- Finish all of {{step, ref, outcome, value}, …}; answers which were the first of their step.
local function finish_all(steps)
  local names, recorded = {}, {}
  for at, each in ipairs(steps) do names[at] = each[1] end
  local firsts = fields_of(OUTCOMES, names)
  for at, each in ipairs(steps) do
    if finish(each[1], each[2], each[3], each[4], firsts[at]) then recorded[#recorded + 1] = each[1] end
  end
  told()
  return recorded
end
local function finish_run(final, cause)
  redis.call('HSET', RUN, 'status', final, 'finished_at', stamp(now), 'cause', cause)
  redis.call('DEL', OPEN, WAITS)
  event({event = 'ended', status = final, message = cause})
  redis.call('XADD', END, '*', 'status', final)
  redis.call('EXPIRE', END, TTL)
end
"""
)

# Note that a message of a chord's header has been executed; whether it was the last. The last is told so each time that it
# asks: its worker may have been killed before it sent what follows.
_RETURNED = """
local function returned(chord, message)
  local left = redis.call('HGET', CHORDS, chord)
  if not left then return 0 end
  if not tonumber(left) then return left == 'last ' .. message and 1 or 0 end
  if redis.call('HSETNX', CHORDS, chord .. ' ' .. message, 1) == 0 then return 0 end
  if redis.call('HINCRBY', CHORDS, chord, -1) > 0 then return 0 end
  for _, field in ipairs(redis.call('HKEYS', CHORDS)) do
    if string.sub(field, 1, #chord + 1) == chord .. ' ' then redis.call('HDEL', CHORDS, field) end
  end
  redis.call('HSET', CHORDS, chord, 'last ' .. message)
  return 1
end
"""

# ARGV: ttl, plan, where the items are, how many fields and values follow, those of the run, how many refs and numbers of
# collectors follow, those, then as JSON what is taken from another run: id, ref, outcome, value of each step. The same
# id again changes nothing.
ACCEPT = (
    _PRELUDE
    + """
-- Whoever accepted it asks again when the answer was lost: the first field is their token.
if status then return redis.call('HGET', RUN, 'token') == ARGV[6] and stamp(now) or 0 end
local fields = tonumber(ARGV[4])
local refs = tonumber(ARGV[5 + fields])
redis.call('SET', PLAN, ARGV[2])
if redis.call('EXISTS', ARGV[3]) == 1 then redis.call('RENAME', ARGV[3], ITEMS) end
redis.call('HSET', RUN, 'status', 'pending', 'submitted_at', stamp(now), unpack(ARGV, 5, 4 + fields))
local at = 6 + fields
for ref = at, at + refs - 1, 2 do redis.call('HSET', LEFT, ARGV[ref], ARGV[ref + 1]) end
event({event = 'accepted'})
finish_all(cjson.decode(ARGV[at + refs]))
keep(unpack(ALL))
return stamp(now)
"""
)

# ARGV: ttl, token, lease, worker, whether steps may be given that are to be executed alone, then as JSON for each ref:
# itself, what its steps need ('' nothing, '*' every collector, or a step id), the steps. The token is the claimer's own:
# a claim that is sent again because its answer was lost is answered as the first time, and counts no attempt. Answers the
# time, when the run began, a letter for each step, what there is to say of some of them, of the gather or a stage what
# it works on (how many collectors are absent and how many outcomes there are, or the value before), and the values of the
# steps that a gather names beside its own.
CLAIM = (
    _PRELUDE
    + """
local token, lease, worker, alone = ARGV[2], ARGV[3], ARGV[4], ARGV[5] == '1'
local letters, more, started, opening, before, handed = {}, {}, {}, {}, '', {}
local given, last = 0, false
local ready = {}
local function is_ready(needs)
  if ready[needs] == nil then
    if needs == '' then ready[needs] = true
    elseif needs == '*' then ready[needs] = tonumber(redis.call('HGET', RUN, 'collectors_left') or '0') == 0
    else ready[needs] = redis.call('HEXISTS', OUTCOMES, needs) == 1 end
  end
  return ready[needs]
end
local function claim(step, ref, needs, outcome, begun)
  if not status then return 'u' end
  if outcome then return 'd' end  -- defence: DONE
  if ended then return 'c' end  -- defence: ENDED
  if not is_ready(needs) then return 'n' end
  local is = read(begun)
  if is.token ~= token then
    if is.until_ > now then  -- defence: BUSY
      more[#more + 1] = stamp(is.until_ - now)
      return 'b'
    end
    -- A lease that has run out was held by a worker that is lost: it neither finished the step nor postponed it. What
    -- was lost twice, with others perhaps, is executed alone, so that none is blamed for another.
    local lost = is.lost + (is.token ~= '-' and 1 or 0)
    if last or (lost >= 2 and not (alone and given == 0)) then return 'l' end  -- defence: ALONE
    last = lost >= 2
    is = {until_ = now + lease, token = token, attempt = is.attempt + 1, first = is.first, lost = lost, ref = ref, worker = worker}
    opening[#opening + 1] = step
    opening[#opening + 1] = written(is)
    local collector = many(ref)
    if collector then started[collector] = (started[collector] or 0) + 1
    else event({event = 'started', step = step, attempt = is.attempt, worker = worker}) end
  end
  given = given + 1
  if is.attempt == 1 and is.lost == 0 then return 'y' end
  more[#more + 1] = is.attempt .. ' ' .. is.first .. ' ' .. is.lost
  return 'Y'
end
for _, wanted in ipairs(cjson.decode(ARGV[6])) do
  local ref, needs, steps = wanted[1], wanted[2], wanted[3]
  local done, begun = fields_of(OUTCOMES, steps), fields_of(OPEN, steps)
  for at, step in ipairs(steps) do letters[#letters + 1] = claim(step, ref, needs, done[at], begun[at]) end
  if given > 0 then redis.call('HDEL', WAITS, ref ~= '' and ref or steps[1]) end
  if given > 0 and needs == '*' then
    before = redis.call('HLEN', ABSENT) .. ' ' .. redis.call('HLEN', OUTCOMES)
    if #wanted[4] > 0 then handed = redis.call('HMGET', VALUES, unpack(wanted[4])) end
  elseif given > 0 and needs ~= '' then before = redis.call('HGET', VALUES, needs) or '' end
end
in_parts('HSET', OPEN, opening)
for collector, count in pairs(started) do event({event = 'started', step = collector, count = count, worker = worker}) end
if given > 0 and status == 'pending' then
  redis.call('HSET', RUN, 'status', 'running', 'started_at', stamp(now))
end
if given > 0 then redis.call('HDEL', RUN, 'waits_for') end
if status then keep(OPEN) end
return {stamp(now), redis.call('HGET', RUN, 'started_at') or stamp(now), table.concat(letters), more, before, handed}
"""
)

# ARGV: ttl, token, lease, then step ids. Answers which are still this claimer's to work on.
RENEW = (
    _PRELUDE
    + """
local kept = {}
for at = 4, #ARGV do
  local is = opened(ARGV[at])
  if not ended and is.token == ARGV[2] then
    is.until_ = now + ARGV[3]
    open(ARGV[at], is)
    kept[#kept + 1] = ARGV[at]
  end
end
if #kept > 0 then keep() end
return kept
"""
)

# ARGV: ttl, token, then step ids. What was claimed with this token and not begun is as it was before.
GIVE_BACK = (
    _PRELUDE
    + """
for at = 3, #ARGV do
  local is = opened(ARGV[at])
  if is.token == ARGV[2] then
    is.attempt = is.attempt - 1
    is.until_, is.token = 0, '-'
    if is.attempt == 0 then redis.call('HDEL', OPEN, ARGV[at]) else open(ARGV[at], is) end
  end
end
return 1
"""
)

# ARGV: ttl, how the run ends ('' if it goes on), the cause, as JSON for each step: id, ref, outcome, value, then what follows
# the message of these steps, if the ledger is to do it: the chord that it returns to and its id, or the commands that send
# the next message. Answers as JSON which of the outcomes were the first, whether what follows is done, and whether the message
# was the last of its chord.
FINISH = (
    _PRELUDE
    + _RETURNED
    + """
if not status then return {'[]', 0, 0} end
local steps = cjson.decode(ARGV[4])
if ended then  -- defence: NOT_AFTER_THE_END
  for _, each in ipairs(steps) do
    local first = redis.call('HGET', OUTCOMES, each[1])
    if first then answered(each[1], first, each[3], each[4]) end
  end
  return {'[]', 0, 0}
end
local recorded, done, last = finish_all(steps), 0, 0
if ARGV[2] ~= '' then finish_run(ARGV[2], ARGV[3]) end
local follows = ARGV[5] ~= '' and cjson.decode(ARGV[5])
if follows and follows.chord ~= '' then
  done, last = 1, returned(follows.chord, follows.message)
elseif follows and #recorded > 0 then
  -- Not where there was an outcome: its message is sent with that, and not a second time if only the answer was lost.
  for _, command in ipairs(follows.commands) do
    redis.call(unpack(command))
    done = 1
  end
end
keep(OUTCOMES, VALUES, ABSENT, TALLY, CHORDS)
return {#recorded > 0 and cjson.encode(recorded) or '[]', done, last}
"""
)

# ARGV: ttl, then for each step: id, seconds to wait, the error's text, the attempt that failed. Answers which are
# waiting now.
POSTPONE = (
    _PRELUDE
    + """
local postponed, told_of = {}, {}
if not status or ended then return postponed end
for at = 2, #ARGV, 5 do
  local step = ARGV[at]
  if redis.call('HEXISTS', OUTCOMES, step) == 0 then
    local is = opened(step)
    is.until_, is.token = now + ARGV[at + 1], '-'
    open(step, is)
    redis.call('HSET', FAILURES, step, (redis.call('HGET', FAILURES, step) or '') .. ARGV[at + 4] .. ',')
    postponed[#postponed + 1] = step
    local collector = many(is.ref)
    local fields = {event = 'postponed', step = step, attempt = ARGV[at + 3], message = ARGV[at + 2], seconds = ARGV[at + 1]}
    if not collector then event(fields)
    elseif told_of[collector] then told_of[collector].count = told_of[collector].count + 1
    else
      fields.step, fields.count, fields.message = collector, 1, step .. ': ' .. fields.message
      told_of[collector] = fields
    end
  end
end
for _, fields in pairs(told_of) do event(fields) end
keep(OPEN, FAILURES)
return postponed
"""
)

# ARGV: ttl, the worker whose process died, then refs and step ids. The leases on their steps end now. Answers, for each
# that it held, the step, its attempts, how many of them were lost, and when the first and the last began. If it held
# several, nobody knows of which it died: they count as lost with their worker.
RELEASE = (
    _PRELUDE
    + """
local wanted, released = {}, {}
for at = 3, #ARGV do wanted[ARGV[at]] = true end
local all = redis.call('HGETALL', OPEN)
for at = 1, #all, 2 do
  local step = all[at]
  local is = opened(step)
  if is.worker == ARGV[2] and is.token ~= '-' and (wanted[step] or wanted[is.ref]) then
    released[#released + 1] = {step, tostring(is.attempt), tostring(is.lost), is.first, stamp(now)}
  end
end
for _, each in ipairs(released) do
  local is = opened(each[1])
  is.until_, is.token = 0, '-'
  if #released > 1 then is.lost = is.lost + 1 end
  open(each[1], is)
end
return released
"""
)

# ARGV: ttl, grace. What has gone wrong in a run, as far as its ledger shows: 'ended' alone, or the run's state, the
# refs and steps whose worker is lost, those whose next attempt is overdue, those that somebody holds, whether the run
# has been silent (for the grace, doubled each time that it was sent again since the last event), how many collectors have
# no outcome, the seconds until their deadline ('inf' without one), and, if it has been silent, the refs they belong to.
SWEEP = (
    _PRELUDE
    + """
if not status then return {'unknown'} end
if ended then return {'ended'} end
local run = {}
local fields = {'last_at', 'sent_at', 'sent_again', 'started_at', 'collectors_left', 'deadline'}
for at, text in ipairs(redis.call('HMGET', RUN, unpack(fields))) do run[fields[at]] = tonumber(text or '0') end
local wait = ARGV[2] * 2 ^ math.min(run.sent_again, 10)
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
    if is.until_ + ARGV[2] < now and again then overdue[name] = 1 else held[name] = 1 end
  end
end
local waits = redis.call('HGETALL', WAITS)
for at = 1, #waits, 2 do
  local until_ = tonumber(string.match(waits[at + 1], '%S+$'))
  if until_ + ARGV[2] < now and again then overdue[waits[at]] = 1 else held[waits[at]] = 1 end
end
local function names(set)
  local list = {}
  for name in pairs(set) do list[#list + 1] = name end
  return list
end
local silent = now - math.max(run.last_at, run.sent_at) >= wait
local left = 'inf'
if run.deadline > 0 and run.collectors_left > 0 then
  left = stamp(run.deadline - (run.started_at > 0 and now - run.started_at or 0))
end
local idle = silent and redis.call('HKEYS', LEFT) or {}
return {status, names(lost), names(overdue), names(held), silent and 1 or 0, run.collectors_left, left, idle}
"""
)

# ARGV: ttl. The run, or a part of it, is sent again.
SENT_AGAIN = (
    _PRELUDE
    + """
if status and not ended then
  redis.call('HSET', RUN, 'sent_at', stamp(now))
  return redis.call('HINCRBY', RUN, 'sent_again', 1)
end
return 0
"""
)

# ARGV: ttl, the reason why a ref or step waits, its name, seconds until somebody looks again, seconds that it may wait in
# all, whether it begins to wait now. Answers 1 if it waits, 0 if it has waited long enough, and nothing if it has ended.
# An event only when it begins, and for another reason than the one before. Until it is looked at again it counts as
# held: it is not lost, and others of the run may be.
WAIT = (
    _PRELUDE
    + """
local name = ARGV[3]
if not status or ended or redis.call('HEXISTS', OUTCOMES, name) == 1 then return false end
if tonumber(opened(name).until_) > now then return 1 end
local before = ARGV[6] == '0' and redis.call('HGET', WAITS, name)
local since = before and tonumber(string.match(before, '^%S+')) or now
if now - since >= tonumber(ARGV[5]) then return 0 end
redis.call('HSET', WAITS, name, stamp(since) .. ' ' .. stamp(now + ARGV[4]))
if redis.call('HGET', RUN, 'waits_for') ~= ARGV[2] then
  redis.call('HSET', RUN, 'waits_for', ARGV[2])
  if not before then event({event = 'waiting', message = ARGV[2]}) end
end
keep(WAITS)
return 1
"""
)

# ARGV: ttl, whether collectors that ended without success are executed again, as JSON the id and the ref of each collector
# of which something is lost, how many other steps are executed again, those, then the steps that are kept and not told by
# the tally. The story of the run, which has ended, begins anew.
REOPEN = (
    _PRELUDE
    + """
if not ended then return 0 end
local function forget(step)
  redis.call('HDEL', OUTCOMES, step)
  redis.call('HDEL', VALUES, step)
end
if ARGV[2] == '1' then
  local absent = redis.call('HGETALL', ABSENT)
  for at = 1, #absent, 2 do
    forget(absent[at])
    redis.call('HINCRBY', LEFT, absent[at + 1], 1)
  end
  redis.call('HINCRBY', RUN, 'collectors_left', #absent / 2)
  redis.call('DEL', ABSENT)
  for _, name in ipairs(redis.call('HKEYS', TALLY)) do
    if not string.find(name, ' succeeded$') then redis.call('HDEL', TALLY, name) end
  end
end
for _, each in ipairs(cjson.decode(ARGV[3])) do
  local step, ref = each[1], each[2]
  forget(step)
  redis.call('HINCRBY', LEFT, ref, 1)
  redis.call('HINCRBY', RUN, 'collectors_left', 1)
  if many(ref) then redis.call('HINCRBY', TALLY, many(ref) .. ' succeeded', -1) end
end
local again = tonumber(ARGV[4])
for at = 5, 4 + again do forget(ARGV[at]) end
redis.call('DEL', EVENTS, END, OPEN, WAITS, FAILURES, CHORDS)
redis.call('HDEL', RUN, 'finished_at', 'cause', 'waits_for', 'started_at')
redis.call('HSET', RUN, 'status', 'pending', 'sent_at', stamp(now), 'resumed_at', stamp(now))
event({event = 'resumed'})
local tally = redis.call('HGETALL', TALLY)
for at = 1, #tally, 2 do
  local collector, is = string.match(tally[at], '^(%S+) (%S+)$')
  event({event = 'finished', step = collector, status = is, count = tally[at + 1]})
end
for at = 5 + again, #ARGV do
  local outcome = redis.call('HGET', OUTCOMES, ARGV[at])
  if outcome then
    local told = cjson.decode(outcome)
    event({event = 'finished', step = ARGV[at], status = told[1], attempt = told[2], worker = told[5]})
  end
end
keep(unpack(ALL))
return 1
"""
)

# ARGV: ttl, the cause, then as JSON for each step its id, ref, outcome and value, if it has no outcome yet.
CANCEL = (
    _PRELUDE
    + """
if not status then return false end
if not ended then  -- defence: ENDS_ONCE
  finish_all(cjson.decode(ARGV[3]))
  finish_run('cancelled', ARGV[2])
  keep(OUTCOMES, ABSENT)
  status = 'cancelled'
end
return status
"""
)

# KEYS: the index of the active runs. ARGV: runs that have ended, each with the time since when it was active; one that has
# been resumed meanwhile has another.
RETIRE = """
for at = 1, #ARGV, 2 do
  local since = redis.call('ZSCORE', KEYS[1], ARGV[at])
  if since and tonumber(since) == tonumber(ARGV[at + 1]) then redis.call('ZREM', KEYS[1], ARGV[at]) end
end
"""

# ARGV: ttl, then step ids. Answers those that have no outcome, or have succeeded and have no value any more.
LOST = (
    _PRELUDE
    + """
local lost = {}
for at = 2, #ARGV do
  local outcome = redis.call('HGET', OUTCOMES, ARGV[at])
  local succeeded = outcome and string.find(outcome, '^%["succeeded"')
  if not outcome or (succeeded and redis.call('HEXISTS', VALUES, ARGV[at]) == 0) then lost[#lost + 1] = ARGV[at] end
end
return lost
"""
)

# ARGV: ttl, the cause. A run that cannot be read is cancelled: whatever stands where its state belongs is replaced, so that
# no worker executes anything of it and nobody waits for it. The prelude would fail over it.
BURY = (
    _NOW
    + """
local function key(name) return KEYS[1] .. name end
if redis.call('EXISTS', key('run'), key('plan')) == 0 then return false end
now = string.format('%.6f', now)
local run = {status = 'cancelled', finished_at = now, cause = ARGV[2], submitted_at = now, workflow = '', hash = '', inputs = '{}'}
if redis.call('TYPE', key('run')).ok == 'hash' then
  run.workflow = redis.call('HGET', key('run'), 'workflow') or ''
  local submitted = redis.call('HGET', key('run'), 'submitted_at')
  if tonumber(submitted or '') then run.submitted_at = submitted end
end
redis.call('DEL', key('run'), key('open'), key('waits'), key('events'), key('end'))
for name, value in pairs(run) do redis.call('HSET', key('run'), name, value) end
redis.call('XADD', key('events'), '*', 'at', now, 'event', 'ended', 'status', 'cancelled', 'message', ARGV[2])
redis.call('XADD', key('end'), '*', 'status', 'cancelled')
for _, name in ipairs({'run', 'events', 'end'}) do redis.call('EXPIRE', key(name), TTL) end
return 'cancelled'
"""
)

# KEYS: which worker reconciles, and until when. ARGV: ttl, who would, for how many seconds. Returns 1 if it is to.
LEAD = (
    _NOW
    + """
local until_, who = string.match(redis.call('GET', KEYS[1]) or '', '^(%S+) (.*)$')
if who and who ~= ARGV[2] and (tonumber(until_) or 0) > now then return 0 end
redis.call('SET', KEYS[1], string.format('%.6f', now + ARGV[3]) .. ' ' .. ARGV[2], 'EX', TTL)
return 1
"""
)

# ARGV: ttl, a chord, how many messages its header has, then the commands that send them: of each how many words it has, and
# those. They write to queues, which are no keys of the run; all of them are sent, or none.
EXPECT = (
    _PRELUDE
    + """
if redis.call('HEXISTS', CHORDS, ARGV[2]) == 1 then return 0 end
local at = 4
while at <= #ARGV do
  local words = tonumber(ARGV[at])
  redis.call(unpack(ARGV, at + 1, at + words))
  at = at + words + 1
end
redis.call('HSET', CHORDS, ARGV[2], ARGV[3])
if status then keep(CHORDS) else redis.call('EXPIRE', CHORDS, TTL) end
return 1
"""
)

# ARGV: ttl, a chord, the id of a message of its header that has been executed. Returns 1 for the last of them.
RETURNED = (
    _PRELUDE
    + _RETURNED
    + """
if not status then return 0 end
local last = returned(ARGV[2], ARGV[3])
keep(CHORDS)
return last
"""
)
