#pragma once

/// Files, locks on their bytes, and what the system says when it refuses.

#include <cachier/entry.hpp>
#include <cachier/error.hpp>

#include <sys/types.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace cachier::platform {

/// What the system calls this error number. Thread-safe.
[[nodiscard]] std::string system_words(int error_number);

/// An `Error` for a system call that failed: `refused` where it is a matter of
/// permission, else `unavailable`; `fix` is chosen by the number.
[[nodiscard]] Error system_error(std::string what, int error_number);

/// A descriptor and its owner. Opened files are closed on exec.
class File {
 public:
  File() = default;
  explicit File(int descriptor) noexcept : descriptor_(descriptor) {}
  File(File&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  File& operator=(File&& other) noexcept {
    if (this != &other) {
      close();
      descriptor_ = std::exchange(other.descriptor_, -1);
    }
    return *this;
  }
  ~File() { close(); }

  /// `flags` as for open(2); what is created has mode 0600, whatever the umask says.
  /// On failure it is not open and errno says why.
  static File open(const std::string& path, int flags) noexcept;

  [[nodiscard]] explicit operator bool() const noexcept { return descriptor_ >= 0; }
  [[nodiscard]] int descriptor() const noexcept { return descriptor_; }
  void close() noexcept;

 private:
  int descriptor_ = -1;
};

/// Writes all of `bytes` at `offset`. False: errno says why.
[[nodiscard]] bool write_at(const File& file, Bytes bytes,
                            std::uint64_t offset) noexcept;
/// Reads from `offset` on until `to` is full or the file ends. Gives how many bytes; on
/// an error none, and errno is not 0.
[[nodiscard]] std::size_t read_at(const File& file, std::span<std::byte> to,
                                  std::uint64_t offset) noexcept;

/// Which file a path names, whatever it is called. All zero: none.
struct Identity {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  friend bool operator==(const Identity&, const Identity&) = default;
  [[nodiscard]] explicit operator bool() const noexcept { return inode != 0; }
};

/// Which file it is and when it was last changed: a file whose mark is what it was has
/// not been written to since, nor shortened.
struct FileMark {
  Identity identity;
  std::uint64_t size = 0;
  std::int64_t modified = 0;  ///< ns since 1970: its bytes
  std::int64_t changed = 0;   ///< anything about it, its names too
  friend bool operator==(const FileMark&, const FileMark&) = default;
};
/// All zero: it cannot be asked for.
[[nodiscard]] FileMark mark_of(const File& file) noexcept;

/// Asks for the path without opening it (closing a descriptor of a file of SQLite's
/// would drop the process's locks on it).
[[nodiscard]] Identity identity_of(const std::string& path) noexcept;
[[nodiscard]] Identity identity_of(const File& file) noexcept;
/// Whether the file still has a name. False: somebody removed it while it is open.
[[nodiscard]] bool has_name(const File& file) noexcept;

/// Locks on single bytes, by open file description: they belong to the `File`, not to
/// the process or thread, and end with its last descriptor. Two users of one `File` are
/// not kept apart.
enum class ByteLock : std::uint8_t { shared, exclusive };

/// At once. False with errno EAGAIN: somebody else holds it; any other: no locks here.
[[nodiscard]] bool lock_byte(const File& file, std::uint64_t offset,
                             ByteLock kind) noexcept;
void unlock_byte(const File& file, std::uint64_t offset) noexcept;

/// Whether a directory that was there already may be open to its group: fit for one of
/// which only directories are used that are private themselves.
enum class Group : std::uint8_t { may_not_write, may_write };

/// Makes `path` a directory that is this user's alone (0700), parents included where
/// they are missing, or checks that it is one already: ours, and nobody else (but the
/// group, if so wanted) may write to it. `refused` or `unavailable`, with what to do.
[[nodiscard]] Result<Identity> make_private_directory(
    const std::string& path, Group group = Group::may_not_write);

}  // namespace cachier::platform
