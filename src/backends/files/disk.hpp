#pragma once

/// Names and system calls of `docs/formats/files.md`: what is read, written aside,
/// renamed and deleted.

#include <cachier/entry.hpp>
#include <cachier/error.hpp>

#include "backends/files/records.hpp"
#include "platform/file.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

struct stat;

namespace cachier::files {

inline constexpr char kFolder[] = "v1-files";

/// Which file a path names, and in which state.
struct Stamp {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t size = 0;
  std::int64_t modified = 0;
  std::int64_t changed = 0;
  friend bool operator==(const Stamp&, const Stamp&) = default;
  /// Whether there is one.
  [[nodiscard]] explicit operator bool() const noexcept { return inode != 0; }
};
[[nodiscard]] Stamp stamp_of(const struct stat& status) noexcept;

/// The version of what is stored in a damaged file: as long as it stays as it is.
[[nodiscard]] Version version_of(const Stamp& stamp) noexcept;

/// A file as it was read.
struct Loaded {
  Stamp stamp;
  bool ours = false;   ///< a file of this user that nobody else may write
  bool whole = false;  ///< all of it is in `bytes`
  /// So placed that an envelope after its head is at a multiple of 64 bytes.
  Bytes bytes;
  std::shared_ptr<const void> owner;
};

/// What the lock of its digest keeps still.
struct Found {
  Version version;
  std::optional<Head>
      head;  ///< nothing: no file, or a damaged one; `function` is unset
  Stamp stamp;
};

/// An open directory; which one it is does not depend on its name.
class Directory {
 public:
  Directory() = default;
  /// Not open on failure, and errno says why.
  static Directory open(const std::string& path) noexcept;

  [[nodiscard]] explicit operator bool() const noexcept {
    return static_cast<bool>(file_);
  }
  [[nodiscard]] int descriptor() const noexcept { return file_.descriptor(); }

  /// The names in it, without `.` and `..`. On failure empty, and errno is not 0.
  [[nodiscard]] std::vector<std::string> names() const;

  /// The file of this name, up to `most` bytes of it. Not there: no stamp and errno
  /// ENOENT; cannot be read: no stamp and another errno.
  [[nodiscard]] Loaded load(const std::string& name, std::uint64_t most) const;

  /// What is stored for this call under this name.
  [[nodiscard]] Found find(const std::string& name, const Id& id) const;

  /// 0, or errno.
  int remove(const std::string& name) const noexcept;

 private:
  platform::File file_;
};

/// The folder of one cache directory. Thread-safe.
class Disk {
 public:
  /// `directory`: absolute. `remote`: asks the file server what a name stands for.
  Disk(std::string directory, bool remote);

  [[nodiscard]] const std::string& directory() const noexcept { return directory_; }
  [[nodiscard]] const std::string& folder() const noexcept { return folder_; }
  [[nodiscard]] bool remote() const noexcept { return remote_; }
  [[nodiscard]] std::string path(std::string_view name) const {
    return folder_ + "/" + std::string(name);
  }

  // Names.
  [[nodiscard]] static std::string folder_of(const Function& function);
  [[nodiscard]] static std::string name_of(const Digest& digest);
  [[nodiscard]] static std::optional<Digest> digest_of(std::string_view name) noexcept;
  [[nodiscard]] std::string functions() const { return folder_ + "/f"; }
  [[nodiscard]] std::string function(const Function& function) const {
    return functions() + "/" + folder_of(function);
  }
  [[nodiscard]] std::string entries(const Function& of) const {
    return function(of) + "/e";
  }

  [[nodiscard]] std::string entry(const Id& id) const;

  /// Makes the folder and what must be in it, but for the states; or says why it cannot
  /// be used.
  [[nodiscard]] std::optional<Error> make() const;
  /// Whether the folder is there; or says why it cannot be looked at. Makes nothing.
  [[nodiscard]] Result<bool> is_there() const;
  /// Makes the directories of a function. 0, or errno.
  int make_function(const Function& function) const;

  /// Which file the path names now; none where there is none.
  [[nodiscard]] Stamp stamp_at(const std::string& path) const noexcept;
  /// The file at the path: see `Directory::load`.
  [[nodiscard]] Loaded load(const std::string& path, std::uint64_t most) const;
  /// All of the entry at the path; where it is much longer than its head says, only its
  /// beginning.
  [[nodiscard]] Loaded load_entry(const std::string& path) const;
  /// Whether the directory still is what its path names.
  [[nodiscard]] static bool is_at(const Directory& directory, const std::string& path);

  /// A file in `aside/`, deleted at the end of its life if it is still there.
  class Aside {
   public:
    explicit Aside(std::string path) noexcept : path_(std::move(path)) {}
    Aside(Aside&& other) noexcept
        : path_(std::exchange(other.path_, {})),
          now_(other.now_),
          moved_(other.moved_) {}
    Aside& operator=(Aside&&) = delete;
    ~Aside();

    /// 0, or errno.
    int move_to(const Directory& directory, const std::string& name) noexcept;
    int move_to(const std::string& path) noexcept;

    /// When it was written, by the file system's clock: seconds since 1970.
    [[nodiscard]] std::int64_t now() const noexcept { return now_; }

   private:
    friend class Disk;
    std::string path_;
    std::int64_t now_ = 0;
    bool moved_ = false;
  };
  /// Writes it, and where need be makes the folder.
  Result<Aside> write_aside(Bytes first, Bytes second = {}) const;
  /// The same for a file that holds nothing: of this size, changed at this time. It
  /// needs no room on the disk.
  Result<Aside> make_mark(std::uint64_t size, Time time) const;

  /// Renames a directory into `trash/` and gives its new name there; where there is
  /// none an empty one.
  Result<std::string> throw_away(const std::string& path, std::int64_t now) const;
  /// Deletes a directory that is in `trash/`, however much somebody adds to it. Gives
  /// the number of entries, not tombstones, that it has deleted; nothing: the deadline
  /// passed first.
  std::optional<std::uint64_t> delete_tree(const std::string& path,
                                           Deadline deadline) const;

  /// What somebody who died left half written: nobody has written to it for an hour.
  /// Paths.
  [[nodiscard]] std::vector<std::string> unfinished(Time now) const;

  /// Deletes what has been left in `aside/` and `trash/` for an hour. `now` as of
  /// `Aside::now`.
  void tidy(std::int64_t now, Deadline deadline) const;

 private:
  /// An empty file, open for writing, and its name.
  Result<std::pair<platform::File, Aside>> make_aside() const;

  const std::string directory_;
  const std::string folder_;
  const bool remote_;
};

}  // namespace cachier::files
