"""The steps that a Redis server does at once, each a Lua script.

The format is ``docs/formats/redis.md``. Numbers come packed into one argument, as
Redis's ``struct`` reads them: that spares client and server the parsing of many.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

__all__ = [
    "CLEAR",
    "DELETE",
    "FREE",
    "HEADS",
    "LOOK",
    "PUT",
    "RELEASE",
    "RENEW",
    "STALE",
    "Script",
]


class Script(NamedTuple):
    """A script and what the server calls it."""

    source: str
    sha: str


_COMMON = """
local ZEROS = string.rep('\\0', 16)
local function clock()
  local t = redis.call('TIME')
  return t[1] * 1000000 + t[2]
end
local function text(n) return string.format('%.0f', n) end
-- What is no count counts as 0, and is made anew by whoever changes it.
local function count_of(s)
  local n = tonumber(s or '0')
  if n and n >= 0 and n < 2^53 then return n end
  return 0
end
-- Epoch (0: the bucket has no state) and claim generation.
local function state(key)
  local s = redis.call('HMGET', key, 'e', 'g')
  return count_of(s[1]), count_of(s[2])
end
local function make_state(key)
  local epoch = clock()
  redis.call('HSET', key, 'e', text(epoch), 'g', '0')
  return epoch
end
local function is_entry(e) return #e >= 40 and string.sub(e, 1, 2) == 'c1' end
local function epoch_of(e) return (struct.unpack('>I8', string.sub(e, 9, 16))) end
-- What commits compare; zeros: neither entry nor tombstone.
local function version_of(e, epoch)
  if not e or not is_entry(e) or epoch_of(e) ~= epoch then return ZEROS end
  return string.sub(e, 25, 40)
end
local function is_claim(c)
  local first = c and string.sub(c, 1, 1)
  return first == 'h' or first == 'd'
end
local function is_of(c, serial)
  return is_claim(c) and string.sub(c, 10, 25) == serial
end
local function tell(key)
  redis.call('PUBLISH', string.sub(key, 1, -36) .. ':w:' .. string.sub(key, -32), '')
end
local function hex(digest)
  return (string.gsub(digest, '.', function(c)
    return string.format('%02x', string.byte(c))
  end))
end
-- Deletes an entry, or what is left of one, if it is of an earlier epoch.
local function delete_old(key, epoch)
  local head = redis.call('GETRANGE', key, 0, 39)
  if head ~= '' and (not is_entry(head) or epoch_of(head) < epoch) then
    redis.call('DEL', key)
  end
end
"""


def _script(body: str) -> Script:
    source = _COMMON + body
    return Script(source, hashlib.sha1(source.encode()).hexdigest())  # noqa: S324


# KEYS: entry, claim, state. A fresh entry is answered as it is; else: claim, outcome,
# the clock, epoch, what is there of this epoch, whether the bucket was without state.
LOOK = _script("""
local asked, max_age, lease, serial, unreadable =
  struct.unpack('>BI8I8c16c16', ARGV[1])
local wants, takes_none, limited, never, passes =
  asked % 2 >= 1, asked % 4 >= 2, asked % 8 >= 4, asked % 16 >= 8, asked % 32 >= 16
local epoch, generation = state(KEYS[3])
local e = epoch > 0 and redis.call('GET', KEYS[1])
if e and is_entry(e) then
  local flags, _, of, at = struct.unpack('>Bc5I8I8', e, 3)
  if of ~= epoch then
    e = false
  elseif not never and flags % 2 == 0 and (takes_none or flags % 4 < 2) and
      not (passes and string.sub(e, 25, 40) == unreadable) then
    if not limited then return e end
    local age = clock() - at
    if age <= max_age and age >= -1000000 then return e end
  end
end
local new = 0
if epoch == 0 then
  -- What this look saw must hold until somebody clears.
  epoch = make_state(KEYS[3])
  new = 1
end
local claim, outcome = 0, 0
if wants then
  local c = redis.call('GET', KEYS[2])
  if c and string.sub(c, 1, 1) == 'o' then
    local left, of = struct.unpack('>BI8', c, 2)
    if of == epoch then outcome = left end
  end
  if outcome ~= 2 then
    if is_claim(c) and struct.unpack('>I8', c, 2) == generation then
      claim = 2
    else
      redis.call('SET', KEYS[2], 'h' .. struct.pack('>I8', generation) .. serial,
        'PX', lease)
      claim = 1
    end
  end
end
return {claim, outcome, clock(), epoch, e, new}
""")

# KEYS: entry, claim, state, index, cleared. ARGV: the marks, the envelope (a tombstone
# has none). Gives what became of it, the clock, whether the bucket was without state.
PUT = _script("""
local mode, flags, at, wanted, base, serial, version, digest =
  struct.unpack('>BBI8I8c16c16c16c16', ARGV[1])
local now = clock()
if at > now + 1000000 then return {2, now, 0} end
local epoch, generation = state(KEYS[3])
local c = redis.call('GET', KEYS[2])
if mode == 1 then
  local mine = is_of(c, serial)
  if not mine or string.sub(c, 1, 1) ~= 'h' or epoch ~= wanted then
    if mine then
      redis.call('DEL', KEYS[2])
      tell(KEYS[1])
    end
    return {1, now, 0}
  end
elseif mode == 2 or mode == 3 then
  if epoch ~= wanted then return {1, now, 0} end
  if mode == 2 and version_of(redis.call('GET', KEYS[1]), epoch) ~= base then
    return {1, now, 0}
  end
end
local new = 0
if epoch == 0 then
  epoch = make_state(KEYS[3])
  new = 1
end
local marks = 'c1' .. struct.pack('>Bc5I8I8', flags, '\\0\\0\\0\\0\\0', epoch, at) ..
  version
