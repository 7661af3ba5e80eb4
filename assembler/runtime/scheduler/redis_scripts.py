"""What Redis does at once → scripts in Lua, by Redis's own clock.

In: nothing. Out: the texts. All keys begin with one hash tag, so a cluster keeps them together:
`run:ID` a hash, `tick:JOB:MS` the ID that has the tick (kept for longer than a claim is possible),
`running:JOB` and `leases` sorted by the end of the lease, `history:JOB` the last IDs, `counts`.
A run's hash goes when its job's history is longer than what is kept, but not while it runs.
"""

PREFIX = "assembler:{jobs}:"
KEPT = 100  # runs of each job

_HEAD = f"""
local P = '{PREFIX}'
local function clock()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
local function record(id, job, fire, attempt, owner, state, now)
  redis.call('HSET', P..'run:'..id, 'job', job, 'fire_ms', fire, 'attempt', attempt,
             'run_id', id, 'owner', owner, 'state', state, 'started_ms', now)
  local history = P..'history:'..job
  redis.call('LPUSH', history, id)
  for _ = {KEPT} + 1, redis.call('LLEN', history) do
    local oldest = redis.call('RPOP', history)
    if redis.call('HGET', P..'run:'..oldest, 'state') == 'running' then
      redis.call('LPUSH', history, oldest)  -- its claim must not be forgotten
    else
      redis.call('DEL', P..'run:'..oldest)
    end
  end
  redis.call('HINCRBY', P..'counts', state..':'..job, 1)
end
local function holder(job, fire)
  local id = redis.call('GET', P..'tick:'..job..':'..fire)
  if id then return id end
  for _, kept in ipairs(redis.call('LRANGE', P..'history:'..job, 0, -1)) do
    if redis.call('HGET', P..'run:'..kept, 'fire_ms') == fire then return kept end
  end
end
local function ended(id, state, now)
  local run = P..'run:'..id
  local job = redis.call('HGET', run, 'job')
  redis.call('ZREM', P..'leases', id)
  if not job then return end
  redis.call('ZREM', P..'running:'..job, id)
  redis.call('HSET', run, 'state', state, 'finished_ms', now)
  redis.call('HINCRBY', P..'counts', 'running:'..job, -1)
  redis.call('HINCRBY', P..'counts', state..':'..job, 1)
end
local function started(id, job, lease_until, rerun, grace)
  redis.call('ZADD', P..'leases', lease_until, id)
  redis.call('ZADD', P..'running:'..job, lease_until, id)
  redis.call('HSET', P..'run:'..id, 'may_rerun', rerun, 'grace_ms', grace)
end
"""

# ARGV: job, fire, id, owner, grace, lease, overlap, rerun, early, slack
CLAIM = (
    _HEAD
    + """
local job, fire, id = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local owner, grace, lease = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local now = clock()
local since = now - fire
local key = P..'tick:'..job..':'..ARGV[2]
local taken = redis.call('GET', key)
if taken == id then return {'claimed', since, 0} end
if taken then return {'taken', 0, 0} end
if since < -tonumber(ARGV[9]) then return {'early', -since - tonumber(ARGV[9]) / 2, 0} end
if since > grace then return {holder(job, ARGV[2]) and 'taken' or 'late', 0, 0} end
local running = {}
if ARGV[7] ~= 'allow' then
  running = redis.call('ZRANGE', P..'running:'..job, 0, -1, 'WITHSCORES')
end
local newer = false
for i = 1, #running, 2 do
  if tonumber(running[i + 1]) < now then return {'stale', 0, 0} end
  local other = redis.call('HGET', P..'run:'..running[i], 'fire_ms')
  if other and tonumber(other) > fire then newer = true end
end
local is_busy = #running > 0
if is_busy and since < 0 then return {'early', -since, 0} end
local keep = 2 * grace + lease + tonumber(ARGV[10])
redis.call('SET', key, id, 'PX', keep)
if is_busy and (ARGV[7] == 'forbid' or newer) then
  record(id, job, ARGV[2], 1, owner, 'skipped', now)
  redis.call('HSET', P..'run:'..id, 'finished_ms', now)
  return {'skipped', 0, 1}
end
if ARGV[7] == 'replace' then
  for i = 1, #running, 2 do ended(running[i], 'replaced', now) end
end
record(id, job, ARGV[2], 1, owner, 'running', now)
started(id, job, now + lease, ARGV[8], grace)
return {'claimed', since, 0}
"""
)

