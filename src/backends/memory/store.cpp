#include "backends/memory/store.hpp"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "backends/shared/wakes.hpp"
#include "platform/clock.hpp"

namespace cachier::memory {
namespace {

/// Entries on one page of a scan.
constexpr std::size_t kPage = 256;

/// Memory may be short for the words, too.
template <class Make>
Error error_of(ErrorCode code, const Make& make) noexcept {
  try {
    return make();
  } catch (const std::bad_alloc&) {
    return Error(code);
  }
}

Error out_of_memory(const char* what) noexcept {
  return error_of(ErrorCode::unavailable, [&] {
    return Error(ErrorCode::unavailable, std::string("cannot ") + what + " in memory",
                 "out of memory");
  });
}

Error key_too_long(std::size_t size) noexcept {
  return error_of(ErrorCode::too_large, [&] {
    return Error(
        ErrorCode::too_large,
        "cannot store an entry whose key has " + std::to_string(size) + " bytes",
        "the memory store keeps keys of up to 2 GiB", "hash the arguments");
  });
}

/// As many shards as make it unlikely that two processors want the same one.
std::size_t wanted_shards() noexcept {
  static const std::size_t count = std::bit_ceil(std::clamp<std::size_t>(
      std::size_t{4} * std::thread::hardware_concurrency(), 8, 256));
  return count;
}

/// A place in the store: shard, slot, and the birth number its slots must be under.
struct Place {
  std::size_t shard = 0;
  std::uint32_t slot = 0;
  std::uint32_t born = 0;
  bool begun = false;  ///< `slot` and `born` are of that shard's scan

