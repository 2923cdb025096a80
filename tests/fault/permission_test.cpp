/// Directories that may not be used: what a C++ program's calls get, and hear.

#include "support/child_process.hpp"
#include "support/eventually.hpp"
#include "support/temp_directory.hpp"

#include <cachier/cached.hpp>
#include <cachier/log.hpp>

#include <sys/stat.h>
#include <unistd.h>

#include <gmock/gmock.h>

#include <filesystem>
#include <string>
#include <tuple>
#include <vector>

namespace cachier::test {
namespace {

namespace fs = std::filesystem;
using ::testing::Combine;
using ::testing::HasSubstr;
using ::testing::Values;

constexpr uid_t kUser = 12345;
constexpr uid_t kAnother = 12346;

struct Cause {
  const char* name;
  uid_t owner;
  mode_t folders;
  mode_t files;
};
constexpr Cause kNone{"None", kUser, 0700, 0600};
constexpr Cause kClosed{"Closed", kUser, 0, 0600};
constexpr Cause kReadOnly{"ReadOnly", kUser, 0500, 0400};
constexpr Cause kAnothers{"Anothers", kAnother, 0700, 0600};

void bring_about(const Cause& cause, const fs::path& directory) {
  std::vector<fs::path> all{directory};
  for (const auto& one : fs::recursive_directory_iterator(directory))
    all.push_back(one.path());
  for (const fs::path& one : all) {
    const mode_t mode = fs::is_directory(one) ? cause.folders : cause.files;
    EXPECT_EQ(::chown(one.c_str(), cause.owner, cause.owner), 0);
    EXPECT_EQ(::chmod(one.c_str(), mode), 0);
  }
}

/// Separate files or not; used before or not; why it may not be used.
class Permission : public ::testing::TestWithParam<std::tuple<bool, bool, Cause>> {
 protected:
  [[nodiscard]] Options options() const {
    Options options;
    options.cache_dir = (directory_ / "cache").string();
    options.separate_files = std::get<0>(GetParam());
    return options;
  }

  TempDirectory directory_;
};

TEST_P(Permission, CallsGetResultsAndOneWarningAndAreCachedLater) {
  if (::geteuid() != 0) GTEST_SKIP() << "gives directories to other users";
  const fs::path directory = directory_ / "cache";
  fs::create_directory(directory);
  ASSERT_EQ(::chmod(directory_.path().c_str(), 0755), 0);
  bring_about(kNone, directory);
  if (std::get<1>(GetParam())) {
    ChildProcess child([&](Channel&) {
      if (::setgid(kUser) != 0 || ::setuid(kUser) != 0) return 1;
      auto f = cached(
          "f", [](int x) { return -x; }, options());
      return f(1) == -1 ? 0 : 2;
    });
    ASSERT_EQ(child.wait(), 0);
  }
  ChildProcess child([&](Channel& parent) {
    if (::setgid(kUser) != 0 || ::setuid(kUser) != 0) return 1;
    std::vector<std::string> heard;
    set_log_sink([&](LogLevel level, std::string_view message) {
      if (level == LogLevel::warning) heard.emplace_back(message);
    });
    int runs = 0;
    auto f = cached(
        "f",
        [&](int x) {
          ++runs;
          return -x;
        },
        options());
    parent.send("wrapped");
    if (!parent.receive()) return 4;
    if (f(2) != -2 || f(2) != -2 || f(3) != -3 || f(1) != -1) return 2;
    if (runs < 3) return 3;  // f(1) may be there to be read
    parent.send(heard.empty() ? "" : heard.front());
    if (!parent.receive()) return 4;
    // What cannot be written is tried again now and then.
    const bool resumed = eventually([&] {
      runs = 0;
      return f(2) == -2 && f(2) == -2 && runs <= 1;
    });
    set_log_sink({});
    if (!resumed) return 5;
    return heard.size() == 1 ? 0 : 6;
  });
  ASSERT_EQ(child.channel().receive(), "wrapped");
  bring_about(std::get<2>(GetParam()), directory);
  child.channel().send("broken");
  const auto warning = child.channel().receive();
  bring_about(kNone, directory);
  child.channel().send("mended");
  EXPECT_EQ(child.wait(), 0);
  ASSERT_TRUE(warning);
  EXPECT_THAT(*warning, HasSubstr(directory.string()));
  EXPECT_THAT(*warning, HasSubstr("cause:"));
  EXPECT_THAT(*warning, HasSubstr("fix:"));
  EXPECT_THAT(*warning, HasSubstr("said once"));
}

TEST_P(Permission, WhoCallsIsToldThatADirectoryIsAnothers) {
  if (::geteuid() != 0) GTEST_SKIP() << "gives directories to other users";
  const fs::path directory = directory_ / "cache";
  fs::create_directory(directory);
  ASSERT_EQ(::chmod(directory_.path().c_str(), 0755), 0);
  bring_about(kAnothers, directory);
  ChildProcess child([&](Channel& parent) {
    if (::setgid(kUser) != 0 || ::setuid(kUser) != 0) return 1;
    std::vector<std::string> heard;
    set_log_sink([&](LogLevel level, std::string_view message) {
      if (level == LogLevel::warning) heard.emplace_back(message);
    });
    auto f = cached(
        "f", [](int x) { return -x; }, options());
    const bool computed = f(1) == -1 && f(1) == -1;
    set_log_sink({});
    if (!computed) return 2;
    parent.send(heard.size() == 1 ? heard.front() : "");
    return 0;
  });
  const auto error = child.channel().receive();
  ASSERT_TRUE(error);
  EXPECT_THAT(*error, HasSubstr("belongs to user 12346"));
  EXPECT_THAT(*error, HasSubstr("fix:   set cache_dir"));
}

INSTANTIATE_TEST_SUITE_P(Both, Permission,
                         Combine(Values(false, true), Values(false, true),
                                 Values(kClosed, kReadOnly, kAnothers)),
                         [](const auto& one) {
                           return std::string(std::get<0>(one.param) ? "Files"
                                                                     : "Database") +
                                  (std::get<1>(one.param) ? "Used" : "Empty") +
                                  std::get<2>(one.param).name;
                         });

}  // namespace
}  // namespace cachier::test
