#include "backends/local/peek.hpp"

#include "backends/local/layout.hpp"
#include "backends/local/schema.hpp"
#include "backends/local/table.hpp"
#include "platform/clock.hpp"
#include "platform/file.hpp"

#include <fcntl.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <vector>

namespace cachier::local {
namespace {

namespace fs = std::filesystem;

/// Where the word `generation` is in the table.
constexpr std::size_t kGenerationAt = 64;

/// The generation in a name like `c12.db-wal`; nothing: it is not of a database.
std::optional<std::uint64_t> generation_in(std::string_view name) noexcept {
  if (name.empty() || name.front() != 'c') return std::nullopt;
  std::uint64_t number = 0;
  const char* const last = name.data() + name.size();
  const auto [end, error] = std::from_chars(name.data() + 1, last, number);
  if (error != std::errc() || end == last || *end != '.') return std::nullopt;
  return number;
}

void add(const fs::directory_entry& entry, Files& files) {
  std::error_code error;
  if (!entry.is_regular_file(error)) return;
  const std::uintmax_t size = entry.file_size(error);
  if (error) return;  // gone meanwhile
  ++files.count;
  files.bytes += size;
}

void add_all(const fs::path& directory, Files& files) {
  std::error_code error;
  for (auto at = fs::recursive_directory_iterator(directory, error);
       !error && at != fs::recursive_directory_iterator(); at.increment(error))
    add(*at, files);
}

}  // namespace

Result<std::unique_ptr<Peek>> Peek::open(const std::string& directory) {
  const std::string folder = directory + "/" + kFolder;
  if (!platform::identity_of(folder)) {
    if (errno == ENOENT) return std::unique_ptr<Peek>();
    return platform::system_error("cannot look into '" + folder + "'", errno);
  }
  // They are there, so this only checks whose they are.
  if (auto ours =
          platform::make_private_directory(directory, platform::Group::may_write);
      !ours)
    return ours.error();
  if (auto ours = platform::make_private_directory(folder); !ours) return ours.error();
  std::unique_ptr<Peek> peek(new Peek(folder));
  // Without the file nobody is here whom it keeps out; and it is not to be made.
  if (platform::identity_of(folder + "/locks"))
    (void)peek->guard_.open(folder + "/locks");
  return peek;
}

Peek::Head Peek::read_table() const {
  Head head;
  const std::string path = folder_ + "/table";
  // Without O_NONBLOCK a FIFO would hold us up.
  const auto file = platform::File::open(path, O_RDONLY | O_NONBLOCK);
  if (!file) {
    if (errno != ENOENT)
      head.damage = platform::system_error("cannot read '" + path + "'", errno);
    return head;
  }
  std::array<std::byte, kEvictionsAt + 8> beginning{};
  const std::size_t got = platform::read_at(file, beginning, 0);
  head.damage = Table::check(Bytes(beginning).first(got), platform::mark_of(file).size);
  std::uint64_t generation = 0;
  std::memcpy(&generation, beginning.data() + kGenerationAt, sizeof generation);
  if (!head.damage && generation == 0)
    head.damage = Error(ErrorCode::corrupt, "the table of the cache is damaged",
                        "it says that no database is in use");
  if (head.damage) return head;
  // A database has its name before the table names it.
  const std::uint64_t newest = newest_generation(folder_);
  if (generation > newest && platform::identity_of(database_path(folder_, newest)))
    head.damage = Error(ErrorCode::corrupt, "the table of the cache is damaged",
                        "it says that " + database_path(folder_, generation) +
                            " is in use, which is not there");
  if (!head.damage) head.generation = generation;
  std::memcpy(&head.evictions, beginning.data() + kEvictionsAt, sizeof head.evictions);
  return head;
}

std::uint64_t Peek::generation() const {
  const auto said = read_table().generation;
  return said ? *said : newest_generation(folder_);
}

std::optional<Error> Peek::table_damage() const { return read_table().damage; }

std::uint64_t Peek::evictions() const { return read_table().evictions; }

Result<std::unique_ptr<Connection>> Peek::connect(std::uint64_t generation,
                                                  Deadline deadline) {
  if (!guard_.enter_door(deadline))
    return Error(ErrorCode::deadline_exceeded, "the cache's database was busy",
                 "another process is replacing it", "try again");
  auto connection =
      Connection::open(database_path(folder_, generation), true, deadline);
  guard_.leave_door();
  return connection;
}

bool Peek::await_quiet(Deadline deadline) const {
  // A lock of our own: those of one description do not keep each other out.
  const auto file = platform::File::open(folder_ + "/locks", O_RDWR);
  if (!file) return true;  // who cannot lock does not write
  while (!platform::lock_byte(file, kGuard, platform::ByteLock::exclusive)) {
    if (errno != EAGAIN) return true;
    if (std::chrono::steady_clock::now() >= deadline) return false;
    platform::pause_for(std::chrono::microseconds(100));
  }
  platform::unlock_byte(file, kGuard);
  return true;
}

Inventory inventory_of(const std::string& folder, std::uint64_t generation) {
  Inventory all;
  std::error_code error;
  for (auto at = fs::directory_iterator(folder, error);
       !error && at != fs::directory_iterator(); at.increment(error)) {
    const std::string name = at->path().filename();
    const auto number = generation_in(name);
    const bool values = name.ends_with(".values");
    if (number && *number < generation) {
      if (name.ends_with(".db")) ++all.databases_set_aside;
      if (values) add_all(at->path(), all.set_aside);
      add(*at, all.set_aside);
    } else if (values) {
      add_all(at->path(), all.value_files);
    } else if (number == generation && name.ends_with(".db")) {
      add(*at, all.database);
    } else if (number == generation && name.ends_with("-wal")) {
      add(*at, all.log);
    } else {
      add(*at, all.others);
    }
  }
  return all;
}

std::optional<Error> remove_set_aside(const std::string& folder,
                                      std::uint64_t generation) {
  std::vector<fs::path> paths;
  std::error_code error;
  for (auto at = fs::directory_iterator(folder, error);
       !error && at != fs::directory_iterator(); at.increment(error)) {
    const auto number = generation_in(at->path().filename().string());
    if (number && *number < generation) paths.push_back(at->path());
  }
  for (const fs::path& path : paths) {
    fs::remove_all(path, error);
    if (error)
      return platform::system_error("cannot remove '" + path.string() + "'",
                                    error.value());
  }
  if (error)
    return platform::system_error("cannot look into '" + folder + "'", error.value());
  return std::nullopt;
}

}  // namespace cachier::local
