#include "backends/local/local.hpp"

#include "backends/local/store.hpp"
#include "platform/file.hpp"
#include "platform/fork.hpp"
#include "platform/lock.hpp"

#include <stdlib.h>

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <new>
#include <vector>

namespace cachier {
namespace {

/// The open stores of this process. Never destroyed.
struct Registry {
  platform::Lock lock;
  std::vector<std::weak_ptr<local::LocalStore>> stores;
};

Registry& registry() {
  static auto* const one = [] {
    auto* const made = new Registry;
    platform::hold_over_forks(made->lock);
    return made;
  }();
  return *one;
}

[[maybe_unused]] const Registry& made_at_load = registry();

Result<std::string> absolute(const std::string& directory) {
  char* const path = ::realpath(directory.c_str(), nullptr);
  if (path == nullptr)
    return platform::system_error("cannot use the cache directory '" + directory + "'",
                                  errno);
  std::string text = path;
  ::free(path);
  return text;
}

}  // namespace

Result<std::shared_ptr<Store>> open_local_store(const std::string& directory,
                                                std::size_t near_cache_bytes) {
  const auto ours =
      platform::make_private_directory(directory, platform::Group::may_write);
  if (!ours) return ours.error();
  auto path = absolute(directory);
  if (!path) return path.error();

  // Made before the lock is taken, under which nothing is waited for.
  auto fresh = std::make_shared<local::LocalStore>(std::move(*path), near_cache_bytes);
  std::vector<std::shared_ptr<local::LocalStore>> alive;
  {
    Registry& all = registry();
    const std::lock_guard hold(all.lock);
    alive.reserve(all.stores.size());
    for (const auto& known : all.stores) {
      if (auto store = known.lock()) alive.push_back(std::move(store));
    }
    for (const auto& store : alive) {
      if (platform::identity_of(store->location()) == *ours)
        return std::shared_ptr<Store>(store);
    }
    all.stores.assign(alive.begin(), alive.end());
    all.stores.push_back(fresh);
  }
  platform::add_chore(fresh);
  return std::shared_ptr<Store>(std::move(fresh));
}

}  // namespace cachier
