#pragma once

/// What operators are told of a cache directory, whichever way its entries are stored.

#include <cachier/entry.hpp>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace cachier::shared {

/// Files together: how many there are, and what they take on the disk.
struct Files {
  std::uint64_t count = 0;
  std::uint64_t bytes = 0;
};

/// One thing that is damaged.
struct Finding {
  enum class Kind : std::uint8_t {
    database,    ///< the file as such: what SQLite says of it
    table,       ///< what processes share; it is made anew, and no entry is in it
    state,       ///< an epoch, of entries in files of their own; likewise
    entry,       ///< cannot be used: whoever asks for it computes again
    unreadable,  ///< an entry whose file the system does not let us read
    orphan,      ///< a file that no entry has
  };
  Kind kind = Kind::entry;
  std::string place;     ///< the file
  std::string why;       ///< for people
  std::string function;  ///< of an entry, as far as it is known; else empty
  std::optional<Digest> digest;
  std::string key;  ///< as in `Header`, unverified; empty: not known
  bool hashed = false;
  // Of an entry and of an orphan of a database: which row.
  std::int64_t row = 0;
  std::uint64_t version = 0;
  bool in_file = false;
};

[[nodiscard]] inline std::uint64_t count(const std::vector<Finding>& findings,
                                         Finding::Kind kind) noexcept {
  return static_cast<std::uint64_t>(
      std::count_if(findings.begin(), findings.end(),
                    [kind](const Finding& one) { return one.kind == kind; }));
}

/// How far it has come, for people who wait. `total` 0: not known.
struct Progress {
  const char* what = "";  ///< what is being counted: "entries", ...
  std::uint64_t done = 0;
  std::uint64_t total = 0;
};
using OnProgress = std::function<void(const Progress&)>;

}  // namespace cachier::shared
