#pragma once

/// Who is computing what: claims of one cache directory, of this process against others
/// by locks of the system, and of its threads against each other by a set.

#include <cachier/entry.hpp>

#include "platform/file.hpp"
#include "platform/lock.hpp"

#include <array>
#include <cstdint>
#include <string>
#include <unordered_map>

namespace cachier::shared {

inline constexpr std::uint32_t kClaimFiles = 16;

[[nodiscard]] constexpr std::uint32_t claim_file_of(const Digest& digest) noexcept {
  return static_cast<std::uint32_t>(digest.low >> 14) & (kClaimFiles - 1);
}
[[nodiscard]] constexpr std::uint64_t claim_byte_of(const Digest& digest,
                                                    std::uint32_t generation) noexcept {
  return (digest.low ^ generation * 0x9e3779b97f4a7c15) >> 2;
}

/// Thread-safe. A claim lasts until it is ended or the process dies.
class Claims {
 public:
  /// `folder`: where the lock files are or will be.
  explicit Claims(std::string folder) : folder_(std::move(folder)) {}

  struct Attempt {
    std::uint64_t serial = 0;  ///< of the claim; 0: somebody else has it
    bool here = false;         ///< that somebody is in this process
  };
  /// Takes the claim if it is free. Where the system gives no locks (no descriptors
  /// left, say), it is kept in this process only.
  Attempt take(const Digest& digest, std::uint32_t generation);

  /// Whether this claim is held here.
  [[nodiscard]] bool holds(const Digest& digest, std::uint64_t serial) noexcept;

  [[nodiscard]] bool none() noexcept;

  /// Gives the claim back. False: it is not held here. Waking is the caller's,
  /// afterwards.
  bool end(const Digest& digest, std::uint64_t serial) noexcept;

  /// Around `fork`: keeps the set still; in the child, lets go of the parent's claims
  /// without giving them back.
  void before_fork() noexcept;
  void after_fork_in_parent() noexcept;
  void after_fork_in_child() noexcept;

 private:
  struct Claim {
    std::uint64_t serial;
    std::uint64_t byte;
    std::uint32_t generation;
  };
  struct ByDigest {
    std::size_t operator()(const Digest& digest) const noexcept {
      return static_cast<std::size_t>(digest.high ^ digest.low);
    }
  };
  struct Shard {
    platform::Lock lock;
    platform::File file;
    // Of one digest there may be several: one a claim generation.
    std::unordered_multimap<Digest, Claim, ByDigest> held;
  };

  Shard& shard_of(const Digest& digest) noexcept {
    return shards_[claim_file_of(digest)];
  }
  /// With the shard's lock: whether its file is open and has not been removed since.
  bool open_file(Shard& shard, std::uint32_t number);

  const std::string folder_;
  std::array<Shard, kClaimFiles> shards_;
};

}  // namespace cachier::shared
