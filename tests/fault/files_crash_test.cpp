/// Processes that are killed at any moment, full disks and disks that cannot be
/// written: what the store of one file an entry survives.

#include "backends/files/disk.hpp"
#include "backends/files/files.hpp"
#include "fault/small_disk.hpp"
#include "unit/backends/local_fixture.hpp"

#include <sys/mount.h>

#include <gmock/gmock.h>

#include <filesystem>
#include <map>
#include <random>
#include <vector>

namespace cachier::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::shared_ptr<Store> opened_files(const std::string& directory) {
  auto store = open_files_store(directory);
  if (store) return *store;
  ADD_FAILURE() << store.error().message();
  return nullptr;
}

class FilesCrashTest : public ::testing::Test {
 protected:
  std::ptrdiff_t files_in(const char* folder) {
    const auto all = fs::recursive_directory_iterator(directory_ / "v1-files" / folder);
    return std::distance(begin(all), end(all));
  }

  TempDirectory directory_;
  std::shared_ptr<Store> store_ = opened_files(directory_.string());
};

TEST_F(FilesCrashTest, NothingReportedStoredIsLostAndNothingIsWrong) {
  constexpr int kDeaths = 40;
  std::mt19937 random(7);
  std::map<std::string, std::string> reported;
  for (int death = 0; death < kDeaths; ++death) {
    // It stores small and large values, overwrites, and clears another function, and
    // says each time what it is about to do and that it is done.
    ChildProcess child([&](Channel& parent) {
      std::mt19937 dice(static_cast<unsigned>(death));
      for (int i = 0;; ++i) {
        const std::string key = std::to_string(dice() % 200);
        const std::string value = std::to_string(death) + "/" + std::to_string(i) +
                                  "/" + std::string(dice() % 20'000, 'x');
        if (!parent.send("begin " + key)) return 0;
        if (!store_->commit(Call(key).id, put(value), soon())) return 1;
        if (!parent.send("done " + value)) return 0;
        if (i % 7 == 0) {
          const Call other("other", "g");
          if (!store_->commit(other.id, put("v"), soon())) return 2;
          if (!store_->clear({other.id.function, {}}, Clear::entries, soon())) return 3;
        }
      }
    });
    const auto life = std::chrono::microseconds(random() % 60'000);
    std::thread killer([&] {
      std::this_thread::sleep_for(life);
      child.kill();
    });
    std::string key;
    while (const auto message = child.channel().receive()) {
      if (message->starts_with("begin ")) {
        key = message->substr(6);
      } else {
        reported[key] = message->substr(5);
        key.clear();
      }
    }
    killer.join();
    EXPECT_EQ(child.wait(), 128 + SIGKILL);

    for (const auto& [known, value] : reported) {
      const std::string now = stored(*store_, Call(known));
      if (known == key && now != value) {
        // What it was about to store when it died may be there.
        EXPECT_TRUE(now.starts_with(std::to_string(death) + "/")) << now.substr(0, 40);
        reported[known] = now;
        continue;
      }
      EXPECT_TRUE(now == value) << known << ": " << now.substr(0, 40);
    }
  }
  EXPECT_FALSE(reported.empty());
  EXPECT_LE(files_in("aside"), kDeaths) << "one a death at most";
}

TEST_F(FilesCrashTest, TheClaimOfADeadOwnerIsFree) {
  const Call call("k");
  for (int round = 0; round < 20; ++round) {
    ChildProcess owner([&](Channel& parent) {
      const auto look = store_->look(call.id, {}, soon());
      parent.send(look && look->claim == Look::Claim::granted ? "granted" : "not");
      (void)parent.receive();
      return 0;
    });
    ASSERT_EQ(owner.channel().receive(), "granted");
    ASSERT_EQ(store_->look(call.id, {}, soon())->claim, Look::Claim::busy);
    owner.kill();
    owner.wait();
    const auto next = store_->look(call.id, {}, soon());
    ASSERT_EQ(next->claim, Look::Claim::granted) << round;
    ASSERT_TRUE(store_->commit(call.id, release(next->token), soon()));
  }
}

// Of writers of one entry, one is always holding its lock when they die.
TEST_F(FilesCrashTest, AWriterKilledAnywhereFreesTheOthers) {
  const Call call("k");
  for (int round = 0; round < 30; ++round) {
    std::vector<std::unique_ptr<ChildProcess>> writers;
    for (int n = 0; n < 3; ++n) {
      writers.push_back(std::make_unique<ChildProcess>([&](Channel& parent) {
        parent.send("now");
        for (;;) {
          if (!store_->commit(call.id, put("theirs"), soon())) return 1;
        }
      }));
    }
    for (auto& writer : writers) ASSERT_TRUE(writer->channel().receive());
    std::this_thread::sleep_for(std::chrono::microseconds(round * 100));
    for (auto& writer : writers) writer->kill();
    for (auto& writer : writers) EXPECT_EQ(writer->wait(), 128 + SIGKILL);
    const std::string ours = std::to_string(round);
    ASSERT_TRUE(store_->commit(call.id, put(ours), soon()));
    ASSERT_EQ(stored(*store_, call), ours);
  }
}

TEST_F(FilesCrashTest, AClearThatDiedHalfWayIsAllOrNothing) {
  constexpr int kEntries = 1'500;
  for (int round = 0; round < 8; ++round) {
    for (int i = 0; i < kEntries; ++i)
      ASSERT_TRUE(store_->commit(Call(std::to_string(i)).id, put("v"), soon()));
    const bool all = round % 2 == 0;
    ChildProcess child([&](Channel& parent) {
      parent.send("now");
      (void)store_->clear({all ? nullptr : &usual_function(), {}}, Clear::entries,
                          soon());
      parent.send("done");
      (void)parent.receive();
      return 0;
    });
    ASSERT_TRUE(child.channel().receive());
    std::this_thread::sleep_for(std::chrono::microseconds(round * 400));
    child.kill();
    child.wait();
    const bool cleared = stored(*store_, Call("0")) == "nothing";
    for (int i = 0; i < kEntries; i += 50)
      EXPECT_EQ(stored(*store_, Call(std::to_string(i))), cleared ? "nothing" : "v")
          << i;
    const auto page = store_->scan({}, {}, soon());
    ASSERT_TRUE(page);
    EXPECT_EQ(page->entries.size(), cleared ? 0U : kEntries);
    const auto count = store_->clear({&usual_function(), {}}, Clear::entries, soon());
    ASSERT_TRUE(count);
    EXPECT_EQ(*count, cleared ? 0U : kEntries);
  }
}

TEST(FilesDisk, AFullOneIsAClearErrorAndRecovers) {
  const TempDirectory directory;
  const auto answer = on_small_disk(directory.path(), "4m", [&]() -> std::string {
    const auto store = opened_files(directory.string());
    if (!store) return "no store";
    const Call call("k");
    if (!store->commit(call.id, put("v"), soon())) return "not stored at first";
    fill_disk(directory.path());

    const Call other("other");
    const auto look = store->look(other.id, {}, soon());
    if (!look) return "no look: " + look.error().message();
    if (look->claim != Look::Claim::granted) return "no claim";
    const auto full =
        store->commit(other.id, put(std::string(100'000, 'x'), look->token), soon());
    if (full) return "stored";
    std::string text = full.error() == ErrorCode::unavailable ? "unavailable: " : "";
    text += full.error().message();
    // The claim stands, so that its owner can say why.
    if (store->look(other.id, {}, soon())->claim != Look::Claim::busy)
      return "the claim is gone";
    if (!store->commit(other.id, release(look->token, Outcome::not_storable), soon()))
      return "not released";
    if (store->look(other.id, {}, soon())->outcome != Outcome::not_storable)
      return "no outcome";
    if (stored(*store, call) != "v") return "the old entry is gone";
    fs::remove(directory.path() / "filler");
    if (!store->commit(Call("later").id, put("w"), soon())) return "no recovery";
    if (!fs::is_empty(directory.path() / "v1-files/aside")) return "garbage";
    return text + (stored(*store, Call("later")) == "w" ? " recovered" : "");
  });
  if (!answer) GTEST_SKIP() << "no mounts for tests here";
  EXPECT_THAT(*answer, StartsWith("unavailable: cannot write"));
  EXPECT_THAT(*answer, HasSubstr("No space left"));
  EXPECT_THAT(*answer, HasSubstr("fix:   free some space"));
  EXPECT_THAT(*answer, HasSubstr("recovered"));
}

TEST(FilesDisk, ReadOnlyItIsReadWhereThereIsSomething) {
  const TempDirectory directory;
  const auto answer = on_small_disk(directory.path(), "8m", [&]() -> std::string {
    const Call call("k");
    if (!opened_files(directory.string())->commit(call.id, put("v"), soon()))
      return "not stored";
    if (::mount(nullptr, directory.path().c_str(), nullptr, MS_REMOUNT | MS_RDONLY,
                nullptr) != 0)
      return "not remounted";
    const auto store = opened_files(directory.string());
    if (!store) return "no store";
    std::string text = stored(*store, call) + "; ";
    // Whoever cannot lock computes, each process for itself.
    const auto look = store->look(Call("other").id, {}, soon());
    text += look && look->claim == Look::Claim::granted ? "granted; " : "not granted; ";
    text += store->commit(Call("other").id, release(look->token), soon())
                ? "released; "
                : "not released; ";
    const auto written = store->commit(call.id, put("w"), soon());
    text += written ? "written" : written.error().message();
    const auto cleared = store->clear({}, Clear::entries, soon());
    text += cleared ? "; cleared" : "; not cleared";
    return text + "; " + stored(*store, call);
  });
  if (!answer) GTEST_SKIP() << "no mounts for tests here";
  EXPECT_THAT(*answer, StartsWith("v; granted; released; cannot"));
  EXPECT_THAT(*answer, HasSubstr("Read-only file system"));
  EXPECT_THAT(*answer, HasSubstr("fix:   set cache_dir"));
  EXPECT_THAT(*answer, HasSubstr("not cleared; v"));
}

}  // namespace
}  // namespace cachier::test
