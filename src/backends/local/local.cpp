#include "backends/local/local.hpp"

#include "backends/local/store.hpp"
#include "backends/shared/registry.hpp"

namespace cachier {
namespace {

using Registry = shared::Registry<local::LocalStore>;
[[maybe_unused]] const Registry& made_at_load = Registry::of_process();

}  // namespace

Result<std::shared_ptr<Store>> open_local_store(const std::string& directory,
                                                std::size_t near_cache_bytes) {
  auto path = shared::cache_directory(directory);
  if (!path) return path.error();
  // Made before a lock is taken, under which nothing is waited for.
  const auto fresh =
      std::make_shared<local::LocalStore>(std::move(*path), near_cache_bytes);
  auto store = Registry::of_process().known_or(fresh);
  if (store == fresh) platform::add_chore(fresh);
  return std::shared_ptr<Store>(std::move(store));
}

}  // namespace cachier
