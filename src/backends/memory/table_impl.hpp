#pragma once

/// The rarer half of `Table`. Included by `table.hpp` alone.

#include "backends/memory/table.hpp"
#include "backends/shared/tally.hpp"

namespace cachier::memory {

template <class Payload>
std::uint32_t Table<Payload>::state_of(const Function& function) {
  const auto found = serials_.find(&function);
  if (found != serials_.end()) return found->second;
  const auto index = static_cast<std::uint32_t>(serials_.size());
  if (index > more_states_.size()) more_states_.emplace_back();
  serials_.emplace(&function, index);
  state_at(index) = {.function = &function};
  return index;
}

template <class Payload>
typename Table<Payload>::Slot* Table<Payload>::make_slot(const Id& id) {
  const std::uint32_t state = state_of(*id.function);
  Slot* slot = slots_.add(id.digest, id.key, id.hashed);
  slot->function = state;
  slot->version = state_at(state).floor;
  ++state_at(state).slots;
  return slot;
}

template <class Payload>
typename Table<Payload>::Side* Table<Payload>::side_of(Slot* slot) noexcept {
  if (slot == nullptr || (slot->flags & Slot::kSide) == 0) return nullptr;
  return &sides_.find(slot)->second;
}

template <class Payload>
template <class Now>
void Table<Payload>::look_for_claim(const Id& id, const Ask& ask, const Now& now,
                                    Slot* slot, Seen& seen) {
  Side* side = side_of(slot);
  if (side != nullptr && side->outcome != Outcome::none) {
    if (seen.now == Time{}) seen.now = now();
    const Duration left = side->outcome_until - seen.now;
    if (left > Duration::zero() && left <= kOutcomeLife + kClockSlack) {
      seen.outcome = side->outcome;
    }
  }
  if (!ask.claim || seen.outcome == Outcome::not_storable) return;
  if (side != nullptr && side->held) {
    seen.claim = Look::Claim::busy;
    return;
  }
  if (side == nullptr) {
    if (slot == nullptr) slot = make_slot(id);
    try {
      side = &sides_[slot];
    } catch (...) {
      settle(*slot);
      throw;
    }
    slot->flags |= Slot::kSide;
  }
  side->serial = next_serial_;
  side->held = true;
  side->outcome = seen.outcome;
  next_serial_ += serial_step_;
  seen.token.serial = side->serial;
  seen.claim = Look::Claim::granted;
}

/// Whether the conditions of a put hold.
template <class Payload>
bool Table<Payload>::may_put(const Id& id, const Change& change, Slot* slot) noexcept {
  if (!change.token && !change.basis && !change.epoch) return true;
  const Basis now = slot != nullptr ? basis_of(*slot) : absent(*id.function);
  if (change.token) {
    const Side* side = side_of(slot);
    return side != nullptr && side->serial == change.token->serial &&
           now == change.token->basis;
  }
  return (!change.basis || now == *change.basis) &&
         (!change.epoch || now.epoch == *change.epoch);
}

template <class Payload>
Result<Version> Table<Payload>::put(const Id& id, const Change& change,
                                    Payload& payload, std::uint8_t marks, Time now,
                                    Payload& replaced) {
  Slot* slot = locate(*id.function, id.digest, id.key, id.hashed);
  Side* side = change.token ? side_of(slot) : nullptr;
  const bool own = side != nullptr && side->serial == change.token->serial;
  if (!may_put(id, change, slot)) {
    if (own) {
      drop_side(*slot);
      settle(*slot);
    }
    return ErrorCode::claim_lost;
  }
  if (slot == nullptr) slot = make_slot(id);
  if (slot->has_entry()) {
    replaced = std::move(slot->payload);
  } else {
    ++entries_;
  }
  slot->payload = std::move(payload);
  slot->flags = static_cast<std::uint8_t>(Slot::kUsed | Slot::kEntry | marks |
                                          (slot->flags & Slot::kSide));
  slot->stored_at = now;
  slot->version = ++changes_;
  if (own) {
    drop_side(*slot);
  } else {
    end_changed(*slot);
  }
  return version_of(*slot);
}

template <class Payload>
Result<Version> Table<Payload>::release(const Id& id, const Token& token,
                                        Outcome outcome, Time now) {
  Slot* slot = locate(*id.function, id.digest, id.key, id.hashed);
  Side* side = side_of(slot);
  if (side == nullptr || side->serial != token.serial) return ErrorCode::claim_lost;
  const Version version = version_of(*slot);
  if (outcome != Outcome::none && basis_of(*slot) == token.basis) {
    *side = {.outcome = outcome, .outcome_until = now + kOutcomeLife};
    if (++outcomes_left_ > kOutcomesBetweenTrims + entries_) trim_outcomes(now);
  } else {
    drop_side(*slot);
    settle(*slot);
  }
  return version;
}

template <class Payload>
Version Table<Payload>::erase(const Id& id, Payload& removed) {
  Slot* slot = locate(*id.function, id.digest, id.key, id.hashed);
  // Also where nothing is stored: somebody may be about to, on the ground of that.
  if (slot == nullptr) slot = make_slot(id);
  if (slot->has_entry()) removed = take_entry(*slot);
  slot->version = ++changes_;
  const Version version = version_of(*slot);
  end_changed(*slot);
  settle(*slot);
  return version;
}

template <class Payload>
std::uint64_t Table<Payload>::clear(const Filter& filter, Clear what,
                                    std::vector<Payload>& removed) {
  switch (what) {
    case Clear::entries:
      return clear_entries(filter, removed);
    case Clear::stale:
      return clear_stale(filter, removed);
    case Clear::claims:
      for (auto& [slot, side] : sides_) {
        if (filter.function == nullptr || filter.function == &function_of(*slot)) {
          side.held = false;
        }
      }
  }
  return 0;
}

/// Whether an entry that a filter without function would take is older than it asks.
[[nodiscard]] inline bool is_before(Time stored_at, const Filter& filter) noexcept {
  return !filter.stored_before || stored_at < *filter.stored_before;
}

template <class Payload>
std::uint64_t Table<Payload>::clear_entries(const Filter& filter,
                                            std::vector<Payload>& removed) {
  removed.reserve(removed.size() + entries_);
  const auto raise = [&](State& state) {
    ++state.epoch;
    state.floor = ++changes_;
  };
  if (filter.function != nullptr) {
    State& state = state_at(state_of(*filter.function));
    raise(state);
    if (state.slots == 0) return 0;
  } else {
    ++epoch_;
    for (std::uint32_t index = 0; index < serials_.size(); ++index) {
      raise(state_at(index));
    }
  }
  std::uint64_t count = 0;
  for (std::uint32_t index = 0; index < slots_.end(); ++index) {
    Slot& slot = *slots_.slot_at(index);
    if ((slot.flags & Slot::kUsed) == 0) continue;
    const State& state = state_at(slot.function);
    if (filter.function != nullptr && filter.function != state.function) continue;
    if (slot.has_entry() && is_before(slot.stored_at, filter)) {
      removed.push_back(take_entry(slot));
      ++count;
    }
    end_changed(slot);
    if (!slot.has_entry()) {
      slot.version = state.floor;
      settle(slot);
    }
  }
  return count;
}

template <class Payload>
std::uint64_t Table<Payload>::clear_stale(const Filter& filter,
                                          std::vector<Payload>& removed) {
  removed.reserve(removed.size() + entries_);
  std::uint64_t count = 0;
  for (std::uint32_t index = 0; index < slots_.end(); ++index) {
    Slot& slot = *slots_.slot_at(index);
    if (!slot.has_entry() || !is_before(slot.stored_at, filter)) continue;
    if (filter.function != nullptr && filter.function != &function_of(slot)) continue;
    // The version stays: whoever is about to replace this entry is not disturbed.
    removed.push_back(take_entry(slot));
    ++count;
    settle(slot);
  }
  return count;
}

template <class Payload>
typename Table<Payload>::Fate Table<Payload>::evict(const Digest& digest,
                                                    std::uint64_t version, bool spare,
                                                    Payload& removed) noexcept {
  Slot* const slot = locate(digest, version);
  if (slot == nullptr) return Fate::not_there;
  if ((slot->flags & Slot::kAsked) != 0 && spare) {
    slot->flags = static_cast<std::uint8_t>(slot->flags & ~Slot::kAsked);
    return Fate::spared;
  }
  removed = take_entry(*slot);
  settle(*slot);
  return Fate::evicted;
}

template <class Payload>
void Table<Payload>::forget_claims() noexcept {
  sides_.clear();
  for (std::uint32_t index = 0; index < slots_.end(); ++index) {
    Slot& slot = *slots_.slot_at(index);
    if ((slot.flags & Slot::kSide) == 0) continue;
    slot.flags = static_cast<std::uint8_t>(slot.flags & ~Slot::kSide);
    settle(slot);
  }
}

template <class Payload>
template <class Visit>
bool Table<Payload>::scan(Position& position, const Filter& filter, std::size_t limit,
                          const Visit& visit) const {
  for (; position.slot < slots_.end(); ++position.slot) {
    const Slot& slot = *slots_.slot_at(position.slot);
    if (!slot.has_entry() || !is_before(slot.stored_at, filter)) continue;
    // The difference, as the count may wrap.
    if (static_cast<std::int32_t>(slot.born - position.born) >= 0) continue;
    if (filter.function != nullptr && filter.function != &function_of(slot)) continue;
    if (limit-- == 0) return true;
    visit(slot);
  }
  return false;
}

template <class Payload>
Payload Table<Payload>::take_entry(Slot& slot) noexcept {
  slot.flags = static_cast<std::uint8_t>(slot.flags & (Slot::kUsed | Slot::kSide));
  --entries_;
  return std::exchange(slot.payload, Payload{});
}

template <class Payload>
void Table<Payload>::drop_side(Slot& slot) noexcept {
  sides_.erase(&slot);
  slot.flags = static_cast<std::uint8_t>(slot.flags & ~Slot::kSide);
}

/// What a change of the version means for claim and outcome: the outcome is forgotten,
/// a claim that was freed is of no use any more, one that is held stays, though its
/// owner will not store.
template <class Payload>
void Table<Payload>::end_changed(Slot& slot) noexcept {
  Side* side = side_of(&slot);
  if (side == nullptr) return;
  side->outcome = Outcome::none;
  if (!side->held) drop_side(slot);
}

/// Gives a slot back once nothing needs it: at once where a new one would be the same,
/// else when there are many like it.
template <class Payload>
void Table<Payload>::settle(Slot& slot) noexcept {
  if ((slot.flags & (Slot::kEntry | Slot::kSide)) != 0) return;
  if (slot.version == state_at(slot.function).floor) {
    free(slot);
  } else if (++gone_ > kGoneBetweenPurges + entries_) {
    purge();
  }
}

template <class Payload>
void Table<Payload>::free(Slot& slot) noexcept {
  --state_at(slot.function).slots;
  slots_.remove(&slot);
}

/// Forgets the versions of what is gone. The version of everything else that is not
/// there is raised, so that none of them is seen twice.
template <class Payload>
void Table<Payload>::purge() noexcept {
  gone_ = 0;
  for (std::uint32_t index = 0; index < slots_.end(); ++index) {
    Slot& slot = *slots_.slot_at(index);
    if ((slot.flags & Slot::kUsed) == 0) continue;
    if ((slot.flags & (Slot::kEntry | Slot::kSide)) != 0) continue;
    state_at(slot.function).floor = ++changes_;
    free(slot);
  }
}

/// Forgets outcomes that are over, so that calls that fail and are never made again
/// leave nothing.
template <class Payload>
void Table<Payload>::trim_outcomes(Time now) noexcept {
  outcomes_left_ = 0;
  for (std::uint32_t index = 0; index < slots_.end(); ++index) {
    Slot& slot = *slots_.slot_at(index);
    Side* side = side_of(&slot);
    if (side == nullptr || side->outcome == Outcome::none) continue;
    if (side->outcome_until > now) continue;
    side->outcome = Outcome::none;
    if (side->serial != 0) continue;
    drop_side(slot);
    settle(slot);
  }
}

/// Why a look found no fresh entry.
template <class Payload>
shared::Miss why_none(const Table<Payload>& table, const Id& id,
                      const Ask& ask) noexcept {
  const auto* const slot = table.find(*id.function, id.digest, id.key, id.hashed);
  if (slot == nullptr) return shared::Miss::absent;
  if (slot->none() && !ask.allow_none) return shared::Miss::empty;
  return table.counts(*slot, ask) ? shared::Miss::stale : shared::Miss::unreadable;
}

}  // namespace cachier::memory
