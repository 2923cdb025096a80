#include "backends/files/files.hpp"
#include "backends/local/local.hpp"
#include "backends/memory/memory.hpp"
#include "platform/file.hpp"
#include "platform/file_system.hpp"
#include "plugins/directories.hpp"
#include "plugins/later_store.hpp"

#include <cachier/backend.hpp>
#include <cachier/log.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <string_view>
#include <utility>

namespace cachier {
namespace {

using Opened = Result<std::shared_ptr<Store>>;

constexpr std::uint64_t kNearCacheBytes = std::uint64_t{64} << 20;

/// A number that the spec gives, or an environment variable, or nobody.
Result<std::uint64_t> number_of(const std::optional<std::uint64_t>& given,
                                const char* name, std::uint64_t otherwise) {
  if (given) return *given;
  const char* const set = std::getenv(name);
  if (set == nullptr || *set == '\0') return otherwise;
  const std::string_view text = set;
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.begin(), text.end(), number);
  if (error == std::errc() && end == text.end()) return number;
  return Error(ErrorCode::invalid_argument,
               std::string("cannot use ") + name + "='" + set + "'",
               "it is not a whole number", "set it to digits only, or not at all");
}

void warn_of_file_system(const std::string& directory, std::uint64_t file_system) {
  const std::string name = platform::name_of_file_system(file_system);
  log_once(LogLevel::warning, "file system of " + directory,
           "the cache in '" + directory +
               "' is kept as one file an entry\n  cause: " + name +
               " does not keep a database that processes share\n  fix:   set "
               "separate_files to choose this, or cache_dir to a directory of this "
               "machine");
}

Opened open_local(const StoreSpec& spec) {
  const auto remembered =
      number_of(spec.near_cache_bytes, "CACHIER_NEAR_CACHE_BYTES", kNearCacheBytes);
  if (!remembered) return remembered.error();
  const auto entries =
      number_of(spec.max_entries, "CACHIER_MAX_ENTRIES", Bounds::kNone);
  if (!entries) return entries.error();
  const auto bytes = number_of(spec.max_bytes, "CACHIER_MAX_BYTES", Bounds::kNone);
  if (!bytes) return bytes.error();
  const Bounds bounds{.entries = *entries, .bytes = *bytes};
  const std::string directory = spec.cache_dir.empty()
                                    ? default_cache_dir()
                                    : plugins::expand_user(spec.cache_dir);
  // It has to be there to be asked where it is.
  if (auto ours =
          platform::make_private_directory(directory, platform::Group::may_write);
      !ours)
    return ours.error();
  const auto near_bytes = static_cast<std::size_t>(*remembered);
  const std::uint64_t file_system = platform::file_system_of(directory);
  const bool remote = !platform::is_of_one_machine(file_system);
  const bool separate = spec.separate_files || remote;
  if (separate && !spec.separate_files) warn_of_file_system(directory, file_system);
  auto store = separate ? open_files_store(directory, near_bytes, remote)
                        : open_local_store(directory, near_bytes);
  if (store && bounds.any()) (*store)->keep_within(nullptr, bounds);
  return store;
}

Opened open_memory(const StoreSpec&) { return make_memory_store(); }

/// A backend by its name in `backend=`, or by the scheme of the URL there.
struct Known {
  std::string_view name;
  Opened (*open)(const StoreSpec&);  ///< null: not in this build
  std::string_view detail;
};

constexpr std::array kKnown{
    Known{"local", open_local, "on this machine's disk, shared by its processes"},
    Known{"pickle", open_local, "older name of local"},
    Known{"memory", open_memory, "in this process, live objects"},
    Known{"sqlite", nullptr, "SQLite database of your own (sqlite:///path)"},
    Known{"postgresql", nullptr, "PostgreSQL (postgresql://host/database)"},
    Known{"mysql", nullptr, "MySQL and MariaDB (mysql://host/database)"},
    Known{"redis", nullptr, "Redis (redis://host)"},
    Known{"mongodb", nullptr, "MongoDB (mongodb://host/database)"},
    Known{"s3", nullptr, "S3 and what speaks like it (s3://bucket/prefix)"},
};

constexpr std::string_view kNotBuilt = "not part of this version";

std::string ready_names() {
  std::string names;
  for (const Known& known : kKnown) {
    if (known.open == nullptr) continue;
    if (!names.empty()) names += ", ";
    names += known.name;
  }
  return names;
}

/// How a message names a backend: a URL may hold a password, its scheme does not.
std::string shown(std::string_view backend) {
  const std::size_t scheme = backend.find("://");
  if (scheme == std::string_view::npos) return "'" + std::string(backend) + "'";
  return "'" + std::string(backend.substr(0, scheme)) + "://...'";
}

}  // namespace

Result<std::shared_ptr<Store>> open_store(const StoreSpec& spec) {
  const std::string_view backend = spec.backend;
  const std::string_view name = backend.substr(0, backend.find("://"));
  for (const Known& known : kKnown) {
    if (known.name != name) continue;
    if (known.open == nullptr) {
      return Error(ErrorCode::invalid_argument, "cannot open backend " + shown(backend),
                   std::string(kNotBuilt), "use one of: " + ready_names());
    }
    if (name.size() != backend.size()) {
      return Error(ErrorCode::invalid_argument, "cannot open backend " + shown(backend),
                   "'" + std::string(name) + "' is not reached by a URL",
                   "use '" + std::string(name) + "'");
    }
    return known.open(spec);
  }
  return Error(ErrorCode::invalid_argument, "cannot open backend " + shown(backend),
               "there is no backend of this name", "use one of: " + ready_names());
}

Result<std::shared_ptr<Store>> open_store_or_later(const StoreSpec& spec) {
  auto opened = open_store(spec);
  if (opened || opened.error() == ErrorCode::invalid_argument) return opened;
  return plugins::open_later(spec, opened.error());
}

std::vector<BackendInfo> backends() {
  std::vector<BackendInfo> all;
  all.reserve(kKnown.size());
  for (const Known& known : kKnown) {
    const bool ready = known.open != nullptr;
    std::string detail(known.detail);
    if (!ready) detail += ": " + std::string(kNotBuilt);
    all.push_back({std::string(known.name), ready, std::move(detail)});
  }
  return all;
}

}  // namespace cachier
