#pragma once

/// Values too big for the database: a file each, written once (`docs/formats/local.md`,
/// "Value files").

#include <cachier/entry.hpp>
#include <cachier/error.hpp>

#include "platform/file.hpp"

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace cachier::local {

/// Values of more bytes than this are not in the database.
inline constexpr std::size_t kLargestInDatabase = 65'536;

/// The row that a value file belongs to.
struct ValueFile {
  std::int64_t row = 0;
  std::uint64_t version = 0;
};

/// The value files of one database. Thread-safe.
class ValueFiles {
 public:
  /// `folder`: where they are or will be.
  explicit ValueFiles(std::string folder) : folder_(std::move(folder)) {}

  /// A file that no row names yet: removed at the end of this, unless it is kept.
  class Made {
   public:
    Made(Made&& other) noexcept = default;
    Made& operator=(Made&&) = delete;
    ~Made();

    /// Writes the beginning again, which is `head` now, and gives the file its name.
    /// Inside the transaction that names it.
    std::optional<Error> publish(Bytes head, const ValueFile& which);
    /// A row names it.
    void keep() noexcept { path_.clear(); }

   private:
    friend class ValueFiles;
    Made(const ValueFiles& files, std::string path, platform::File file) noexcept
        : files_(&files), path_(std::move(path)), file_(std::move(file)) {}

    const ValueFiles* files_;
    std::string path_;  ///< its name now; empty: not ours to remove
    platform::File file_;
  };
  /// Writes an envelope, in two parts.
  Result<Made> make(Bytes head, Bytes content) const;

  /// Gives a value file of another database a second name, by which it belongs to this
  /// one. Inside the transaction that names it.
  std::optional<Error> adopt(const std::string& path, const ValueFile& which) const;

  /// An envelope, read or mapped, its checksum not verified.
  struct Opened {
    Bytes envelope;
    std::shared_ptr<const void> owner;
    /// Where it is mapped: the owner.
    std::shared_ptr<const FileBytes> file;
  };
  /// Nothing: it is not there.
  Result<std::optional<Opened>> open(const ValueFile& which) const;

  /// The first bytes of an envelope, for listings, and the size of the whole. Size 0:
  /// it is not there.
  struct Beginning {
    std::string bytes;
    std::uint64_t size = 0;
  };
  [[nodiscard]] Beginning beginning(const ValueFile& which) const;

  [[nodiscard]] std::string path_of(const ValueFile& which) const;
  void remove(const ValueFile& which) const noexcept;
  void remove(const std::vector<ValueFile>& which) const noexcept;

  /// The files in the directory of this number (below `kDirectories`), for finding
  /// those that no row names.
  static constexpr unsigned kDirectories = 256;
  [[nodiscard]] std::vector<ValueFile> list(unsigned directory) const;
  /// What somebody who died left half written: nobody has written to it for an hour.
  /// Paths.
  [[nodiscard]] std::vector<std::string> unfinished(Time now) const;
  /// Removes those.
  void remove_unfinished(Time now) const noexcept;

 private:
  [[nodiscard]] std::string directory_of(unsigned number) const;

  const std::string folder_;
};

}  // namespace cachier::local
