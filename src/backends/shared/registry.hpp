#pragma once

/// Stores of a directory are one object per process, whatever the path is called.

#include <cachier/error.hpp>

#include "platform/file.hpp"
#include "platform/fork.hpp"
#include "platform/lock.hpp"

#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace cachier::shared {

/// The absolute path of a directory that is this user's, made where it is missing.
[[nodiscard]] Result<std::string> cache_directory(const std::string& directory);

/// The open stores of this process. Thread-safe.
template <class OneStore>
class Registry {
 public:
  /// Never destroyed. Whoever uses it makes it when the library is loaded (`fork.hpp`).
  static Registry& of_process() {
    static auto* const one = [] {
      auto* const made = new Registry;
      platform::hold_over_forks(made->lock_);
      return made;
    }();
    return *one;
  }

  /// The store that is open for the directory of `fresh`, or else `fresh`, which it is
  /// from now on.
  std::shared_ptr<OneStore> known_or(std::shared_ptr<OneStore> fresh) {
    const auto ours = platform::identity_of(fresh->location());
    std::vector<std::shared_ptr<OneStore>> alive;  // let go of after the lock
    const std::lock_guard hold(lock_);
    alive.reserve(stores_.size());
    for (const auto& known : stores_) {
      if (auto store = known.lock()) alive.push_back(std::move(store));
    }
    for (const auto& store : alive) {
      if (ours && platform::identity_of(store->location()) == ours) return store;
    }
    stores_.assign(alive.begin(), alive.end());
    stores_.push_back(fresh);
    return fresh;
  }

 private:
  platform::Lock lock_;
  std::vector<std::weak_ptr<OneStore>> stores_;
};

}  // namespace cachier::shared
