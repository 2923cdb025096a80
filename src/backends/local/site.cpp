#include "backends/local/site.hpp"

#include <cachier/log.hpp>

#include "backends/local/layout.hpp"
#include "backends/local/schema.hpp"

#include <algorithm>
#include <filesystem>
#include <new>
#include <system_error>

namespace cachier::local {
namespace {

/// From how many new frames on a checkpoint is worth it.
constexpr int kCheckpointFrames = 1'000;

Error was_busy(const std::string& folder) {
  return {ErrorCode::deadline_exceeded, "cannot open the cache in '" + folder + "'",
          "another process is making its files", "try again"};
}

bool is_refusal_to_write(const Error& error) noexcept {
  return error == ErrorCode::refused || error == ErrorCode::unavailable;
}

}  // namespace

FunctionRows::~FunctionRows() {
  for (auto& chunk : chunks_) delete chunk.load();
}

std::int64_t FunctionRows::find(const Function& function) const noexcept {
  const std::uint32_t serial = function.serial();
  if (serial / kChunk >= chunks_.size()) return 0;
  const Chunk* const chunk = chunks_[serial / kChunk].load(std::memory_order_acquire);
  if (chunk == nullptr) return 0;
  return (*chunk)[serial % kChunk].load(std::memory_order_relaxed);
}

void FunctionRows::remember(const Function& function, std::int64_t row) noexcept {
  const std::uint32_t serial = function.serial();
  if (serial / kChunk >= chunks_.size()) return;
  auto& place = chunks_[serial / kChunk];
  Chunk* chunk = place.load(std::memory_order_acquire);
  if (chunk == nullptr) {
    auto* const made = new (std::nothrow) Chunk{};
    if (made == nullptr) return;
    if (place.compare_exchange_strong(chunk, made)) {
      chunk = made;
    } else {
      delete made;
    }
  }
  (*chunk)[serial % kChunk].store(static_cast<std::int32_t>(row),
                                  std::memory_order_relaxed);
}

Result<std::unique_ptr<Site>> Site::open(
    const std::string& folder, Deadline deadline,
    const std::vector<platform::Identity>& abandoned) {
  if (auto ours = platform::make_private_directory(folder); !ours) return ours.error();
  std::unique_ptr<Site> site(new Site(folder));
  site->read_only_ = site->guard_.open(folder + "/locks");
  if (auto error = site->open_table(deadline)) return *error;
  auto error = site->open_database(deadline, abandoned);
  if (error && *error == ErrorCode::corrupt && !site->read_only_) {
    site->pool_.reset();
    const auto replaced = site->set_aside(deadline);
    if (!replaced) return replaced.error();
    error = site->open_database(deadline, abandoned);
  }
  if (error) return *error;
  return site;
}

Result<Table> Site::open_or_make_table(Deadline deadline) {
  const std::string path = folder_ + "/table";
  // A damaged one holds nothing that cannot do without: it is replaced, and whoever has
  // it open finds that its name has gone to another.
  bool missing = false;
  const auto to_be_made = [&](const Result<Table>& table) {
    return !table && (missing || table.error() == ErrorCode::corrupt);
  };
  auto table = Table::open(path, missing);
  if (!to_be_made(table)) return table;
  if (!guard_.enter_making(deadline)) return was_busy(folder_);
  table = Table::open(path, missing);
  if (to_be_made(table))
    table = Table::make(path, path + ".new", newest_generation(folder_));
  guard_.leave_making();
  return table;
}

std::optional<Error> Site::open_table(Deadline deadline) {
  if (!read_only_) {
    auto table = open_or_make_table(deadline);
    if (table) {
      table_ = std::move(*table);
      return std::nullopt;
    }
    if (!is_refusal_to_write(table.error())) return table.error();
    read_only_ = table.error();
  }
  // Nothing may be written that readers elsewhere could not learn of.
  auto table = Table::in_memory();
  if (!table) return table.error();
  table_ = std::move(*table);
  table_.generation().store(newest_generation(folder_));
  return std::nullopt;
}

std::optional<Error> Site::open_database(
    Deadline deadline, const std::vector<platform::Identity>& abandoned) {
  generation_ = table_.generation().load();
  database_path_ = database_path(folder_, generation_);
  database_ = platform::identity_of(database_path_);
  if (!database_) {
    if (read_only_) return read_only_;
    if (!guard_.enter_making(deadline)) return was_busy(folder_);
    std::optional<Error> error;
    if (!platform::identity_of(database_path_)) error = make_database(database_path_);
    if (!error) table_.raise_counters();
    guard_.leave_making();
    if (error) return error;
    database_ = platform::identity_of(database_path_);
  }
  if (std::find(abandoned.begin(), abandoned.end(), database_) != abandoned.end())
    return Error(ErrorCode::unavailable,
                 "cannot use the cache's database '" + database_path_ + "'",
                 "this process was forked while another thread was using it",
                 "start the process anew, or by spawn");
  value_files_.emplace(value_folder(folder_, generation_));
  pool_ = std::make_unique<Pool>(database_path_, read_only_.has_value(), guard_);
  // It says now what is wrong with it.
  auto connection = pool_->lend(deadline);
  if (!connection) return connection.error();
  return std::nullopt;
}

Result<bool> Site::set_aside(Deadline deadline) {
  if (read_only_ || !table_.is_shared())
    return Error(ErrorCode::unavailable,
                 "cannot replace the damaged '" + database_path_ + "'",
                 "nothing can be written here",
                 "make the cache directory writable, or delete it");
  if (!guard_.take_turn(deadline)) return was_busy(folder_);
  if (!guard_.enter_alone(table_, deadline)) {
    guard_.end_turn();
    return was_busy(folder_);
  }
  std::optional<Error> error;
  bool replaced = !is_of_generation_in_use();
  if (!replaced && is_damaged(database_path_, deadline)) {
    error = begin_generation(generation_ + 1);
    replaced = replaced_ = !error;
  }
  guard_.leave_alone();
  guard_.end_turn();
  if (error) return *error;
  return replaced;
}

std::optional<Error> Site::begin_generation(std::uint64_t generation) {
  const std::string path = database_path(folder_, generation);
  if (auto error = make_database(path)) return error;
  table_.generation().store(generation);
  table_.raise_counters();
  log(LogLevel::warning,
      "the cache's database '" + database_path_ +
          "' is damaged and was set aside; a new one begins empty, in '" + path +
          "'. Look at the disk and its file system if this happens again.");
  // The one set aside before it.
  if (generation > 2) {
    remove_database(database_path(folder_, generation - 2));
    std::error_code ignored;
    std::filesystem::remove_all(value_folder(folder_, generation - 2), ignored);
  }
  return std::nullopt;
}

bool Site::is_in_place() const noexcept {
  return is_of_generation_in_use() &&
         platform::identity_of(database_path_) == database_ &&
         (!table_.is_shared() ||
          platform::identity_of(folder_ + "/table") == table_.identity()) &&
         (!guard_.is_open() || guard_.has_name());
}

std::uint64_t Site::log_bytes() const noexcept {
  // Before anything was written here it is no affair of this process.
  if (log_frames() == 0) return 0;
  std::error_code error;
  const auto size = std::filesystem::file_size(database_path_ + "-wal", error);
  return error ? 0 : size;
}

void Site::note_log(int frames) noexcept {
  log_frames_.store(frames, std::memory_order_relaxed);
  // Fewer than there were: a writer has begun the log anew.
  if (frames < frames_at_checkpoint_.load(std::memory_order_relaxed))
    frames_at_checkpoint_.store(0, std::memory_order_relaxed);
}

void Site::note_checkpoint(int frames) noexcept {
  frames_at_checkpoint_.store(std::max(frames, 0), std::memory_order_relaxed);
}

bool Site::wants_checkpoint() const noexcept {
  return log_frames() >=
         frames_at_checkpoint_.load(std::memory_order_relaxed) + kCheckpointFrames;
}

void Site::before_fork() noexcept {
  claims_.before_fork();
  guard_.before_fork();
}

void Site::after_fork_in_parent() noexcept {
  guard_.after_fork_in_parent();
  claims_.after_fork_in_parent();
}

void Site::after_fork_in_child() noexcept {
  guard_.after_fork_in_child();
  claims_.after_fork_in_child();
}

}  // namespace cachier::local
