#pragma once

/// Visits every world that can come to be from a first one.

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstddef>
#include <cstdint>
#include <unordered_set>
#include <vector>

#include "model/world.hpp"

namespace cachier::model {

struct Found {
  Broken broken = Broken::none;  ///< the first broken promise that was met
  std::size_t worlds = 0;        ///< how many different ones were visited
};

/// Stops at the first world that breaks a promise. Worlds are remembered by a 128-bit
/// hash of all that tells them apart.
template <Rules kRules>
Found search(const Options& options) {
  struct Hash {
    std::size_t operator()(const XXH128_hash_t& hash) const noexcept {
      return static_cast<std::size_t>(hash.low64);
    }
  };
  struct Equal {
    bool operator()(const XXH128_hash_t& a, const XXH128_hash_t& b) const noexcept {
      return a.low64 == b.low64 && a.high64 == b.high64;
    }
  };
  std::unordered_set<XXH128_hash_t, Hash, Equal> seen;
  std::vector<std::int32_t> description;
  const auto is_new = [&](const World<kRules>& world) {
    description.clear();
    world.describe(
        [&](auto part) { description.push_back(static_cast<std::int32_t>(part)); });
    return seen
        .insert(XXH3_128bits(description.data(),
                             description.size() * sizeof(description.front())))
        .second;
  };

  Found found;
  std::vector<World<kRules>> open{World<kRules>(options)};
  (void)is_new(open.front());
  while (!open.empty() && found.broken == Broken::none) {
    const World<kRules> world = open.back();
    open.pop_back();
    world.for_each_step([&](const World<kRules>& next) {
      if (next.broken() != Broken::none && found.broken == Broken::none) {
        found.broken = next.broken();
      }
      if (is_new(next)) open.push_back(next);
    });
  }
  found.worlds = seen.size();
  return found;
}

}  // namespace cachier::model
