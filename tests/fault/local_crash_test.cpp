/// Processes that are killed at any moment.

#include "backends/local/layout.hpp"
#include "unit/backends/local_fixture.hpp"

#include <sqlite3.h>

#include <map>
#include <random>
#include <vector>

namespace cachier::test {
namespace {

class LocalCrashTest : public LocalStoreTest {
 protected:
  /// What SQLite itself says of the database.
  std::string integrity() {
    const auto path = directory_ / "v1/c1.db";
    sqlite3* database = nullptr;
    std::string answer = "cannot open";
    if (sqlite3_open(path.c_str(), &database) == SQLITE_OK) {
      sqlite3_exec(
          database, "PRAGMA integrity_check",
          [](void* text, int, char** columns, char**) {
            *static_cast<std::string*>(text) = columns[0];
            return 0;
          },
          &answer, nullptr);
    }
    sqlite3_close(database);
    return answer;
  }
};

TEST_F(LocalCrashTest, NothingReportedStoredIsLostAndNothingIsWrong) {
  constexpr int kDeaths = 40;
  std::mt19937 random(7);
  std::map<std::string, std::string> reported;
  for (int death = 0; death < kDeaths; ++death) {
    // It stores small and large values, overwrites, erases and clears another function,
    // and says each time what it is about to do and that it is done.
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
  store_.reset();
  EXPECT_EQ(integrity(), "ok");
}

TEST_F(LocalCrashTest, TheClaimOfADeadOwnerIsFree) {
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

TEST_F(LocalCrashTest, AWriterKilledInMidTransactionFreesTheOthers) {
  const Call call("k");
  ASSERT_TRUE(store_->commit(call.id, put("before"), soon()));
  for (int round = 0; round < 20; ++round) {
    ChildProcess writer([&](Channel& parent) {
      // A value this large takes a while: it is killed somewhere in it.
      const Change large = put(std::string(8U << 20, 'x'));
      parent.send("now");
      (void)store_->commit(Call("large").id, large, soon());
      (void)parent.receive();
      return 0;
    });
    ASSERT_TRUE(writer.channel().receive());
    std::this_thread::sleep_for(std::chrono::microseconds(round * 700));
    writer.kill();
    writer.wait();
    ASSERT_TRUE(store_->commit(call.id, put(std::to_string(round)), soon()));
    ASSERT_EQ(stored(*store_, call), std::to_string(round));
    const std::string large = stored(*store_, Call("large"));
    EXPECT_TRUE(large == "nothing" || large.size() == 8U << 20) << large.substr(0, 80);
  }
}

TEST_F(LocalCrashTest, AClearThatDiedHalfWayIsFinishedByTheNext) {
  for (int i = 0; i < 3'000; ++i)
    ASSERT_TRUE(store_->commit(Call(std::to_string(i)).id, put("v"), soon()));
  ChildProcess child([&](Channel& parent) {
    parent.send("now");
    (void)store_->clear({&usual_function(), {}}, Clear::entries, soon());
    return 0;
  });
  ASSERT_TRUE(child.channel().receive());
  std::this_thread::sleep_for(std::chrono::milliseconds(6));
  child.kill();
  child.wait();
  // All or nothing, whenever it was.
  const bool cleared = stored(*store_, Call("0")) == "nothing";
  for (int i = 0; i < 3'000; i += 100)
    EXPECT_EQ(stored(*store_, Call(std::to_string(i))), cleared ? "nothing" : "v") << i;

  const auto count = store_->clear({&usual_function(), {}}, Clear::entries, soon());
  ASSERT_TRUE(count);
  EXPECT_EQ(*count, cleared ? 0U : 3'000U);
  store_.reset();
  sqlite3* database = nullptr;
  const auto path = directory_ / "v1/c1.db";
  ASSERT_EQ(sqlite3_open(path.c_str(), &database), SQLITE_OK);
  std::string rows;
  sqlite3_exec(
      database, "SELECT count(*) FROM entries",
      [](void* text, int, char** columns, char**) {
        *static_cast<std::string*>(text) = columns[0];
        return 0;
      },
      &rows, nullptr);
  sqlite3_close(database);
  EXPECT_EQ(rows, "0") << "no garbage is left";
}

}  // namespace
}  // namespace cachier::test
