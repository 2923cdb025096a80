#pragma once

/// The store contract in memory, without locks: what the memory stores are made of.
///
/// A `Table` keeps entries, versions, epochs, claims and outcomes as
/// `<cachier/store.hpp>` promises them, for payloads of any movable type. It knows no
/// thread: whoever owns one serializes every call, by a lock (`MemoryStore`, a table a
/// shard) or by the interpreter's (the Python module's store of live objects). Wake-ups
/// are not its business either: see `wakes.hpp`.
///
/// A payload is never destroyed or overwritten inside the table: what an operation
/// removes is moved out to the caller, who drops it when the table may be entered
/// again. (Destroying a table destroys what is left in it; `clear` first where
/// that runs user code.)
///
/// Operations that can run out of memory throw `std::bad_alloc` and have then changed
/// nothing. Keys of more than 2 GiB are a `std::length_error`.

#include <cachier/store.hpp>

#include "containers/slots.hpp"

#include <cstdint>
#include <limits>
#include <unordered_map>
#include <utility>
#include <vector>

namespace cachier::memory {

template <class Payload>
class Table {
 public:
  using Slot = containers::Slot<Payload>;

  /// What a look saw. `slot` is good until the table is entered again.
  struct Seen {
    const Slot* slot = nullptr;  ///< the entry, if there is one that counts
    bool fresh = false;
    Look::Claim claim = Look::Claim::none;
    Outcome outcome = Outcome::none;
    Token token;
    Time now;
  };

  /// Where a scan of one table goes on.
  struct Position {
    std::uint32_t slot = 0;
    std::uint32_t born = 0;  ///< slots made later than this are not of the scan
  };

  Table() = default;
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;

  /// From now on tokens of this table get the serials `first`, `first + step`, ...:
  /// tables of one store must not share any.
  void number_tokens(std::uint64_t first, std::uint64_t step) noexcept {
    next_serial_ = first;
    serial_step_ = step;
  }

  /// The entry of this call whatever its age, or null: the whole of a hit. The slot is
  /// good until the table is entered again.
  [[nodiscard]] const Slot* find(const Function& function, const Digest& digest,
                                 Bytes key, bool hashed = false) const noexcept {
    const Slot* slot = locate(function, digest, key, hashed);
    return slot != nullptr && slot->has_entry() ? slot : nullptr;
  }

  /// Notes that an entry was asked for, for `evict`. A look does so itself.
  void touch(const Slot& slot) noexcept {
    // Seldom written, as many may read it.
    if ((slot.flags & Slot::kAsked) == 0)
      const_cast<Slot&>(slot).flags |= Slot::kAsked;  // NOLINT(*-const-cast): its own
  }

  /// Whether the caller takes this entry for one, whatever its age.
  [[nodiscard]] static bool counts(const Slot& slot, const Ask& ask) noexcept {
    if (slot.none() && !ask.allow_none) return false;
    return !ask.unreadable || *ask.unreadable != version_of(slot);
  }

  /// `Store::look`. `now` is called at most once, only if the answer depends on it.
  template <class Now>
  Seen look(const Id& id, const Ask& ask, const Now& now) {
    Seen seen;
    Slot* slot = locate(*id.function, id.digest, id.key, id.hashed);
    if (slot == nullptr) [[unlikely]] {
      seen.token.basis = absent(*id.function);
    } else {
      seen.token.basis = basis_of(*slot);
      if (slot->has_entry() && counts(*slot, ask)) [[likely]] {
        seen.slot = slot;
        if (ask.max_age == kNoLimit) {
          seen.fresh = true;
        } else if (ask.max_age > Duration::zero()) {
          seen.now = now();
          seen.fresh = is_fresh(slot->stored_at, seen.now, ask.max_age);
        }
        if (seen.fresh) [[likely]] {
          touch(*slot);
          return seen;
        }
      }
    }
    look_for_claim(id, ask, now, slot, seen);
    return seen;
  }

  /// `Change::Kind::put`, conditions of `change` included. The payload is moved from
  /// only if it is stored; what it replaces is then moved to `replaced`. `marks`: any
  /// of `kNone` and `kBoxed`.
  Result<Version> put(const Id& id, const Change& change, Payload& payload,
                      std::uint8_t marks, Time now, Payload& replaced);
  /// `Change::Kind::release`.
  Result<Version> release(const Id& id, const Token& token, Outcome outcome, Time now);
  /// `Change::Kind::erase`. The entry that was there is moved to `removed`.
  Version erase(const Id& id, Payload& removed);

  /// `Store::clear`. Gives the number of entries, which are appended to `removed`.
  std::uint64_t clear(const Filter& filter, Clear what, std::vector<Payload>& removed);

  enum class Fate : std::uint8_t { not_there, spared, evicted };
  /// Removes the entry of this digest and version (that of the slot), unless it is to
  /// be `spared` once more because somebody asked for it; moves it to `removed`.
  /// Whoever is about to replace it is not disturbed.
  Fate evict(const Digest& digest, std::uint64_t version, bool spare,
             Payload& removed) noexcept;
  /// Whether there is an entry of this digest and version.
  [[nodiscard]] bool has(const Digest& digest, std::uint64_t version) const noexcept {
    return locate(digest, version) != nullptr;
  }

