#pragma once

/// What a store has open: the site in use, what is remembered of it, and those before
/// it that still count, for a claim that they hold or for whoever is inside.

#include "backends/local/near_cache.hpp"
#include "backends/local/site.hpp"
#include "platform/lock.hpp"

#include <cstdint>
#include <memory>
#include <vector>

namespace cachier::local {

/// Thread-safe. Who has a pointer may use the site for as long as he likes.
class Sites {
 public:
  using Pointer = std::shared_ptr<Site>;

  explicit Sites(std::size_t near_cache_bytes) noexcept
      : near_cache_(near_cache_bytes) {}
  Sites(const Sites&) = delete;
  Sites& operator=(const Sites&) = delete;
  ~Sites();

  /// Null: none is open.
  [[nodiscard]] Pointer current() noexcept;
  /// What is remembered of the current one.
  [[nodiscard]] NearCache& near_cache() noexcept { return near_cache_; }
  [[nodiscard]] const NearCache& near_cache() const noexcept { return near_cache_; }
  /// The site that holds this claim; null: none does.
  [[nodiscard]] Pointer holder_of(const Digest& digest, std::uint64_t serial) noexcept;

  /// `next` (or none) is the current one from here on. Whoever is inside the last one
  /// finishes there. For one thread at a time.
  void replace(Pointer next);
  /// Closes those that are not current and of no use to anybody.
  void close_unused() noexcept;

  /// Around a fork. Nobody should call `replace` between: what it adds meanwhile is
  /// left alone in the child.
  void before_fork(Deadline deadline) noexcept;
  void after_fork_in_parent() noexcept;
  /// Afterwards there is no current one. Gives the databases that must not be opened
  /// in this process: connections to them were in use.
  [[nodiscard]] std::vector<platform::Identity> after_fork_in_child() noexcept;

 private:
  NearCache near_cache_;
  platform::Lock lock_;
  Pointer current_;
  std::vector<Pointer> known_;     // oldest first, the current one is the last
  std::vector<Pointer> prepared_;  // of the fork under way
};

}  // namespace cachier::local
