"""The common beginning of every Lua script of a run: the time, the names of its keys, and the transitions that several scripts make.

A script has one argument, JSON: `RunRecord` says what is in it, and ``a.token`` reads it. Its one key is how the keys of the
run begin, up to and with its slot: thirteen of them in every command were 3 % of the default workflow.

    run       the fields of `Run`; ``hooks``, the ids of those of an ended run that have no outcome; ``fan_out``, the id of the fan-out that is open; and for each fan-out ``left:ID``, how many of
              its collectors have no outcome, ``absent:ID``, how many have one without a value for the gather,
              ``began:ID``, when the first was claimed, and ``deadline:ID``, the seconds that they have from then on; ``early``,
              if the open one ends early, how many may be left or absent then, and ``stopped:ID`` once one has ended so.
              ``limited:ID`` says, of a step that waits for a limit, until when that was told, the limit, and why.
              ``layout`` is that of the first part, ``layout:ID`` that of a later fan-out, and ``later`` the ids of those
              that have begun.
    plan      the plan, as JSON
    items     for each batch of a `foreach` of the first part: its keys and items, as JSON; ``items:ID`` those of a later
              fan-out
    left      for each ref of collectors (itself, or its batch): how many of them have no outcome
    open      for each step that was begun and has no outcome: until, token, attempts, first start, attempts that were lost
              with their workers, ref, worker. It is leased until then; with "-" for a token, it waits until then.
    failures  for each step that was tried again: its attempts that failed, as JSON with a comma after each
    waits     for each ref or step that is parked, or waits for a slot or a limit: since when, when it is checked again; until when
              the limit holds it back, and which
    outcomes  for each step that has ended: a line for the scripts (status, whether its task has ended, whether it has a value,
              attempts, worker), and then text that they only store
    values    for each step that has one: its value, as JSON
    absent    for each collector that has ended and is missing in the fan-in: its ref
    tally     for each collector with `foreach` and status: how many have ended so
    events    the story of the run, a stream
    end       a stream with an entry once the run has ended: it wakes followers that wait for the end alone
    slots     for each step of a collector with `max_concurrency` that was claimed: its collector. It takes a slot of it while it
              is leased: `CLAIM` drops the others
    chords    for each chord that was sent: how many messages of its header have not returned, then "last" and the id of the
              last that has; and until then a field for each message that has
"""

from runner.ledger.clock import TOLERANCE

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
    "slots",
    "chords",
)

# The ledger's time (clock.py): the server's with what is agreed on, unless that has been set since.
NOW = f"""
local a = cjson.decode(ARGV[1])
local TTL = a.ttl
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000 + a.offset
if math.abs(now - a.now) > {TOLERANCE} then now = a.now end  -- defence: EXPECTED
local function stamp(t) return string.format('%.6f', t) end
"""