  /// Ends all claims without a trace; tokens given so far are refused. For the child of
  /// a fork, where nobody is left to use them.
  void forget_claims() noexcept;

  /// Visits up to `limit` slots with an entry that matches, from `position` on, and
  /// moves it past them. True: there may be more. `visit` must not enter the table.
  template <class Visit>
  bool scan(Position& position, const Filter& filter, std::size_t limit,
            const Visit& visit) const;
  /// Where a scan starts. Entries that come later are not listed: they could be listed
  /// twice.
  [[nodiscard]] Position begin() const noexcept { return {0, slots_.born()}; }

  [[nodiscard]] const Function& function_of(const Slot& slot) const noexcept {
    return *state_at(slot.function).function;
  }
  [[nodiscard]] static Version version_of(const Slot& slot) noexcept {
    return Version{{slot.version, 0, 0}};
  }
  /// Entries, of all functions.
  [[nodiscard]] std::size_t size() const noexcept { return entries_; }
  /// Slots in use: entries, claims, outcomes, and a bounded number of what is gone.
  [[nodiscard]] std::size_t slots() const noexcept { return slots_.used(); }

 private:
  /// A function that has, or had, something in this table.
  struct State {
    const Function* function = nullptr;
    std::uint64_t epoch = 0;
    /// Version of its calls that have no slot.
    std::uint64_t floor = 0;
    std::uint32_t slots = 0;
  };

  /// What few slots have.
  struct Side {
    std::uint64_t serial = 0;  ///< of the claim granted last, 0: none
    bool held = false;         ///< else it was freed, and its owner may still store
    Outcome outcome = Outcome::none;
    Time outcome_until;
  };

  /// Most tables serve one function: the first one is at hand.
  [[nodiscard]] const State& state_at(std::uint32_t index) const noexcept {
    return index == 0 ? first_state_ : more_states_[index - 1];
  }
  [[nodiscard]] State& state_at(std::uint32_t index) noexcept {
    return index == 0 ? first_state_ : more_states_[index - 1];
  }

  [[nodiscard, gnu::always_inline]] Slot* locate(const Function& function,
                                                 const Digest& digest, Bytes key,
                                                 bool hashed) const noexcept {
    if (key.size() > Slot::kMaxKey) [[unlikely]]
      return nullptr;
    const std::uint32_t shape = Slot::shape_of(key.size(), hashed);
    // A function and a key have one digest: it is not compared again.
    return slots_.find(digest, [&](const Slot& slot) noexcept {
      return slot.shape == shape && state_at(slot.function).function == &function &&
             slot.holds(key);
    });
  }

  [[nodiscard]] Slot* locate(const Digest& digest,
                             std::uint64_t version) const noexcept {
    return slots_.find(digest, [&](const Slot& slot) noexcept {
      return slot.has_entry() && slot.digest == digest && slot.version == version;
    });
  }

  [[nodiscard]] Basis basis_of(const Slot& slot) const noexcept {
    return {state_at(slot.function).epoch + epoch_, version_of(slot)};
  }
  [[nodiscard]] Basis absent(const Function& function) const noexcept {
    const auto found = serials_.find(&function);
    if (found == serials_.end()) return {epoch_, Version{}};
    const State& state = state_at(found->second);
    return {state.epoch + epoch_, Version{{state.floor, 0, 0}}};
  }

  static constexpr std::size_t kGoneBetweenPurges = 64;
  static constexpr std::size_t kOutcomesBetweenTrims = 256;

  std::uint32_t state_of(const Function& function);
  Slot* make_slot(const Id& id);
  template <class Now>
  void look_for_claim(const Id& id, const Ask& ask, const Now& now, Slot* slot,
                      Seen& seen);
  [[nodiscard]] Side* side_of(Slot* slot) noexcept;
  [[nodiscard]] bool may_put(const Id& id, const Change& change, Slot* slot) noexcept;
  void drop_side(Slot& slot) noexcept;
  void end_changed(Slot& slot) noexcept;
  std::uint64_t clear_entries(const Filter& filter, std::vector<Payload>& removed);
  std::uint64_t clear_stale(const Filter& filter, std::vector<Payload>& removed);
  Payload take_entry(Slot& slot) noexcept;
  void settle(Slot& slot) noexcept;
  void free(Slot& slot) noexcept;
  void purge() noexcept;
  void trim_outcomes(Time now) noexcept;

  // What a hit reads comes first, in as few cache lines as it fits.
  State first_state_;
  std::uint64_t epoch_ = 0;  ///< added to that of each function
  containers::Slots<Payload> slots_;
  std::vector<State> more_states_;
  std::unordered_map<const Function*, std::uint32_t> serials_;
  std::unordered_map<Slot*, Side> sides_;
  std::uint64_t changes_ = 0;  ///< the version given last
  std::uint64_t next_serial_ = 1;
  std::uint64_t serial_step_ = 1;
  std::size_t entries_ = 0;
  /// Slots that were kept only for the version of what is gone, since the last purge.
  std::size_t gone_ = 0;
  std::size_t outcomes_left_ = 0;  ///< since they were last looked through
};

}  // namespace cachier::memory

#include "backends/memory/table_impl.hpp"
