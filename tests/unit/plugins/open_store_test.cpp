#include "platform/file_system.hpp"
#include "plugins/directories.hpp"
#include "support/temp_directory.hpp"

#include <cachier/backend.hpp>
#include <cachier/log.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cachier {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

/// Sets a variable of the environment, or takes it away, until the end of the test.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    set(value);
  }
  ~Variable() { set(before_ ? before_->c_str() : nullptr); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  void set(const char* value) {
    if (value != nullptr) {
      ::setenv(name_, value, 1);
    } else {
      ::unsetenv(name_);
    }
  }
  const char* name_;
  std::optional<std::string> before_;
};

TEST(DefaultCacheDir, IsBelowXdgCacheHome) {
  const Variable xdg("XDG_CACHE_HOME", "/somewhere/cache");
  EXPECT_EQ(default_cache_dir(), "/somewhere/cache/cachier");
}

TEST(DefaultCacheDir, TakesXdgCacheHomeWithASlashAtItsEnd) {
  const Variable xdg("XDG_CACHE_HOME", "/somewhere/");
  EXPECT_EQ(default_cache_dir(), "/somewhere/cachier");
}

TEST(DefaultCacheDir, TakesAnEmptyVariableForAnUnsetOne) {
  const Variable home("HOME", "/home/ann");
  {
    const Variable xdg("XDG_CACHE_HOME", "");
    EXPECT_EQ(default_cache_dir(), "/home/ann/.cachier");
  }
  const Variable xdg("XDG_CACHE_HOME", nullptr);
  EXPECT_EQ(default_cache_dir(), "/home/ann/.cachier");
}

TEST(DefaultCacheDir, AsksTheListOfUsersWhereHomeIsUnset) {
  const Variable xdg("XDG_CACHE_HOME", nullptr);
  const Variable home("HOME", nullptr);
  EXPECT_THAT(default_cache_dir(),
              AllOf(testing::StartsWith("/"), testing::EndsWith("/.cachier")));
}

TEST(ExpandUser, ReplacesALeadingTilde) {
  const Variable home("HOME", "/home/ann");
  EXPECT_EQ(plugins::expand_user("~"), "/home/ann");
  EXPECT_EQ(plugins::expand_user("~/x/y"), "/home/ann/x/y");
  EXPECT_EQ(plugins::expand_user("~root/x"), "/root/x");
}

TEST(ExpandUser, LeavesEverythingElse) {
  const Variable home("HOME", "/home/ann");
  for (const char* path : {"", "/a/~", "a~b", "./~", "~no-such-user-here/x"}) {
    EXPECT_EQ(plugins::expand_user(path), path);
  }
}

TEST(ExpandUser, DoesNotDoubleTheSlashOfARootHome) {
  const Variable home("HOME", "/");
  EXPECT_EQ(plugins::expand_user("~/x"), "/x");
  EXPECT_EQ(plugins::expand_user("~"), "/");
}

TEST(OpenStore, MakesANewMemoryStoreEachTime) {
  const auto one = open_store({.backend = "memory", .cache_dir = {}});
  const auto two = open_store({.backend = "memory", .cache_dir = {}});
  ASSERT_TRUE(one);
  ASSERT_TRUE(two);
  EXPECT_NE(*one, *two);
  EXPECT_EQ((*one)->capabilities().name, "memory");
}

TEST(OpenStore, GivesOneObjectForOneDirectory) {
  const auto directory =
      (std::filesystem::path(testing::TempDir()) / "cachier-open-store-test").string();
  const auto local = open_store({.backend = "local", .cache_dir = directory});
  const auto pickle = open_store({.backend = "pickle", .cache_dir = directory});
  ASSERT_TRUE(local) << local.error().message();
  ASSERT_TRUE(pickle) << pickle.error().message();
  EXPECT_EQ(*local, *pickle);
  std::filesystem::remove_all(directory);
}

TEST(OpenStore, TakesTheSizeOfTheNearCacheFromTheEnvironment) {
  const auto directory =
      (std::filesystem::path(testing::TempDir()) / "cachier-near-cache-test").string();
  for (const char* number : {"0", "1000000", ""}) {
    const Variable bytes("CACHIER_NEAR_CACHE_BYTES", number);
    EXPECT_TRUE(open_store({.cache_dir = directory})) << number;
  }
  for (const char* text : {"64 MB", "-1", "x", "99999999999999999999"}) {
    const Variable bytes("CACHIER_NEAR_CACHE_BYTES", text);
    const auto opened = open_store({.cache_dir = directory});
    ASSERT_FALSE(opened) << text;
    EXPECT_EQ(opened.error(), ErrorCode::invalid_argument);
    EXPECT_THAT(opened.error().message(),
                AllOf(HasSubstr("CACHIER_NEAR_CACHE_BYTES"), HasSubstr(text)));
    EXPECT_TRUE(open_store({.cache_dir = directory, .near_cache_bytes = 0}));
  }
  std::filesystem::remove_all(directory);
}

