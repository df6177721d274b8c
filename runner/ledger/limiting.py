"""The part of the script CLAIM that asks the limits: each is shared by all runs, and says when a step of any may start.

The keys of a limit belong to no run. ``limit:NAME`` is a hash, ``limit:NAME=KEY`` that of one value of its ``key``:

    tat         for each rate, when the next start would be due if they were spread evenly; of an operator's rates, ``tat_set``
    closed      until when nothing starts; with ``why``, and with ``since``, when the first of a row of errors closed it
    probe       the step that tries alone after that time: its key of ``open``, the step, the token
    failures    final failures in a row
    paused      until when an operator has closed it; of the name, for all of its values
    set         an operator's figures, as JSON; of the name
    figures     those of the file whose step was the last to start, as JSON, and ``started``, when that was

``limit-held:…`` has a field for each step that may take a slot of it (its key of ``open``, and the step), with its token. It
takes one while it is leased to that token, so nothing has to give a slot back, and a worker that is killed frees it with the
lease. ``limit-runs:…`` has the runs that wait: when a step of each started last, and until when its messages are to ask again. ``limits`` has them all, with the time of the last start.

A rate is the Generic Cell Rate Algorithm (ITU-T I.371, in the form of "virtual scheduling"): in any window of its length at
most ``starts + burst - 1`` steps start.
"""

