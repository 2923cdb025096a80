#pragma once

/// What the commands do once their words are understood. Each prints to stdout, throws
/// `cachier::Exception` for what fails, and gives the exit status.

#include <optional>
#include <string>

#include <cachier/entry.hpp>

namespace cachier::cli {

/// Exit statuses, as in docs/cli.md.
inline constexpr int kDone = 0;
inline constexpr int kFailed = 1;
inline constexpr int kUsage = 2;

/// `cachier ls`.
struct ListOptions {
  enum class Sort : unsigned char { none, age, size, name };
  std::string function;
  std::string directory;
  Sort sort = Sort::none;
  bool entries = false;
  bool json = false;
};
int list(const ListOptions& options);

/// `cachier show`.
struct ShowOptions {
  std::string what;  ///< a function or the beginning of a digest
  std::string directory;
  bool json = false;
  bool raw = false;   ///< nothing but the value's bytes
  bool full = false;  ///< however long the value is
};
int show(const ShowOptions& options);

/// `cachier clear`.
struct ClearOptions {
  std::string function;
  std::string directory;
  std::optional<Duration> older_than;
  bool claims = false;
  bool yes = false;
};
int clear(const ClearOptions& options);

/// `cachier stats`.
struct StatsOptions {
  std::string function;
  std::string directory;
  bool json = false;
};
int stats(const StatsOptions& options);

/// `cachier verify`.
struct VerifyOptions {
  std::string directory;
  bool json = false;
};
int verify(const VerifyOptions& options);

/// `cachier repair`.
struct RepairOptions {
  std::string directory;
  bool yes = false;
  bool dry_run = false;  ///< says what it would do
  bool discard = false;  ///< throws away what was set aside
  bool json = false;
};
int repair(const RepairOptions& options);

/// `cachier backends`.
int list_backends(bool json);

}  // namespace cachier::cli
