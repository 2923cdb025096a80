/// A damaged database is set aside and a new one begun, whoever finds it.

#include <cachier/log.hpp>

#include "backends/local/schema.hpp"
#include "backends/local/site.hpp"

#include "local_fixture.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <sqlite3.h>

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <mutex>
#include <vector>

namespace cachier::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class LocalDamageTest : public LocalStoreTest {
 protected:
  void SetUp() override {
    ASSERT_TRUE(store_->commit(call_.id, put("value"), soon()));
    set_log_sink([this](LogLevel level, std::string_view message) {
      const std::lock_guard hold(mutex_);
      if (level == LogLevel::warning) warnings_.emplace_back(message);
    });
  }
  void TearDown() override { set_log_sink({}); }

  void reopen() { store_ = opened(directory_.string()); }

  [[nodiscard]] std::string file(const std::string& name) const {
    return (directory_ / ("v1/" + name)).string();
  }

  /// From another process: this one must not open the file beside SQLite.
  void overwrite(const std::string& name, std::size_t from, std::size_t size) const {
    const std::string path = file(name);
    ChildProcess child([&](Channel&) {
      const std::string garbage = random_bytes(size);
      const int descriptor = ::open(path.c_str(), O_WRONLY);
      const auto written =
          ::pwrite(descriptor, garbage.data(), size, static_cast<off_t>(from));
      return written == static_cast<ssize_t>(size) ? 0 : 1;
    });
    ASSERT_EQ(child.wait(), 0);
  }

  /// Looks, computes and stores, as a caller would.
  [[nodiscard]] static std::string called(Store& store, const Call& call) {
    const auto look = store.look(call.id, {}, soon());
    if (!look) return look.error().message();
    if (look->entry) return std::string(as_text(look->entry->value.bytes()));
    if (look->claim != Look::Claim::granted) return "not granted";
    const auto stored = store.commit(call.id, put("computed", look->token), soon());
    return stored ? "computed" : stored.error().message();
  }

  Call call_{"k"};
  std::mutex mutex_;
  std::vector<std::string> warnings_;
};

