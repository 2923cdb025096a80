#include "backends/files/files.hpp"

#include "backends/files/store.hpp"
#include "backends/shared/registry.hpp"

namespace cachier {
namespace {

using Registry = shared::Registry<files::FilesStore>;
[[maybe_unused]] const Registry& made_at_load = Registry::of_process();

}  // namespace

Result<std::shared_ptr<Store>> open_files_store(const std::string& directory,
                                                std::size_t near_cache_bytes,
                                                bool remote) {
  auto path = shared::cache_directory(directory);
  if (!path) return path.error();
  // Made before a lock is taken, under which nothing is waited for.
  return std::shared_ptr<Store>(Registry::of_process().known_or(
      std::make_shared<files::FilesStore>(std::move(*path), remote, near_cache_bytes)));
}

}  // namespace cachier
