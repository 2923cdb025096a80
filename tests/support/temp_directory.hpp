#pragma once

/// A directory of a test's own.

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>

#include <gtest/gtest.h>

namespace cachier::test {

/// Made empty, for this user alone, and removed with all that is in it by the process
/// that made it.
class TempDirectory {
 public:
  TempDirectory() {
    std::string name =
        (std::filesystem::temp_directory_path() / "cachier-test-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) {
      ADD_FAILURE() << "cannot make a directory like " << name;
    }
    path_ = name;
    owner_ = ::getpid();
  }
  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;
  ~TempDirectory() {
    if (owner_ != ::getpid()) return;
    namespace fs = std::filesystem;
    std::error_code ignored;
    // Tests take permissions away.
    fs::permissions(path_, fs::perms::owner_all, ignored);
    for (auto at = fs::recursive_directory_iterator(path_, ignored);
         at != fs::recursive_directory_iterator(); at.increment(ignored)) {
      if (at->is_directory(ignored) && !at->is_symlink(ignored)) {
        fs::permissions(at->path(), fs::perms::owner_all, ignored);
      }
    }
    fs::remove_all(path_, ignored);
  }

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
  [[nodiscard]] std::string string() const { return path_.string(); }
  [[nodiscard]] std::filesystem::path operator/(std::string_view name) const {
    return path_ / name;
  }

 private:
  std::filesystem::path path_;
  pid_t owner_ = 0;
};

}  // namespace cachier::test
