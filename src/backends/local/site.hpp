#pragma once

/// All that is open of one cache directory, from when it was found until it is removed
/// or replaced under us.

#include <cachier/entry.hpp>
#include <cachier/error.hpp>

#include "backends/local/guard.hpp"
#include "backends/local/pool.hpp"
#include "backends/local/table.hpp"
#include "backends/local/value_files.hpp"
#include "backends/shared/claims.hpp"
#include "platform/file.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace cachier::local {

using shared::Claims;

/// Which rows of `functions` this process's functions are. Thread-safe.
class FunctionRows {
 public:
  ~FunctionRows();
  /// 0: not known.
  [[nodiscard]] std::int64_t find(const Function& function) const noexcept;
  void remember(const Function& function, std::int64_t row) noexcept;

 private:
  static constexpr std::uint32_t kChunk = 1024;
  using Chunk = std::array<std::atomic<std::int32_t>, kChunk>;
  std::array<std::atomic<Chunk*>, 512> chunks_{};  // beyond: asked for each time
};

class Site {
 public:
  /// Opens what is in `folder` and makes what is missing. Where it cannot be written,
  /// what is there can still be read, and `read_only` says why.
  /// Never opens a database that is among `abandoned`: an error.
  static Result<std::unique_ptr<Site>> open(
      const std::string& folder, Deadline deadline,
      const std::vector<platform::Identity>& abandoned);

  /// Why nothing can be stored here.
  [[nodiscard]] const std::optional<Error>& read_only() const noexcept {
    return read_only_;
  }
  /// Whether its files still have their names and its database is the one in use: else
  /// somebody removed or replaced them.
  [[nodiscard]] bool is_in_place() const noexcept;
  /// Whether nobody has set its database aside. One load.
  [[nodiscard]] bool is_of_generation_in_use() const noexcept {
    return table_.generation().load() == generation_;
  }
  [[nodiscard]] std::uint64_t generation() const noexcept { return generation_; }
  /// Whether this object has set a damaged database aside.
  [[nodiscard]] bool has_replaced() const noexcept { return replaced_; }
  /// For a database that answered that it is damaged: begins a new one beside it, of
  /// the next generation, if it is damaged indeed. True: another is in use now, made
  /// here or by somebody else. False: nothing is wrong with it.
  Result<bool> set_aside(Deadline deadline);
  [[nodiscard]] const platform::Identity& database() const noexcept {
    return database_;
  }
  /// Frames in the write-ahead log after the last commit here; 0: none was made.
  [[nodiscard]] int log_frames() const noexcept {
    return log_frames_.load(std::memory_order_relaxed);
  }
  /// The size of the log's file, which may have begun anew and still be as long as it
  /// was.
  [[nodiscard]] std::uint64_t log_bytes() const noexcept;
  void note_log(int frames) noexcept;
  void note_checkpoint(int frames) noexcept;
  /// Whether the log has grown enough since the last checkpoint for another.
  [[nodiscard]] bool wants_checkpoint() const noexcept;

  /// The directory of value files to be looked through next for those that no row
  /// names, and done with; `ValueFiles::kDirectories`: all are.
  [[nodiscard]] unsigned next_to_collect() const noexcept {
    return next_to_collect_.load(std::memory_order_relaxed);
  }
  /// Whether a value file was made here: then looking is worth it.
  [[nodiscard]] bool stores_value_files() const noexcept {
    return stores_value_files_.load(std::memory_order_relaxed);
  }
  /// True: it is the first one.
  bool note_value_file() noexcept {
    return !stores_value_files() && !stores_value_files_.exchange(true);
  }
  void note_collected(unsigned directory) noexcept {
    next_to_collect_.store(directory + 1, std::memory_order_relaxed);
  }

  [[nodiscard]] const Table& table() const noexcept { return table_; }
  [[nodiscard]] Claims& claims() noexcept { return claims_; }
  [[nodiscard]] Guard& guard() noexcept { return guard_; }
  [[nodiscard]] Pool& pool() noexcept { return *pool_; }
  [[nodiscard]] FunctionRows& functions() noexcept { return functions_; }
  [[nodiscard]] const ValueFiles& value_files() const noexcept { return *value_files_; }

  /// Around a fork; the pool has handlers of its own.
  void before_fork() noexcept;
  void after_fork_in_parent() noexcept;
  void after_fork_in_child() noexcept;

 private:
  explicit Site(std::string folder) : folder_(std::move(folder)), claims_(folder_) {}

  Result<Table> open_or_make_table(Deadline deadline);
  std::optional<Error> open_table(Deadline deadline);
  std::optional<Error> open_database(Deadline deadline,
                                     const std::vector<platform::Identity>& abandoned);
  std::optional<Error> begin_generation(std::uint64_t generation);

  const std::string folder_;
  std::optional<Error> read_only_;
  Table table_;
  std::uint64_t generation_ = 0;
  bool replaced_ = false;
  platform::Identity database_;
  std::string database_path_;
  Guard guard_;
  Claims claims_;
  FunctionRows functions_;
  std::atomic<int> log_frames_{0};
  std::atomic<int> frames_at_checkpoint_{0};
  std::atomic<unsigned> next_to_collect_{0};
  std::atomic<bool> stores_value_files_{false};
  std::unique_ptr<Pool> pool_;
  std::optional<ValueFiles> value_files_;
};

}  // namespace cachier::local