TEST(OpenStore, SaysWhichBackendsThereAre) {
  const auto opened = open_store({.backend = "memroy", .cache_dir = {}});
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error(), ErrorCode::invalid_argument);
  EXPECT_THAT(opened.error().message(),
              AllOf(HasSubstr("'memroy'"), HasSubstr("local, pickle, memory")));
}

TEST(OpenStore, ShowsNoPassword) {
  for (const char* url : {"redis://ann:secret@host", "nosuch://ann:secret@host",
                          "memory://ann:secret@host"}) {
    const auto opened = open_store({.backend = url, .cache_dir = {}});
    ASSERT_FALSE(opened) << url;
    EXPECT_EQ(opened.error(), ErrorCode::invalid_argument);
    EXPECT_THAT(opened.error().message(), Not(HasSubstr("secret")));
  }
}

TEST(OpenStore, SaysThatABackendIsNotInThisBuild) {
  const auto opened = open_store({.backend = "redis://host", .cache_dir = {}});
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error().message(),
              AllOf(HasSubstr("'redis://...'"), HasSubstr("not part of this version")));
}

TEST(Backends, AreReadyWhereTheyOpen) {
  const auto all = backends();
  const auto find = [&](std::string_view name) {
    return std::find_if(all.begin(), all.end(),
                        [&](const BackendInfo& info) { return info.name == name; });
  };
  ASSERT_NE(find("local"), all.end());
  EXPECT_TRUE(find("local")->ready);
  EXPECT_TRUE(find("memory")->ready);
  ASSERT_NE(find("redis"), all.end());
  EXPECT_FALSE(find("redis")->ready);
  EXPECT_THAT(find("redis")->detail, HasSubstr("not part of this version"));
}

std::vector<std::string> said;

/// Puts every directory on one kind of file system, and hears what is said of it.
class FileSystemTest : public testing::Test {
 protected:
  static constexpr std::uint64_t kNfs = 0x6969;

  void SetUp() override {
    said.clear();
    set_log_sink([](LogLevel level, std::string_view message) {
      if (level == LogLevel::warning) said.emplace_back(message);
    });
  }
  void TearDown() override {
    set_log_sink({});
    platform::set_file_system_probe(nullptr);
  }

  std::string_view opened(const StoreSpec& spec) {
    const auto store = open_store(spec);
    if (!store) return "an error";
    kept_.push_back(*store);
    return (*store)->capabilities().name;
  }

  test::TempDirectory directory_;

 private:
  std::vector<std::shared_ptr<Store>> kept_;
};

TEST_F(FileSystemTest, FilesOfTheirOwnAreThereForTheAsking) {
  EXPECT_EQ(opened({.cache_dir = directory_.string(), .separate_files = true}),
            "files");
  EXPECT_EQ(opened({.backend = "pickle",
                    .cache_dir = directory_.string(),
                    .separate_files = true}),
            "files");
  EXPECT_EQ(opened({.cache_dir = directory_.string()}), "local");
  EXPECT_EQ(opened({.backend = "memory", .separate_files = true}), "memory");
  EXPECT_THAT(said, testing::IsEmpty());
}

TEST_F(FileSystemTest, OfANetworkIsServedByThemWithOneWarning) {
  platform::set_file_system_probe([](const std::string&) noexcept { return kNfs; });
  for (int times = 0; times < 3; ++times)
    EXPECT_EQ(opened({.cache_dir = directory_.string()}), "files");
  ASSERT_EQ(said.size(), 1U);
  EXPECT_THAT(said[0], AllOf(HasSubstr(directory_.string()), HasSubstr("NFS"),
                             HasSubstr("separate_files"), HasSubstr("cache_dir")));
  EXPECT_FALSE(std::filesystem::exists(directory_ / "v1"));
}

TEST_F(FileSystemTest, WhoeverChoosesThemIsNotWarned) {
  platform::set_file_system_probe([](const std::string&) noexcept { return kNfs; });
  EXPECT_EQ(opened({.cache_dir = directory_.string(), .separate_files = true}),
            "files");
  EXPECT_THAT(said, testing::IsEmpty());
}

TEST_F(FileSystemTest, IsAskedForADirectoryThatIsNotThereYet) {
  platform::set_file_system_probe([](const std::string& path) noexcept {
    return std::filesystem::exists(path) ? kNfs : std::uint64_t{0xef53};
  });
  EXPECT_EQ(opened({.cache_dir = (directory_ / "a/b").string()}), "files");
}

}  // namespace
}  // namespace cachier