LIMITING = """
local TURN = 1  -- seconds for which a run may take all slots while others wait; then it leaves one to the run that has waited longest
local GRACE = 0.5  -- seconds after the time at which a run was expected until its place is given to others
local AHEAD = 5  -- seconds for which appointments are made at most: those of a run that has ended are used by nobody
local PROBED = 0.25  -- seconds until a step asks again while another tries alone whether the source answers
-- Whether a step is leased to a token: `holder` is its key of `open` and its id.
local function is_leased(holder, token)
  local open, step = string.match(holder, '^(%S+) (.*)$')
  local is = read(redis.call('HGET', open, step))
  return is.token == token and is.until_ > now, is.token == token
end
local function rates_of(l, rates, burst, text)
  local tats = {}
  for tat in string.gmatch(text or '', '%S+') do tats[#tats + 1] = tonumber(tat) end
  for at, rate in ipairs(rates) do
    local each = rate[2] / rate[1]
    l.rates[#l.rates + 1] = {each = each, slack = (burst - 1) * each, tat = tats[at] or 0}
  end
end
-- What is known of a limit, read once for a script.
local function read_limit(l)
  if l.runs then return end
  local paused, set = unpack(redis.call('HMGET', l.top, 'paused', 'set'))
  local tat, tat_set, closed, probe = unpack(redis.call('HMGET', l.key, 'tat', 'tat_set', 'closed', 'probe'))
  l.most, l.paused, l.closed, l.rates = l.concurrency, tonumber(paused or '0'), tonumber(closed or '0'), {}
  rates_of(l, l.figures, l.burst, tat)
  l.own = #l.rates
  if set then
    set = cjson.decode(set)
    if set.concurrency and (l.most == 0 or set.concurrency < l.most) then l.most = set.concurrency end
    rates_of(l, set.rates or {}, set.burst or 1, tat_set)
  end
  l.spread = 0
  for _, rate in ipairs(l.rates) do l.spread = math.max(l.spread, rate.each) end
  if l.closed > 0 and l.closed <= now then  -- it reopens, and one step tries
    local holder, token = string.match(probe or '', '^(.*) (%S+)$')
    local leased, same = false, false
    if holder then leased, same = is_leased(holder, token) end
    l.half = not holder or same  -- a probe that is lost with its worker has told nothing
    l.probing = leased
    if not l.half then redis.call('HDEL', l.key, 'closed', 'why', 'since', 'probe') end
  end
  -- The runs that wait, and how many of them are before this one.
  l.runs, l.waiting, l.before = {}, 0, 0
  local all, gone = redis.call('HGETALL', l.waits), {}
  for at = 1, #all, 2 do
    local last, far = string.match(all[at + 1], '^(%S+) (%S+)$')
    local is = {last = tonumber(last), far = tonumber(far)}
    if is.far < now - GRACE then gone[#gone + 1] = all[at] else
      l.runs[all[at]] = is
      l.waiting = l.waiting + 1
    end
  end
  if #gone > 0 then redis.call('HDEL', l.waits, unpack(gone, 1, math.min(#gone, 1000))) end
  local mine = l.runs[a.run]
  local before = mine and mine.last or now
  for run, is in pairs(l.runs) do
    if run ~= a.run and is.last < before and is.last < now - TURN then l.before = l.before + 1 end
  end
end
local function used_of(l)
  if not l.used then
    l.used = 0
    local all, free = redis.call('HGETALL', l.held), {}
    for at = 1, #all, 2 do
      if is_leased(all[at], all[at + 1]) then l.used = l.used + 1 else free[#free + 1] = all[at] end
    end
    in_parts('HDEL', l.held, free)
  end
  return l.used
end
-- Seconds until a step may start, or until it is worth asking; nothing if it may start now.
local function wait_of(l)
  read_limit(l)
  if l.paused > now then return l.paused - now, 'paused' end
  if l.closed > now then return l.closed - now, redis.call('HGET', l.key, 'why') or '' end
  if l.probing then return PROBED, '' end  -- defence: PROBE
  for _, rate in ipairs(l.rates) do
    local wait = rate.tat - rate.slack - now
    if wait > a.lead + 0.0000005 then return wait - 0.9 * a.lead, '' end  -- defence: RATE
  end
  if l.most > 0 then
    -- What is claimed before its turn in a batch takes a slot as well: only where there are plenty.
    local most = a.ahead and given > 0 and math.floor(l.most / 2) or l.most
    -- A run that goes on takes each slot again as soon as it has given it back: it leaves one to each that waits.
    local before = l.before  -- defence: TURNS
    if used_of(l) + before >= most then return a.ask, '' end  -- defence: CONCURRENCY
  end
end
-- When this run is to ask again, each of its messages at another time, and those of other runs between them.
local function appointment(l, wait)
  if not l.appointed then
    local mine = l.runs[a.run]
    local far = mine and mine.far or 0
    local others = l.waiting + (mine and 0 or 1)
    local at = math.max(now + wait, far + math.max(l.spread * others, 0.01))
    l.appointed = math.min(at, now + math.max(wait, l.spread > 0 and AHEAD or a.ask))
    l.runs[a.run] = {last = mine and mine.last or now, far = math.max(far, l.appointed)}
    l.changed = true
  end
  return math.min(l.appointed - now, math.max(a.look, a.ask))
end
-- Ask all limits of a step together; start it, or return the seconds, the limit and the reason of the longest wait. One that
-- may start within `a.lead` seconds is granted, and begins then: to come back in time, a message would have to be early, and
-- what comes late leaves a burst of one unused. `delayed` has the seconds.
local delayed = {}
local function start(step, numbers)
  local longest, of, reason
  for _, number in ipairs(numbers) do
    local l = a.limits[number]
    local wait, why = wait_of(l)
    if wait and (not longest or wait > longest) then longest, of, reason = wait, l, why end
  end
  if longest then return appointment(of, longest), of, reason, longest end
  local at = now
  for _, number in ipairs(numbers) do
    for _, rate in ipairs(a.limits[number].rates) do at = math.max(at, rate.tat - rate.slack) end
  end
  if at > now then delayed[step] = at - now end
  for _, number in ipairs(numbers) do
    local l = a.limits[number]
    l.started = true
    for _, rate in ipairs(l.rates) do rate.tat = math.max(rate.tat, at) + rate.each end
    if l.half then
      l.probing = true
      redis.call('HSET', l.key, 'probe', OPEN .. ' ' .. step .. ' ' .. a.token)
    end
    if l.most > 0 then
      used_of(l)
      l.used = l.used + 1
      l.holding = l.holding or {}
      l.holding[#l.holding + 1] = OPEN .. ' ' .. step
      l.holding[#l.holding + 1] = a.token
    end
    local mine = l.runs[a.run]
    if mine then mine.last, l.changed = now, true end
  end
end
local function keep_limits()
  for _, l in ipairs(a.limits or {}) do
    if l.started then
      local tats = {}
      for at, rate in ipairs(l.rates) do tats[at] = stamp(rate.tat) end
      redis.call('HSET', l.key, 'tat', table.concat(tats, ' ', 1, l.own), 'tat_set', table.concat(tats, ' ', l.own + 1),
                 'figures', l.shown, 'started', stamp(now))
      redis.call('EXPIRE', l.key, TTL)
      redis.call('ZADD', a.index, now, l.id)
      if l.holding then
        in_parts('HSET', l.held, l.holding)
        redis.call('EXPIRE', l.held, TTL)
      end
    end
    if l.changed then
      local is = l.runs[a.run]
      redis.call('HSET', l.waits, a.run, stamp(is.last) .. ' ' .. stamp(is.far))
      redis.call('EXPIRE', l.waits, 3600)
    end
  end
end
"""
