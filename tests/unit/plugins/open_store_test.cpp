#include "plugins/directories.hpp"

#include <cachier/backend.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <optional>

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

}  // namespace
}  // namespace cachier