PRELUDE = (
    NOW
    + """
local function key(name) return KEYS[1] .. name end
local RUN, PLAN, ITEMS, LEFT, OPEN, WAITS = key('run'), key('plan'), key('items'), key('left'), key('open'), key('waits')
local OUTCOMES, VALUES, ABSENT, TALLY = key('outcomes'), key('values'), key('absent'), key('tally')
local EVENTS, END, FAILURES, SLOTS, CHORDS = key('events'), key('end'), key('failures'), key('slots'), key('chords')
local ALL = {RUN, PLAN, ITEMS, LEFT, OPEN, WAITS, OUTCOMES, VALUES, ABSENT, TALLY, EVENTS, END, FAILURES, SLOTS, CHORDS}
local status, hooks = unpack(redis.call('HMGET', RUN, 'status', 'hooks'))
local ended = status == 'succeeded' or status == 'partial' or status == 'failed' or status == 'cancelled'
local hook = ended and hooks and string.match(hooks, '^%S+')  -- the one that is executed now
local function event(fields)
  local flat = {'at', stamp(now)}
  for name, value in pairs(fields) do flat[#flat + 1] = name; flat[#flat + 1] = tostring(value) end
  redis.call('XADD', EVENTS, '*', unpack(flat))
  redis.call('HSET', RUN, 'last_at', stamp(now), 'sent_again', 0)
end
-- The keys that a transition may have made expire as well; the time of all of them restarts when a tenth of it has passed.
local function keep(...)
  local keys = {...}
  if now - tonumber(redis.call('HGET', RUN, 'kept_at') or '0') > TTL / 10 then
    keys = ALL
    redis.call('HSET', RUN, 'kept_at', stamp(now))
    for id in string.gmatch(redis.call('HGET', RUN, 'later') or '', '%S+') do redis.call('EXPIRE', key('items:' .. id), TTL) end
  end
  for _, key in ipairs(keys) do redis.call('EXPIRE', key, TTL) end
end

-- The collector with `foreach` that a ref is a batch of; nil for any other step.
local function many(ref) return string.match(ref, '^(.-)/') end

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

-- A fan-out begins: its collectors may be claimed. It is the one that is open from now on.
local function begin(fan_out)
  local id = fan_out.id
  redis.call('HSET', RUN, 'fan_out', id, 'left:' .. id, fan_out.count, 'deadline:' .. id, fan_out.deadline)
  if fan_out.early >= 0 then redis.call('HSET', RUN, 'early', fan_out.early) else redis.call('HDEL', RUN, 'early') end
  local sizes = {}
  for ref, size in pairs(fan_out.sizes) do sizes[#sizes + 1] = ref; sizes[#sizes + 1] = size end
  in_parts('HSET', LEFT, sizes)
  if redis.call('EXISTS', fan_out.staged) == 1 then redis.call('RENAME', fan_out.staged, key(fan_out.items)) end
end
-- Then its collectors that are skipped: of items only their number is known.
local function skip(fan_out)
  for collector, count in pairs(fan_out.skipped) do
    redis.call('HINCRBY', TALLY, collector .. ' skipped', count)
    event({event = 'finished', step = collector, status = 'skipped', count = count})
  end
end
local function has_begun(id) return redis.call('HEXISTS', RUN, 'left:' .. id) == 1 end

-- A step that was begun.
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

-- A lease begins, or is renewed: until then no other claim is granted.
local function grant(is, token, seconds) is.until_, is.token = now + seconds, token end
-- A lease ends: the step may be claimed, at once or after `seconds`.
local function let_go(is, seconds) is.until_, is.token = seconds and now + seconds or 0, '-' end

-- A step waits for a limit, or collectors of a `foreach` do: an event for each wait, and not for each time that they ask.
local function tell_limited(step, limit, why, seconds)
  local message = why ~= '' and limit .. ': ' .. why or limit
  local told, before = string.match(redis.call('HGET', RUN, 'limited:' .. step) or '', '^(%S+) (.*)$')
  if told and before == message and tonumber(told) > now then return end
  redis.call('HSET', RUN, 'limited:' .. step, stamp(now + math.max(seconds, 1)) .. ' ' .. message)
  event({event = 'limited', step = step, message = message, seconds = seconds})
end

-- A step that has ended.
local function outcome_of(text)
  local is, over, valued, attempt, worker = string.match(text, '^(%S+) (%d) (%d) (%S+) ([^\\n]*)')
  return {status = is, over = over == '1', valued = valued == '1', attempt = attempt, worker = worker}
end
-- The line of all outcomes of a group: they have the same ref, status, attempt and worker.
local function line_of(group, is)
  return table.concat({is, group.over and 1 or 0, group.values and 1 or 0, group.attempt, group.worker}, ' ') .. '\\n'
end

-- A step that answers after the deadline stays late: its outcome and its value are kept.
local function answer(group, at, first)
  local before, step = outcome_of(first), group.steps[at]
  if before.status == 'late' and not before.over and group.over then
    redis.call('HSET', OUTCOMES, step, line_of(group, 'late') .. group.texts[at])
    if group.values then redis.call('HSET', VALUES, step, group.values[at]) end
    redis.call('HDEL', OPEN, step)
    event({event = 'answered', step = step, status = 'late'})
  end
end

-- Whether a fan-out has ended early; '' and nil are none that may.
local function is_stopped(fan_out) return (fan_out or '') ~= '' and redis.call('HEXISTS', RUN, 'stopped:' .. fan_out) == 1 end

-- The open fan-out has enough: what of it has no outcome is not needed. Items get none, as they may be a million.
local function stop(fan_out)
  local left, begun, gone = redis.call('HGETALL', LEFT), redis.call('HGETALL', OPEN), {}
  redis.call('HSET', RUN, 'stopped:' .. fan_out, stamp(now), 'left:' .. fan_out, 0)
  redis.call('HDEL', RUN, 'early')
  local counts = {}
  for at = 1, #left, 2 do
    local ref, collector = left[at], many(left[at])
    if collector then counts[collector] = (counts[collector] or 0) + tonumber(left[at + 1])
    else
      redis.call('HSET', OUTCOMES, ref, 'not_needed 0 0 0 \\n[null,null,null]')
      event({event = 'finished', step = ref, status = 'not_needed', attempt = 0})
    end
  end
  for collector, count in pairs(counts) do
    redis.call('HINCRBY', TALLY, collector .. ' not_needed', count)
    event({event = 'finished', step = collector, status = 'not_needed', count = count})
  end
  for at = 1, #begun, 2 do
    if read(begun[at + 1]).ref ~= '' then gone[#gone + 1] = begun[at] end
  end
  in_parts('HDEL', OPEN, gone)
  redis.call('DEL', LEFT, SLOTS)
end

-- Record outcomes: of every step the first. Returns the steps that were recorded. A collector of a later fan-out that has not
-- begun gets an outcome when the run ends before it, and is counted nowhere: `later` has the id of its fan-out.
local function record(groups, later)
  local names, recorded, new = {}, {}, {}
  local outcomes, values, absent, finished, counted, order = {}, {}, {}, {}, {}, {}
  for _, group in ipairs(groups) do
    for _, step in ipairs(group.steps) do names[#names + 1] = step end
  end
  local firsts, place = fields_of(OUTCOMES, names), 0
  for _, group in ipairs(groups) do
    local ref, line, collector = group.ref, line_of(group, group.status), many(group.ref)
    if later and later[ref] and not has_begun(later[ref]) then ref = '' end
    local name = collector and collector .. ' ' .. group.status
    for at, step in ipairs(group.steps) do
      place = place + 1
      local first = firsts[place]
      if first or new[step] then  -- defence: FIRST
        if first then answer(group, at, first) end
      else
        new[step] = true
        recorded[#recorded + 1] = step
        outcomes[#outcomes + 1] = step
        outcomes[#outcomes + 1] = line .. group.texts[at]
        if group.values then
          values[#values + 1] = step
          values[#values + 1] = group.values[at]
        end
        if ref ~= '' then
          finished[ref] = (finished[ref] or 0) + 1
          if not group.passes then
            absent[#absent + 1] = step
            absent[#absent + 1] = ref
          end
        end
        if name and counted[name] then counted[name].count = counted[name].count + 1
        else
          local message = group.messages and group.messages[at] or ''
          local fields = {event = 'finished', step = step, status = group.status, worker = group.worker, message = message}
          if name then
            fields.step, fields.count = collector, 1
            if message ~= '' then fields.message = step .. ': ' .. message end
            counted[name] = fields
            order[#order + 1] = name
          else
            fields.attempt = group.attempt
            event(fields)
          end
        end
      end
    end
  end
  in_parts('HSET', OUTCOMES, outcomes)
  in_parts('HSET', VALUES, values)
  in_parts('HDEL', OPEN, recorded)
  in_parts('HSET', ABSENT, absent)
  local total, enough = 0, false
  for ref, count in pairs(finished) do
    -- One whose outcome was lost is counted as ended already.
    local before = tonumber(redis.call('HGET', LEFT, ref) or '0')
    total = total + math.min(count, before)
    if before <= count then redis.call('HDEL', LEFT, ref) else redis.call('HINCRBY', LEFT, ref, -count) end
  end
  if next(finished) then
    local fan_out, early = unpack(redis.call('HMGET', RUN, 'fan_out', 'early'))
    enough = early and fan_out
    if total > 0 then redis.call('HINCRBY', RUN, 'left:' .. fan_out, -total) end
    if #absent > 0 then redis.call('HINCRBY', RUN, 'absent:' .. fan_out, #absent / 2) end
  end
  for _, name in ipairs(order) do
    redis.call('HINCRBY', TALLY, name, counted[name].count)
    event(counted[name])
  end
  if enough then  -- if not too many of it are left, or absent
    local counts = redis.call('HMGET', RUN, 'left:' .. enough, 'absent:' .. enough, 'early')
    if tonumber(counts[1]) + tonumber(counts[2] or '0') <= tonumber(counts[3]) then stop(enough) end
  end
  return recorded
end

-- The run ends, in any state; its hooks follow.
local function conclude(final, cause, ids)
  redis.call('HSET', RUN, 'status', final, 'finished_at', stamp(now), 'cause', cause)
  redis.call('DEL', OPEN, WAITS, SLOTS)
  if ids and #ids > 0 then redis.call('HSET', RUN, 'hooks', table.concat(ids, ' ')) end
  event({event = 'ended', status = final, message = cause, hooks = ids and #ids or 0})
  redis.call('XADD', END, '*', 'status', final)
  redis.call('EXPIRE', END, TTL)
end

-- A hook has ended: the next one may be claimed, and after the last the run is at rest.
local function go_on()
  local rest = string.match(hooks, '^%S+%s+(.+)$')
  if rest then redis.call('HSET', RUN, 'hooks', rest) else
    redis.call('HDEL', RUN, 'hooks')
    event({event = 'settled'})
  end
end

-- Whether all collectors of a fan-out have ended, and nobody has begun its gather.
local function is_over(fan_out)
  return fan_out ~= '' and tonumber(redis.call('HGET', RUN, 'left:' .. fan_out) or '0') == 0
    and redis.call('HEXISTS', OPEN, fan_out) == 0 and redis.call('HEXISTS', OUTCOMES, fan_out) == 0
end

-- Note that a message of a chord's header has been executed; whether it was the last. For the last the answer is the same each
-- time: its worker may have been killed before it sent the next message. If a fan-out is given, one that returns when that is
-- over is the last, too: other messages may wait, and have nothing left to execute.
local function returned(chord, message, fan_out)
  local left = redis.call('HGET', CHORDS, chord)
  if not left then return 0 end
  if not tonumber(left) then return left == 'last ' .. message and 1 or 0 end
  if redis.call('HSETNX', CHORDS, chord .. ' ' .. message, 1) == 0 then return 0 end
  if redis.call('HINCRBY', CHORDS, chord, -1) > 0 and not is_over(fan_out) then return 0 end
  for _, field in ipairs(redis.call('HKEYS', CHORDS)) do
    if string.sub(field, 1, #chord + 1) == chord .. ' ' then redis.call('HDEL', CHORDS, field) end
  end
  redis.call('HSET', CHORDS, chord, 'last ' .. message)
  return 1
end
"""
)
