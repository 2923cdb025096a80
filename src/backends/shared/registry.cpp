#include "backends/shared/registry.hpp"

#include <stdlib.h>

#include <cerrno>

namespace cachier::shared {

Result<std::string> cache_directory(const std::string& directory) {
  const auto ours =
      platform::make_private_directory(directory, platform::Group::may_write);
  if (!ours) return ours.error();
  char* const path = ::realpath(directory.c_str(), nullptr);
  if (path == nullptr)
    return platform::system_error("cannot use the cache directory '" + directory + "'",
                                  errno);
  std::string text = path;
  ::free(path);
  return text;
}

}  // namespace cachier::shared