# ARGV: id, lease
HEARTBEAT = (
    _HEAD
    + """
if redis.call('HGET', P..'run:'..ARGV[1], 'state') ~= 'running' then return 0 end
local job = redis.call('HGET', P..'run:'..ARGV[1], 'job')
local till = clock() + tonumber(ARGV[2])
redis.call('ZADD', P..'leases', till, ARGV[1])
redis.call('ZADD', P..'running:'..job, till, ARGV[1])
return 1
"""
)

# ARGV: id, state, lag, duration, error
FINISH = (
    _HEAD
    + """
local run = P..'run:'..ARGV[1]
if redis.call('HGET', run, 'state') ~= 'running' then return 0 end
redis.call('HSET', run, 'lag_ms', ARGV[3], 'duration_ms', ARGV[4])
if ARGV[5] ~= '' then redis.call('HSET', run, 'error', ARGV[5]) end
ended(ARGV[1], ARGV[2], clock())
return 1
"""
)

# ARGV: owner, lease, then for each job its name and the ID of a second attempt, or nothing
SWEEP = (
    _HEAD
    + """
local now = clock()
local fresh = {}
for i = 3, #ARGV, 2 do fresh[ARGV[i]] = ARGV[i + 1] end
local lost = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', P..'leases', '-inf', '(' .. now, 'LIMIT', 0, 1000)) do
  local got = redis.call('HMGET', P..'run:'..id, 'job', 'fire_ms', 'attempt', 'owner',
                         'may_rerun', 'grace_ms')
  local job, attempt = got[1], tonumber(got[3] or 1)
  if not job then  -- a Redis that is full may have dropped it
    redis.call('ZREM', P..'leases', id)
    for each in pairs(fresh) do redis.call('ZREM', P..'running:'..each, id) end
  elseif fresh[job] then
    ended(id, 'lost', now)
    local rerun = ''
    if got[5] == '1' and attempt == 1 and fresh[job] ~= '' then
      rerun = fresh[job] .. ':' .. got[2]  -- several of its ticks may be lost
      record(rerun, job, got[2], attempt + 1, ARGV[1], 'running', now)
      started(rerun, job, now + tonumber(ARGV[2]), '1', got[6])
    end
    lost[#lost + 1] = {job, got[2], tostring(attempt), id, got[4], rerun}
  end
end
return lost
"""
)

# ARGV: job, fire, id, grace, slack
MISS = (
    _HEAD
    + """
local fire, grace, now = tonumber(ARGV[2]), tonumber(ARGV[4]), clock()
if fire >= now - grace then return -1 end
if holder(ARGV[1], ARGV[2]) then return 0 end
local keep = 2 * (now - fire) + tonumber(ARGV[5])
redis.call('SET', P..'tick:'..ARGV[1]..':'..ARGV[2], ARGV[3], 'PX', keep)
record(ARGV[3], ARGV[1], ARGV[2], 1, '', 'missed', now)
redis.call('HSET', P..'run:'..ARGV[3], 'finished_ms', now)
return 1
"""
)

# ARGV: run, fresh, owner, lease, overlap, rerun, states that may be tried once more
AGAIN = (
    _HEAD
    + """
local run = P..'run:'..ARGV[1]
local state, job = redis.call('HGET', run, 'state'), redis.call('HGET', run, 'job')
local may = false
for i = 7, #ARGV do if ARGV[i] == state then may = true end end
if not may then return false end
local fire, attempt = redis.call('HGET', run, 'fire_ms'), tonumber(redis.call('HGET', run, 'attempt'))
for _, kept in ipairs(redis.call('LRANGE', P..'history:'..job, 0, -1)) do
  local other = P..'run:'..kept
  if redis.call('HGET', other, 'fire_ms') == fire
     and tonumber(redis.call('HGET', other, 'attempt')) > attempt then return false end
end
if ARGV[5] == 'forbid' and redis.call('ZCARD', P..'running:'..job) > 0 then return false end
local now = clock()
local grace = redis.call('HGET', run, 'grace_ms') or '0'
record(ARGV[2], job, fire, attempt + 1, ARGV[3], 'running', now)
started(ARGV[2], job, now + tonumber(ARGV[4]), ARGV[6], grace)
return {job, fire, attempt + 1}
"""
)

# KEYS: orders, standing; ARGV: ID, facts, place where it stands, 1 where it does, 1 where it ends others
GIVE = (
    _HEAD
    + """
local now = clock()
if ARGV[5] == '1' then redis.call('HDEL', KEYS[2], ARGV[3]) end
local said = now .. ' ' .. ARGV[2]
if ARGV[4] == '1' then redis.call('HSET', KEYS[2], ARGV[3], said) end
redis.call('LPUSH', KEYS[1], said)
redis.call('LTRIM', KEYS[1], 0, 999)
return now
"""
)
