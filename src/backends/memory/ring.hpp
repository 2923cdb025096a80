#pragma once

/// What is kept under one bound, in the order in which it came.

#include <cachier/entry.hpp>
#include <cachier/store.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <iterator>
#include <unordered_map>

namespace cachier::memory {

/// Entries by second chance (CLOCK): those that came first go first, but whoever was
/// asked for since comes last once more. Knows no thread and no store; whoever owns one
/// tells it what is stored and what is gone.
///
/// Told in any order by several threads: an entry's versions only grow, and what is
/// older than what is known is not heeded.
class Ring {
 public:
  struct Item {
    Digest digest;
    std::uint64_t version = 0;  ///< as its table counts
  };

  /// What an entry counts for beside its value's bytes.
  static constexpr std::uint64_t kOverhead = 256;

  void keep_within(const Bounds& bounds) noexcept { bounds_ = bounds; }

  /// An entry was stored, of a value with `size` bytes. Throws `std::bad_alloc`,
  /// nothing changed.
  void stored(const Digest& digest, std::uint64_t version, std::uint64_t size) {
    const auto known = kept_.find(digest);
    if (known != kept_.end()) {
      Kept& kept = known->second;
      if (version < kept.version) return;
      bytes_ += size + kOverhead - kept.size;
      kept.version = version;
      kept.size = size + kOverhead;
      return;
    }
    if (turns_.size() > 2 * kept_.size() + kSlack) drop_empty_turns();
    turns_.push_back({digest, next_});
    try {
      kept_.emplace(digest, Kept{version, size + kOverhead, next_});
    } catch (...) {
      turns_.pop_back();
      throw;
    }
    ++next_;
    bytes_ += size + kOverhead;
  }

  /// The entry of this digest is gone, if it is none later than `version`.
  void gone(const Digest& digest, std::uint64_t version) noexcept {
    const auto known = kept_.find(digest);
    if (known != kept_.end() && known->second.version <= version) forget(known);
  }

  [[nodiscard]] bool is_over() const noexcept {
    return kept_.size() > bounds_.entries || bytes_ > bounds_.bytes;
  }

  /// Evicts until all is within the bounds. `evict(item, spare)` says whether the entry
  /// is no longer there; false: it was asked for and is spared, which it may only be if
  /// `spare`. A bounded number is spared, so that nobody waits for long.
  template <class Evict>
  void shrink(const Evict& evict) {
    for (int spared = 0; is_over() && !turns_.empty();) {
      const Turn turn = turns_.front();
      const auto known = kept_.find(turn.digest);
      if (known != kept_.end() && known->second.turn == turn.number) {
        const Item item{turn.digest, known->second.version};
        if (!evict(item, spared < kSparedAtOnce)) {
          turns_.push_back(turn);
          ++spared;
        } else {
          forget(known);
        }
      }
      turns_.pop_front();
    }
  }

  /// Forgets those of which `is_there(digest, version)` says that they are not.
  template <class IsThere>
  void forget_what_is_gone(const IsThere& is_there) noexcept {
    for (auto at = kept_.begin(); at != kept_.end();) {
      const auto next = std::next(at);
      if (!is_there(at->first, at->second.version)) forget(at);
      at = next;
    }
  }

 private:
  static constexpr std::size_t kSlack = 64;
  static constexpr int kSparedAtOnce = 64;

  struct Kept {
    std::uint64_t version = 0;
    std::uint64_t size = 0;
    std::uint64_t turn = 0;
  };
  /// The turn of an entry, if that still says so; else empty.
  struct Turn {
    Digest digest;
    std::uint64_t number = 0;
  };
  struct Hash {
    std::size_t operator()(const Digest& digest) const noexcept {
      return static_cast<std::size_t>(digest.low);
    }
  };
  using Map = std::unordered_map<Digest, Kept, Hash>;

  void forget(Map::iterator known) noexcept {
    bytes_ -= known->second.size;
    kept_.erase(known);
  }
  void drop_empty_turns() noexcept {
    std::erase_if(turns_, [this](const Turn& turn) {
      const auto known = kept_.find(turn.digest);
      return known == kept_.end() || known->second.turn != turn.number;
    });
  }

  Bounds bounds_;
  Map kept_;
  std::deque<Turn> turns_;
  std::uint64_t next_ = 0;
  std::uint64_t bytes_ = 0;
};

}  // namespace cachier::memory