TEST_F(LocalDamageTest, GarbageForADatabaseIsSetAside) {
  std::uint64_t generation = 1;
  for (const std::size_t size : {0UL, 1UL, 4096UL, 100'000UL}) {
    store_.reset();
    const std::string damaged = "c" + std::to_string(generation) + ".db";
    for (const char* suffix : {"-wal", "-shm"}) fs::remove(file(damaged + suffix));
    const std::string garbage = random_bytes(size);
    std::ofstream(file(damaged), std::ios::binary) << garbage;
    reopen();

    EXPECT_EQ(called(*store_, call_), "computed") << size;
    EXPECT_EQ(stored(*store_, call_), "computed") << size;
    ++generation;
    EXPECT_TRUE(fs::exists(file("c" + std::to_string(generation) + ".db")));
    EXPECT_EQ(fs::file_size(file(damaged)), size) << "it is left as it was";
    ASSERT_EQ(warnings_.size(), 1U);
    EXPECT_THAT(warnings_[0], HasSubstr(file(damaged)));
    EXPECT_THAT(warnings_[0], HasSubstr("set aside"));
    warnings_.clear();
  }
  // Those set aside earlier do not pile up.
  EXPECT_FALSE(fs::exists(file("c1.db")));
  EXPECT_FALSE(fs::exists(file("c3.db")));
  EXPECT_TRUE(fs::exists(file("c4.db")));
}

TEST_F(LocalDamageTest, ADatabaseThatNoStatementFitsIsSetAside) {
  // Damage that shows when a statement is prepared, and not when it runs.
  store_.reset();
  sqlite3* database = nullptr;
  ASSERT_EQ(sqlite3_open(file("c1.db").c_str(), &database), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(database, "DROP TABLE entries", nullptr, nullptr, nullptr),
            SQLITE_OK);
  sqlite3_close(database);
  reopen();
  EXPECT_EQ(called(*store_, call_), "computed");
  EXPECT_EQ(stored(*store_, call_), "computed");
  EXPECT_TRUE(fs::exists(file("c2.db")));
}

TEST_F(LocalDamageTest, TwoProcessesInTheMiddleOfItGoOnWithOneNewDatabase) {
  for (int n = 0; n < 300; ++n) {
    const Call call("filler " + std::to_string(n));
    ASSERT_TRUE(store_->commit(call.id, put(std::string(2'000, 'f')), soon()));
  }
  store_.reset();  // so that all is in the database, not in its log
  reopen();
  EXPECT_EQ(stored(*store_, call_), "value");
  ChildProcess other([&](Channel& parent) {
    while (const auto wanted = parent.receive()) {
      if (*wanted == "end") return 0;
      parent.send(called(*store_, Call(*wanted)));
    }
    return 1;
  });
  other.channel().send("k");
  ASSERT_EQ(other.channel().receive(), "value");

  fs::resize_file(file("c1.db-wal"), 0);
  overwrite("c1.db", 4096, fs::file_size(file("c1.db")) - 4096);
  other.channel().send("theirs");
  EXPECT_EQ(other.channel().receive(), "computed");
  EXPECT_EQ(called(*store_, Call("ours")), "computed");
  EXPECT_EQ(called(*store_, Call("theirs")), "computed");
  other.channel().send("ours");
  EXPECT_EQ(other.channel().receive(), "computed");
  other.channel().send("end");
  EXPECT_EQ(other.wait(), 0);
  EXPECT_TRUE(fs::exists(file("c2.db")));
  EXPECT_FALSE(fs::exists(file("c3.db"))) << "only one of them began a new one";
}

TEST_F(LocalDamageTest, ATableThatIsShortenedUnderTwoProcessesIsReplaced) {
  ChildProcess other([&](Channel& parent) {
    while (const auto wanted = parent.receive()) {
      if (*wanted == "end") return 0;
      parent.send(called(*store_, Call(*wanted)));
    }
    return 1;
  });
  const auto theirs = [&](const std::string& key) {
    other.channel().send(key);
    return other.channel().receive().value_or("(it is dead)");
  };
  int round = 0;
  for (const std::uintmax_t size : {0U, 1U, 4096U, 20480U, 65536U, 300000U}) {
    const std::string number = std::to_string(++round);
    EXPECT_EQ(theirs("k"), "value");
    EXPECT_EQ(called(*store_, call_), "value");
    fs::resize_file(file("table"), size);
    EXPECT_EQ(theirs("theirs " + number), "computed") << size;
    EXPECT_EQ(called(*store_, Call("ours " + number)), "computed") << size;
    EXPECT_EQ(theirs("ours " + number), "computed") << size;
    EXPECT_EQ(called(*store_, Call("theirs " + number)), "computed") << size;
    // Some entries' words are still there; the others' tell.
    for (int n = 0; fs::file_size(file("table")) != 544'768; ++n) {
      const Call more("more " + number + "/" + std::to_string(n));
      EXPECT_EQ(called(*store_, more), "computed");
    }
  }
  other.channel().send("end");
  EXPECT_EQ(other.wait(), 0);
}

TEST_F(LocalDamageTest, WhatIsSoundIsNotSetAside) {
  const auto site = local::Site::open((directory_ / "v1").string(), soon(), {});
  ASSERT_TRUE(site) << site.error().message();
  const auto answer = (*site)->set_aside(soon());
  ASSERT_TRUE(answer) << answer.error().message();
  EXPECT_FALSE(*answer);
  EXPECT_FALSE(fs::exists(file("c2.db")));
  EXPECT_EQ(stored(*store_, call_), "value");
  EXPECT_TRUE(warnings_.empty());
}

TEST_F(LocalDamageTest, TheLookForDamageEndsAtItsDeadline) {
  for (int n = 0; n < 300; ++n) {
    const Call call("filler " + std::to_string(n));
    ASSERT_TRUE(store_->commit(call.id, put(std::string(2'000, 'f')), soon()));
  }
  store_.reset();
  const std::string path = file("c1.db");
  for (const char* suffix : {"-wal", "-shm"}) fs::remove(path + suffix);
  overwrite("c1.db", fs::file_size(path) / 2, 4 * 4096);

  EXPECT_FALSE(local::is_damaged(path, std::chrono::steady_clock::now()));
  EXPECT_TRUE(local::is_damaged(path, soon()));
}

TEST_F(LocalDamageTest, WithoutPermissionToReplaceItItIsAnErrorThatSaysWhatToDo) {
  store_.reset();
  std::ofstream(file("c1.db"), std::ios::binary) << random_bytes(5'000);
  for (const auto& one : fs::directory_iterator(directory_ / "v1"))
    fs::permissions(one.path(), fs::perms::owner_read);
  fs::permissions(directory_ / "v1", fs::perms::owner_read | fs::perms::owner_exec);
  const std::string answer = as_other_user(directory_.path(), [&] {
    const auto store = open_local_store(directory_.string());
    if (!store) return store.error().message();
    const auto look = (*store)->look(call_.id, {}, soon());
    return look ? std::string("an answer") : look.error().message();
  });
  fs::permissions(directory_ / "v1", fs::perms::owner_all);
  EXPECT_THAT(answer, HasSubstr(file("c1.db")));
  EXPECT_THAT(answer, HasSubstr("fix:"));
}

}  // namespace
}  // namespace cachier::test
