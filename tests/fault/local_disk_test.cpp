/// File systems that are full or cannot be written.

#include "fault/small_disk.hpp"
#include "unit/backends/local_fixture.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <map>

namespace cachier::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::StartsWith;

/// Values of this size until nothing fits any more.
void expect_clear_error_when_full(std::size_t size, const char* words) {
  const TempDirectory directory;
  const auto answer = on_small_disk(directory.path(), "4m", [&]() -> std::string {
    const auto store = opened(directory.string());
    if (!store) return "no store";
    const Call call("k");
    if (!store->commit(call.id, put("v"), soon())) return "not stored at first";
    fill_disk(directory.path());

    std::string text;
    for (int i = 0; i < 100 && text.empty(); ++i) {
      const Call other("other" + std::to_string(i));
      const auto look = store->look(other.id, {}, soon());
      if (!look) return "no look: " + look.error().message();
      if (look->claim != Look::Claim::granted) return "no claim";
      const auto full =
          store->commit(other.id, put(std::string(size, 'x'), look->token), soon());
      if (full) continue;
      text = full.error() == ErrorCode::unavailable ? "unavailable: " : "";
      text += full.error().message();
      // The claim stands, so that its owner can say why.
      if (store->look(other.id, {}, soon())->claim != Look::Claim::busy)
        return "the claim is gone";
      if (!store->commit(other.id, release(look->token, Outcome::not_storable), soon()))
        return "not released";
      if (store->look(other.id, {}, soon())->outcome != Outcome::not_storable)
        return "no outcome";
    }
    if (stored(*store, call) != "v") return "the old entry is gone";
    fs::remove(directory.path() / "filler");
    if (!store->commit(Call("later").id, put("w"), soon())) return "no recovery";
    return text + (stored(*store, Call("later")) == "w" ? " recovered" : "");
  });
  if (!answer) GTEST_SKIP() << "no mounts for tests here";
  EXPECT_THAT(*answer, StartsWith("unavailable: cannot"));
  EXPECT_THAT(*answer, HasSubstr(words));
  EXPECT_THAT(*answer, HasSubstr("fix:   free some space"));
  EXPECT_THAT(*answer, HasSubstr("recovered"));
}

