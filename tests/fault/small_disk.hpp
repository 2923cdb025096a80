#pragma once

/// A small file system of a test's own.

#include "support/child_process.hpp"

#include <sched.h>
#include <sys/mount.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <string>

namespace cachier::test {

/// Runs `body` in a child with a small file system of its own at the given directory.
/// Gives what it sends; none: this machine gives no mounts to tests.
inline std::optional<std::string> on_small_disk(
    const std::filesystem::path& directory, const char* size,
    const std::function<std::string()>& body) {
  ChildProcess child([&](Channel& parent) {
    const std::string options = std::string("mode=0700,size=") + size;
    if (::unshare(CLONE_NEWNS) != 0 ||
        ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("tmpfs", directory.c_str(), "tmpfs", 0, options.c_str()) != 0) {
      return 77;
    }
    parent.send(body());
    return 0;
  });
  auto answer = child.channel().receive();
  const int status = child.wait();
  if (status == 77) return std::nullopt;
  EXPECT_EQ(status, 0);
  return answer.value_or("(nothing)");
}

/// Until nothing more goes in; the file is `filler`.
inline void fill_disk(const std::filesystem::path& directory) {
  std::ofstream file(directory / "filler", std::ios::binary);
  const std::string block(4096, 'f');
  while (file.write(block.data(), 4096).flush()) {
  }
}

}  // namespace cachier::test
