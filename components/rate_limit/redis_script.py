"""The Lua script that counts, and the bytes around it.

In: one key per client, the plans (sets of limits) of a batch, and for each key its plan and cost.
Out: for each key three numbers: the limit that decided (counted from 1, negative when it
refused), the units that remain, and the microseconds until more are free.

The arithmetic is that of `windows`, with Redis's own clock, so that all processes agree. A client
has one key, whatever its limits: they are charged together or not at all, also in a cluster,
where two keys would stand on two servers. The value is a MessagePack map from a limit's id, which
says after a slash into how many buckets the period is cut where that is not 30, to
`{bucket width, units held, bucket, units, bucket, units, …}`, oldest bucket first; the key lives
as long as the last of its windows. A refused hit writes nothing.
"""

import hashlib
import json
from collections.abc import Sequence

from components.rate_limit.store import Decision, Limit
from components.rate_limit.windows import Window

LUA = """
local function buckets(id) return tonumber(string.match(id, '/(%d+)$') or 30) end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local plans = cjson.decode(ARGV[1])
local hits = string.gmatch(ARGV[2], '%d+')
local out = {}
for i, key in ipairs(KEYS) do
  local plan, cost = plans[tonumber(hits())], tonumber(hits())
  local raw = redis.call('GET', key)
  local state = raw and cmsgpack.unpack(raw) or {}
  local refused, tightest, left, wait = 0, 0, 0, 0
  for j, limit in ipairs(plan) do
    local id, quota, width, count = limit[1], limit[2], limit[3], buckets(limit[1])
    local bucket, held = math.floor(now / width), state[id]
    -- a clock set back by less than a window stands still, by more it begins anew
    if not held or #held > 2 and held[#held - 1] - bucket > count then
      held = {width, 0}
      state[id] = held
    end
    while #held > 2 and bucket - held[3] > count do
      held[2] = held[2] - held[4]
      table.remove(held, 3)
      table.remove(held, 3)
    end
    local remaining = quota - held[2]
    if remaining < cost then
      local need, at = cost - remaining, 3
      while need > held[at + 1] and at + 2 < #held do
        need, at = need - held[at + 1], at + 2
      end
      local free = (held[at] + count + 1) * width - now
      if refused == 0 or free > wait then refused, left, wait = j, remaining, free end
    elseif refused == 0 and (tightest == 0 or remaining - cost < left) then
      tightest, left = j, remaining - cost
    end
  end
  if refused > 0 then
    out[i] = '-' .. refused .. ' ' .. left .. ' ' .. wait
  else
    for _, limit in ipairs(plan) do
      local held, bucket = state[limit[1]], math.floor(now / limit[3])
      local size = #held
      held[2] = held[2] + cost
      if size > 2 and held[size - 1] >= bucket then
        held[size] = held[size] + cost
      else
        held[size + 1], held[size + 2] = bucket, cost
      end
    end
    local ends = now
    for id, held in pairs(state) do
      local over = (held[#held - 1] + buckets(id) + 1) * held[1]
      if over <= now then state[id] = nil elseif over > ends then ends = over end
    end
    redis.call('SET', key, cmsgpack.pack(state), 'PX', math.ceil((ends - now) / 1000))
    local id = plan[tightest][1]
    local held = state[id]
    out[i] = tightest .. ' ' .. left .. ' ' .. (held[3] + buckets(id) + 1) * held[1] - now
  end
end
return redis.status_reply(table.concat(out, ' ')) -- one line, so the client reads once
"""
SHA = hashlib.sha1(LUA.encode(), usedforsecurity=False).hexdigest()


def plan_text(limits: tuple[Limit, ...]) -> str:
    """A set of limits as the script reads it, widths in microseconds."""
    widths = [-(-Window(limit.rate).bucket_ns // 1000) for limit in limits]
    rows = [[x.id, x.rate.quota, width] for x, width in zip(limits, widths, strict=True)]
    return json.dumps(rows, separators=(",", ":"))


def command(name: str, script: str, keys: Sequence[bytes], plans: str, hits: str) -> bytes:
    """One EVAL or EVALSHA command, packed: a batch is one write."""
    tail = (plans.encode(), hits.encode())
    words = (name.encode(), script.encode(), b"%d" % len(keys), *keys, *tail)
    return b"*%d\r\n" % len(words) + b"".join([b"$%d\r\n%b\r\n" % (len(w), w) for w in words])


def decisions(reply: bytes, plans: Sequence[tuple[Limit, ...]]) -> list[Decision]:
    """The reply, read with the limits of each hit."""
    numbers = [int(number) for number in reply.split()]
    rows = zip(numbers[::3], numbers[1::3], numbers[2::3], plans, strict=True)
    return [
        Decision(which > 0, limits[abs(which) - 1], left, wait * 1000)
        for which, left, wait, limits in rows
    ]