TEST(LocalDisk, AFullOneIsAClearErrorAndRecovers) {
  expect_clear_error_when_full(50'000, "full");
}

TEST(LocalDisk, AFullOneIsAClearErrorForAValueFile) {
  expect_clear_error_when_full(100'000, "No space left");
}

TEST(LocalDisk, AFullOneWhereNothingIsYetIsAClearError) {
  const TempDirectory directory;
  const auto answer = on_small_disk(directory.path(), "1m", [&]() -> std::string {
    fill_disk(directory.path());
    const auto store = opened(directory.string());
    if (!store) return "no store";
    const Call call("k");
    const auto look = store->look(call.id, {}, soon());
    if (look) return "a look";
    std::string text = look.error() == ErrorCode::unavailable ? "unavailable: " : "";
    text += look.error().message();
    fs::remove(directory.path() / "filler");
    const auto later = store->look(call.id, {}, soon());
    if (!later) return text + " no recovery: " + later.error().message();
    if (!store->commit(call.id, put("v", later->token), soon())) return "not stored";
    return text + " recovered";
  });
  if (!answer) GTEST_SKIP() << "no mounts for tests here";
  EXPECT_THAT(*answer, StartsWith("unavailable: "));
  EXPECT_THAT(*answer, HasSubstr("No space left"));
  EXPECT_THAT(*answer, HasSubstr("fix:   free some space"));
  EXPECT_THAT(*answer, HasSubstr("recovered"));
}

/// A sequence of changes on a disk that has room for `pages` more. Then there is room
/// again. Gives what is wrong; nothing: all was as it should be.
std::string changes_where_little_fits(const fs::path& directory, std::uintmax_t pages) {
  const fs::path filler = directory / "filler";
  fill_disk(directory);
  std::error_code ignored;
  const auto full = fs::file_size(filler, ignored);
  fs::resize_file(filler, full - std::min(full, pages * 4096), ignored);

  std::map<std::string, std::string> reported;
  const auto store = opened(directory.string());
  if (!store) return "no store";
  for (int n = 0; n < 12; ++n) {
    const Call call("k" + std::to_string(n));
    const std::string value(n % 3 == 0 ? 100'000U : n % 3 == 1 ? 5'000U : 5U, 'v');
    const auto done = store->commit(call.id, put(value), soon());
    if (done) {
      reported[call.key] = value;
    } else if (std::string_view(done.error().fix()).find("free some space") ==
               std::string_view::npos) {
      return "an error of its own: " + done.error().message();
    }
    if (n == 6 && store->clear({}, Clear::entries, soon())) reported.clear();
    for (const auto& [key, expected] : reported) {
      if (stored(*store, Call(key)) != expected) return key + " was lost at once";
    }
  }
  fs::remove(filler);
  const Call later("later");
  if (!store->commit(later.id, put("w"), soon())) return "not stored afterwards";
  if (stored(*store, later) != "w") return "not there afterwards";
  for (const auto& [key, expected] : reported) {
    if (stored(*store, Call(key)) != expected) return key + " was lost in the end";
  }
  return {};
}

TEST(LocalDisk, FullAtEveryWriteOfASequence) {
  const TempDirectory directory;
  for (std::uintmax_t pages = 0; pages < 160; pages += pages < 40 ? 1 : 8) {
    const auto answer = on_small_disk(directory.path(), "2m", [&] {
      const std::string wrong = changes_where_little_fits(directory.path(), pages);
      return wrong.empty() ? std::string("fine") : wrong;
    });
    if (!answer) GTEST_SKIP() << "no mounts for tests here";
    EXPECT_EQ(*answer, "fine") << "with room for " << pages << " pages";
  }
}

TEST(LocalDisk, WithoutDescriptorsACallGetsAClearErrorAndLaterItsEntry) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP()
      << "UndefinedBehaviorSanitizer itself needs descriptors to look at types";
#endif
  const TempDirectory directory;
  const Call call("k");
  const Call large("large");
  for (const bool is_open : {false, true}) {
    ChildProcess child([&](Channel& parent) {
      const auto store = opened(directory.string());
      if (is_open && !store->look(call.id, {}, soon())) return 1;
      rlimit limit{};
      ::getrlimit(RLIMIT_NOFILE, &limit);
      const rlimit before = limit;
      limit.rlim_cur = 3;  // nothing new
      ::setrlimit(RLIMIT_NOFILE, &limit);
      const auto look = store->look(call.id, {}, soon());
      const auto first = store->commit(call.id, put("v"), soon());
      const auto second =
          store->commit(large.id, put(std::string(100'000, 'x')), soon());
      ::setrlimit(RLIMIT_NOFILE, &before);
      parent.send(look ? "looked" : look.error().message());
      parent.send(second ? "stored" : second.error().message());
      if (!store->commit(call.id, put("later"), soon())) return 2;
      if (!store->commit(large.id, put(std::string(100'000, 'y')), soon())) return 3;
      if (stored(*store, call) != "later") return 4;
      return stored(*store, large) == std::string(100'000, 'y') ? 0 : 5;
    });
    const auto look = child.channel().receive();
    const auto put_large = child.channel().receive();
    EXPECT_EQ(child.wait(), 0);
    ASSERT_TRUE(look && put_large);
    if (!is_open) {
      EXPECT_THAT(*look, HasSubstr("Too many open files"));
    }
    EXPECT_THAT(*put_large, HasSubstr("Too many open files"));
    EXPECT_THAT(*put_large, HasSubstr("fix:   raise the limit of open files"));
  }
}

TEST(LocalDisk, AWriterThatIsStoppedCostsOthersOneDeadline) {
  const TempDirectory directory;
  const auto store = opened(directory.string());
  const Call call("k");
  ASSERT_TRUE(store->commit(call.id, put("v"), soon()));
  // It holds the database's write lock as long as it is not told to go on.
  ChildProcess stopped([&](Channel& parent) {
    sqlite3* database = nullptr;
    const std::string path = (directory.path() / "v1/c1.db").string();
    const bool begun = sqlite3_open(path.c_str(), &database) == SQLITE_OK &&
                       sqlite3_exec(database, "BEGIN IMMEDIATE", nullptr, nullptr,
                                    nullptr) == SQLITE_OK;
    parent.send(begun ? "begun" : "not begun");
    (void)parent.receive();
    return 0;
  });
  ASSERT_EQ(stopped.channel().receive(), "begun");
  const auto now = [] { return std::chrono::steady_clock::now(); };
  const auto first = store->commit(call.id, put("w"), now() + std::chrono::seconds(1));
  ASSERT_FALSE(first);
  EXPECT_EQ(first.error(), ErrorCode::deadline_exceeded);
  // Longer than the test may take.
  const auto second =
      store->commit(call.id, put("w"), now() + std::chrono::minutes(30));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error(), ErrorCode::deadline_exceeded);
  EXPECT_EQ(stored(*store, call), "v");

  stopped.channel().send("go on");
  EXPECT_EQ(stopped.wait(), 0);
  EXPECT_TRUE(store->commit(call.id, put("w"), soon()));
  EXPECT_EQ(stored(*store, call), "w");
}

TEST(LocalDisk, ReadOnlyItIsReadWhereThereIsSomething) {
  const TempDirectory directory;
  const auto answer = on_small_disk(directory.path(), "8m", [&]() -> std::string {
    const Call call("k");
    {
      const auto store = opened(directory.string());
      if (!store || !store->commit(call.id, put("v"), soon())) return "not stored";
    }
    if (::mount(nullptr, directory.path().c_str(), nullptr, MS_REMOUNT | MS_RDONLY,
                nullptr) != 0)
      return "not remounted";
    const auto store = opened(directory.string());
    if (!store) return "no store";
    const std::string there = stored(*store, call);
    const auto written = store->commit(call.id, put("w"), soon());
    return there + "; " + (written ? "written" : written.error().message());
  });
  if (!answer) GTEST_SKIP() << "no mounts for tests here";
  EXPECT_THAT(*answer, HasSubstr("; cannot"));
  EXPECT_THAT(*answer, HasSubstr("Read-only file system"));
  EXPECT_THAT(*answer, HasSubstr("fix:   set cache_dir"));
  EXPECT_THAT(*answer, StartsWith("v;"));
}

}  // namespace
}  // namespace cachier::test
