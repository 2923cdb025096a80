#include "backends/shared/claims.hpp"

#include "platform/random.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <mutex>

namespace cachier::shared {

bool Claims::open_file(Shard& shard, std::uint32_t number) {
  if (shard.file && platform::has_name(shard.file)) return true;
  // Replacing a removed file drops the claims that were held by it, which nobody but
  // this process could see any more.
  shard.file = platform::File::open(folder_ + "/claims." + "0123456789abcdef"[number],
                                    O_RDWR | O_CREAT);
  return static_cast<bool>(shard.file);
}

Claims::Attempt Claims::take(const Digest& digest, std::uint32_t generation) {
  Shard& shard = shard_of(digest);
  const std::lock_guard hold(shard.lock);
  const auto [first, last] = shard.held.equal_range(digest);
  for (auto one = first; one != last; ++one) {
    if (one->second.generation == generation) return {0, true};
  }
  const Claim claim{platform::random_bits(), claim_byte_of(digest, generation),
                    generation};
  const bool open = open_file(shard, claim_file_of(digest));
  // The last that may throw: what is in the set is held.
  const auto entered = shard.held.emplace(digest, claim);
  if (open &&
      !platform::lock_byte(shard.file, claim.byte, platform::ByteLock::exclusive) &&
      errno == EAGAIN) {
    shard.held.erase(entered);
    return {0, false};
  }
  return {claim.serial, false};
}

bool Claims::holds(const Digest& digest, std::uint64_t serial) noexcept {
  Shard& shard = shard_of(digest);
  const std::lock_guard hold(shard.lock);
  const auto [first, last] = shard.held.equal_range(digest);
  for (auto one = first; one != last; ++one) {
    if (one->second.serial == serial) return true;
  }
  return false;
}

bool Claims::none() noexcept {
  return std::all_of(shards_.begin(), shards_.end(), [](Shard& shard) {
    const std::lock_guard hold(shard.lock);
    return shard.held.empty();
  });
}

bool Claims::end(const Digest& digest, std::uint64_t serial) noexcept {
  Shard& shard = shard_of(digest);
  const std::lock_guard hold(shard.lock);
  const auto [first, last] = shard.held.equal_range(digest);
  for (auto one = first; one != last; ++one) {
    if (one->second.serial != serial) continue;
    if (shard.file) platform::unlock_byte(shard.file, one->second.byte);
    shard.held.erase(one);
    return true;
  }
  return false;
}

void Claims::before_fork() noexcept {
  for (Shard& shard : shards_) shard.lock.lock();
}

void Claims::after_fork_in_parent() noexcept {
  for (Shard& shard : shards_) shard.lock.unlock();
}

void Claims::after_fork_in_child() noexcept {
  for (Shard& shard : shards_) {
    // Closing leaves the parent's locks alone, as its own descriptor is still open;
    // unlocking would take them away.
    shard.file.close();
    shard.held.clear();
    shard.lock.reset_in_child();
  }
}

}  // namespace cachier::shared
