#pragma once

/// Which entries of a function were used last, and how much they are together.

#include <cachier/entry.hpp>
#include <cachier/store.hpp>

#include <cstdint>
#include <list>
#include <string>
#include <unordered_map>

namespace cachier::python {

/// Of one function with bounds. Knows no thread and no store.
class Recency {
 public:
  struct Used {
    Digest digest;
    std::string key;
    bool hashed = false;
    std::uint64_t size = 0;
  };

  /// What an entry counts for beside its value's bytes.
  static constexpr std::uint64_t kOverhead = 256;

  void keep_within(const Bounds& bounds) noexcept { bounds_ = bounds; }

  /// An entry was stored, of a value with `size` bytes.
  void stored(const Id& id, std::uint64_t size) {
    gone(id.digest);
    order_.push_front(
        {id.digest, std::string(as_text(id.key)), id.hashed, size + kOverhead});
    try {
      places_.emplace(id.digest, order_.begin());
    } catch (...) {
      order_.pop_front();
      throw;
    }
    bytes_ += size + kOverhead;
  }

  void touch(const Digest& digest) noexcept {
    const auto place = places_.find(digest);
    if (place != places_.end()) {
      order_.splice(order_.begin(), order_, place->second);
    }
  }

  void gone(const Digest& digest) noexcept {
    const auto place = places_.find(digest);
    if (place == places_.end()) return;
    bytes_ -= place->second->size;
    order_.erase(place->second);
    places_.erase(place);
  }

  /// The entry that is to go, or null: all are within the bounds.
  [[nodiscard]] const Used* beyond() const noexcept {
    const bool within = order_.size() <= bounds_.entries && bytes_ <= bounds_.bytes;
    return within || order_.empty() ? nullptr : &order_.back();
  }

  /// Forgets those of which `is_there` says that they are not.
  template <class IsThere>
  void forget_what_is_gone(const IsThere& is_there) noexcept {
    for (auto at = order_.begin(); at != order_.end();) {
      const Used& used = *at++;
      if (!is_there(used)) gone(used.digest);
    }
  }

 private:
  struct Hash {
    std::size_t operator()(const Digest& digest) const noexcept {
      return static_cast<std::size_t>(digest.low);
    }
  };

  Bounds bounds_;
  std::list<Used> order_;  ///< used last comes first
  std::unordered_map<Digest, std::list<Used>::iterator, Hash> places_;
  std::uint64_t bytes_ = 0;
};

}  // namespace cachier::python
