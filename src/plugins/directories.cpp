#include "plugins/directories.hpp"

#include <cachier/backend.hpp>

#include <cstdlib>
#include <optional>
#include <string_view>
#include <vector>

#include <pwd.h>
#include <unistd.h>

namespace cachier {
namespace plugins {
namespace {

std::optional<std::string> variable(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return std::string(value);
}

/// The home directory that the system's list of users has; of this user: an empty name.
std::optional<std::string> listed_home(const std::string& user) {
  std::vector<char> buffer(std::size_t{1} << 14U);
  passwd record{};
  passwd* found = nullptr;
  const int failed =
      user.empty()
          ? ::getpwuid_r(::getuid(), &record, buffer.data(), buffer.size(), &found)
          : ::getpwnam_r(user.c_str(), &record, buffer.data(), buffer.size(), &found);
  if (failed != 0 || found == nullptr) return std::nullopt;
  if (record.pw_dir == nullptr || *record.pw_dir == '\0') return std::nullopt;
  return std::string(record.pw_dir);
}

std::optional<std::string> home_of(const std::string& user) {
  if (user.empty()) {
    if (auto home = variable("HOME")) return home;
  }
  return listed_home(user);
}

}  // namespace

std::string expand_user(const std::string& path) {
  if (!path.starts_with('~')) return path;
  const std::size_t end = std::min(path.find('/'), path.size());
  const auto home = home_of(path.substr(1, end - 1));
  if (!home) return path;
  const std::string_view rest = std::string_view(path).substr(end);
  // "/" is a home too, and "//x" is not "/x" everywhere.
  const bool at_root = home->ends_with('/') && !rest.empty();
  return (at_root ? home->substr(0, home->size() - 1) : *home) + std::string(rest);
}

}  // namespace plugins

std::string default_cache_dir() {
  if (auto base = plugins::variable("XDG_CACHE_HOME")) {
    const bool slash = base->ends_with('/');
    return *base + (slash ? "cachier" : "/cachier");
  }
  return plugins::expand_user("~/.cachier");
}

}  // namespace cachier