  [[nodiscard]] Cursor text() const {
    return std::to_string(shard) + ':' + std::to_string(slot) + ':' +
           std::to_string(born);
  }
  static bool parse(const Cursor& text, Place& place) noexcept {
    const char* at = text.data();
    const char* const end = at + text.size();
    const auto number = [&](auto& to, bool last) {
      const auto [next, error] = std::from_chars(at, end, to);
      if (error != std::errc{}) return false;
      at = next;
      if (last) return at == end;
      return at != end && *at++ == ':';
    };
    place.begun = true;
    return number(place.shard, false) && number(place.slot, false) &&
           number(place.born, true);
  }
};

}  // namespace

MemoryStore::MemoryStore(Clock clock)
    : clock_(std::move(clock)),
      shard_count_(wanted_shards()),
      shard_shift_(64 - static_cast<unsigned>(std::countr_zero(shard_count_))),
      shards_(std::make_unique<Shard[]>(shard_count_)) {
  std::uint64_t first = 0;
  for (Shard& shard : shards()) shard.table.number_tokens(++first, shard_count_);
  watch_forks();
}

MemoryStore::~MemoryStore() { ignore_forks(); }

Capabilities MemoryStore::capabilities() const noexcept {
  return {.name = "memory", .live_objects = true, .fenced = true, .wakes = true};
}

Time MemoryStore::exact_time() const {
  return clock_ ? clock_() : platform::wall_now();
}
Time MemoryStore::coarse_time() const {
  return clock_ ? clock_() : platform::coarse_wall_now();
}

Result<Look> MemoryStore::look(const Id& id, const Ask& ask, Deadline) noexcept {
  Result<Look> answer(std::in_place);
  try {
    Shard& shard = shard_of(id.digest);
    const std::lock_guard guard(shard.lock);
    const auto seen = shard.table.look(id, ask, [this] { return coarse_time(); });
    Look& look = *answer;
    if (seen.slot != nullptr) {
      look.entry.emplace(Entry{seen.slot->payload, seen.slot->stored_at,
                               Table<Value>::version_of(*seen.slot)});
    }
    look.fresh = seen.fresh;
    look.claim = seen.claim;
    look.outcome = seen.outcome;
    look.token = seen.token;
    look.now = seen.now;
  } catch (const std::bad_alloc&) {
    answer = out_of_memory("claim an entry");
  } catch (const std::length_error&) {
    answer = key_too_long(id.key.size());
  }
  return answer;
}

namespace {

/// Most sizes are one of these, for which this is no call.
void copy_bytes(void* to, const void* from, std::size_t size) noexcept {
  switch (size) {
    case 4:
      std::memcpy(to, from, 4);
      break;
    case 8:
      std::memcpy(to, from, 8);
      break;
    case 16:
      std::memcpy(to, from, 16);
      break;
    default:
      std::memcpy(to, from, size);
  }
}

}  // namespace

bool MemoryStore::copy_fresh(const Id& id, const Ask& ask, const std::type_info&,
                             void* to, std::size_t size) noexcept {
  if (ask.unreadable) return false;
  Shard& shard = shard_of(id.digest);
  const std::lock_guard guard(shard.lock);
  const auto* const slot = shard.table.find(*id.function, id.digest, id.key, id.hashed);
  if (slot == nullptr || (slot->none() && !ask.allow_none)) return false;
  if (slot->payload.codec() != Codec::live) return false;
  if (ask.max_age != kNoLimit && !is_young(slot->stored_at, ask.max_age)) return false;
  copy_bytes(to, slot->payload.object().get(), size);
  return true;
}

bool MemoryStore::is_young(Time stored_at, Duration max_age) const {
  return is_fresh(stored_at, coarse_time(), max_age);
}

Result<Version> MemoryStore::commit(const Id& id, const Change& change,
                                    Deadline) noexcept {
  Result<Version> answer{Version{}};
  try {
    switch (change.kind) {
      case Change::Kind::put:
        answer = put(id, change);
        break;
      case Change::Kind::release: {
        if (!change.token) {
          return Error(ErrorCode::invalid_argument, "cannot release a claim",
                       "a release needs a token");
        }
        Shard& shard = shard_of(id.digest);
        const Time now = exact_time();
        const std::lock_guard guard(shard.lock);
        answer = shard.table.release(id, *change.token, change.outcome, now);
        break;
      }
      case Change::Kind::renew:
        return Error(ErrorCode::unsupported, "cannot renew a claim in memory",
                     "claims of the memory store have no lease: they hold until they "
                     "are given back");
      case Change::Kind::erase: {
        Value removed;
        Shard& shard = shard_of(id.digest);
        const std::lock_guard guard(shard.lock);
        answer = shard.table.erase(id, removed);
        break;
      }
    }
  } catch (const std::bad_alloc&) {
    return out_of_memory("change an entry");
  } catch (const std::length_error&) {
    return key_too_long(id.key.size());
  }
  shared::wake(id.digest);
  return answer;
}

Result<Version> MemoryStore::put(const Id& id, const Change& change) {
  Value value = change.value;
  Value replaced;
  Shard& shard = shard_of(id.digest);
  const Time now = exact_time();
  const std::lock_guard guard(shard.lock);
  return shard.table.put(id, change, value, change.value.is_none(), now, replaced);
}

Result<Page> MemoryStore::scan(const Filter& filter, const Cursor& from,
                               Deadline) noexcept {
  Result<Page> answer{Page{}};
  try {
    Place place;
    if (!from.empty() && !Place::parse(from, place)) {
      return Error(ErrorCode::invalid_argument, "cannot go on with this scan",
                   "its cursor is not one that this store has given");
    }
    std::vector<Header>& entries = answer->entries;
    entries.reserve(kPage);
    const auto list = [&entries](const Function& function, const auto& slot) {
      const Value& value = slot.payload;
      entries.push_back({
          .function = function.id(),
          .digest = slot.digest,
          .key = std::string(as_text(slot.key())),
          .hashed = slot.hashed(),
          .stored_at = slot.stored_at,
          .size = value.codec() == Codec::live ? 0 : value.bytes().size(),
          .codec = value.codec(),
      });
    };
    for (; place.shard < shard_count_; ++place.shard, place.begun = false) {
      Shard& shard = shards_[place.shard];
      const std::lock_guard guard(shard.lock);
      Table<Value>::Position position =
          place.begun ? Table<Value>::Position{place.slot, place.born}
                      : shard.table.begin();
      const bool more = shard.table.scan(
          position, filter, kPage - entries.size(),
          [&](const auto& slot) { list(shard.table.function_of(slot), slot); });
      if (more) {
        place.slot = position.slot;
        place.born = position.born;
        answer->next = place.text();
        break;
      }
    }
  } catch (const std::bad_alloc&) {
    return out_of_memory("list entries");
  }
  return answer;
}

Result<std::uint64_t> MemoryStore::clear(const Filter& filter, Clear what,
                                         Deadline) noexcept {
  Result<std::uint64_t> answer{0};
  try {
    for (Shard& shard : shards()) {
      std::vector<Value> removed;
      const std::lock_guard guard(shard.lock);
      *answer += shard.table.clear(filter, what, removed);
    }
  } catch (const std::bad_alloc&) {
    answer = out_of_memory("clear all entries");
  }
  shared::wake_all();
  return answer;
}

std::unique_ptr<Watch> MemoryStore::watch(const Id& id) noexcept {
  return shared::watch(id.digest);
}

void MemoryStore::before_fork() noexcept {
  for (Shard& shard : shards()) shard.lock.lock();
}

void MemoryStore::after_fork_in_parent() noexcept {
  for (Shard& shard : shards()) shard.lock.unlock();
}

void MemoryStore::after_fork_in_child() noexcept {
  for (Shard& shard : shards()) {
    shard.table.forget_claims();
    shard.lock.unlock();
  }
}

}  // namespace cachier::memory