if flags % 2 == 1 then
  redis.call('SET', KEYS[1], marks, 'PX', 3600000)
  redis.call('SREM', KEYS[4], digest)
else
  redis.call('SET', KEYS[1], marks .. ARGV[2])
  redis.call('SADD', KEYS[4], digest)
end
if mode == 1 then
  redis.call('DEL', KEYS[2])
elseif is_claim(c) and struct.unpack('>I8', c, 2) == generation then
  redis.call('SET', KEYS[2], 'd' .. string.sub(c, 2), 'KEEPTTL')
elseif c then
  redis.call('DEL', KEYS[2])
end
tell(KEYS[1])
for _, old in ipairs(redis.call('SPOP', KEYS[5], 2)) do
  delete_old(string.sub(KEYS[1], 1, -33) .. hex(old), epoch)
end
return {0, now, new}
""")

# KEYS: entry, claim, state. Gives whether the claim was held.
RELEASE = _script("""
local outcome, of, base, serial = struct.unpack('>BI8c16c16', ARGV[1])
local c = redis.call('GET', KEYS[2])
if not is_of(c, serial) then return 0 end
local epoch = state(KEYS[3])
if outcome ~= 0 and epoch == of and (string.sub(c, 1, 1) == 'h' or
    version_of(redis.call('GET', KEYS[1]), epoch) == base) then
  redis.call('SET', KEYS[2], 'o' .. struct.pack('>BI8', outcome, epoch), 'PX', 5000)
else
  redis.call('DEL', KEYS[2])
end
tell(KEYS[1])
return 1
""")

# KEYS: entry, claim, state. Gives whether the claim holds.
RENEW = _script("""
local lease, of, base, serial = struct.unpack('>I8I8c16c16', ARGV[1])
local c = redis.call('GET', KEYS[2])
if is_of(c, serial) then return redis.call('PEXPIRE', KEYS[2], lease) end
if c then return 0 end
local epoch, generation = state(KEYS[3])
if epoch ~= of or version_of(redis.call('GET', KEYS[1]), epoch) ~= base then
  return 0
end
redis.call('SET', KEYS[2], 'h' .. struct.pack('>I8', generation) .. serial, 'PX', lease)
return 1
""")

# KEYS, for each bucket: state, index, cleared. Gives how many entries each had.
CLEAR = _script("""
local counts = {}
for n = 1, #KEYS, 3 do
  local epoch = math.max(clock(), (state(KEYS[n])) + 1)
  redis.call('HSET', KEYS[n], 'e', text(epoch))
  redis.call('HSETNX', KEYS[n], 'g', '0')
  local count = redis.call('SCARD', KEYS[n + 1])
  if count > 0 then
    if redis.call('EXISTS', KEYS[n + 2]) == 1 then
      redis.call('SUNIONSTORE', KEYS[n + 2], KEYS[n + 1], KEYS[n + 2])
      redis.call('DEL', KEYS[n + 1])
    else
      redis.call('RENAME', KEYS[n + 1], KEYS[n + 2])
    end
  end
  counts[#counts + 1] = count
end
return counts
""")

# KEYS, for each bucket: state, index, cleared. Deletes up to a thousand of what a clear
# left; gives for each whether there is more.
DELETE = _script("""
local left, room = {}, 1000
for n = 1, #KEYS, 3 do
  local epoch = state(KEYS[n])
  local prefix = string.sub(KEYS[n], 1, -2) .. 'e:'
  local some = room > 0 and redis.call('SPOP', KEYS[n + 2], room) or {}
  for _, old in ipairs(some) do delete_old(prefix .. hex(old), epoch) end
  room = room - #some
  left[#left + 1] = redis.call('EXISTS', KEYS[n + 2])
end
return left
""")

# KEYS: state, index, cleared. ARGV: where to go on, before when. Gives where to go on
# and how many entries it removed.
STALE = _script("""
local epoch = state(KEYS[1])
local before = struct.unpack('>I8', ARGV[2])
local prefix = string.sub(KEYS[1], 1, -2) .. 'e:'
local page = redis.call('SSCAN', KEYS[2], ARGV[1], 'COUNT', 1000)
local count = 0
for _, digest in ipairs(page[2]) do
  local key = prefix .. hex(digest)
  local head = redis.call('GETRANGE', key, 0, 39)
  if not is_entry(head) or epoch_of(head) ~= epoch then
    redis.call('SREM', KEYS[2], digest)
  elseif struct.unpack('>I8', head, 17) < before then
    redis.call('DEL', key)
    redis.call('SREM', KEYS[2], digest)
    count = count + 1
  end
end
return {page[1], count}
""")

# KEYS, for each bucket: state, index, cleared. Gives nothing of use.
FREE = _script("""
local done = {}
for n = 1, #KEYS, 3 do
  if redis.call('EXISTS', KEYS[n]) == 1 then
    local _, generation = state(KEYS[n])
    redis.call('HSET', KEYS[n], 'g', text(generation + 1))
  end
  done[#done + 1] = 1
end
return done
""")

# KEYS: state. ARGV: how much of each to give, digests. Gives beginning and size of each
# entry, nothing where there is none.
HEADS = _script("""
local epoch = state(KEYS[1])
local prefix = string.sub(KEYS[1], 1, -2) .. 'e:'
local heads = {}
for n = 2, #ARGV do
  local key = prefix .. hex(ARGV[n])
  local head = redis.call('GETRANGE', key, 0, ARGV[1])
  if is_entry(head) and epoch_of(head) == epoch and string.byte(head, 3) % 2 == 0 then
    heads[n - 1] = {head, redis.call('STRLEN', key)}
  else
    heads[n - 1] = {}
  end
end
return heads
""")
