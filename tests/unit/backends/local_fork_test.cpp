/// Stores and `fork`, while other threads use them.

#include "backends/local/site.hpp"
#include "local_fixture.hpp"

#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <optional>
#include <thread>
#include <vector>

namespace cachier::test {
namespace {

#ifdef __SANITIZE_THREAD__
// ThreadSanitizer ends a child that starts a thread, and a child that writes much does:
// there only the parent's side is judged.
constexpr bool kThreadsInChildren = false;
#else
constexpr bool kThreadsInChildren = true;
#endif

using LocalForkTest = LocalStoreTest;

TEST_F(LocalForkTest, AChildReadsAndWrites) {
  const Call call("k");
  ASSERT_TRUE(store_->commit(call.id, put("parent"), soon()));
  ChildProcess child([&](Channel& parent) {
    parent.send(stored(*store_, call));
    const bool put_it = store_->commit(call.id, put("child"), soon()).has_value();
    return put_it ? 0 : 1;
  });
  EXPECT_EQ(child.channel().receive(), "parent");
  EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(stored(*store_, call), "child");
  EXPECT_TRUE(store_->commit(call.id, put("parent again"), soon()));
}

TEST_F(LocalForkTest, TheParentsClaimIsNotTheChilds) {
  const Call call("k");
  const auto look = store_->look(call.id, {}, soon());
  ASSERT_EQ(look->claim, Look::Claim::granted);
  ChildProcess child([&](Channel& parent) {
    const auto stolen = store_->commit(call.id, put("stolen", look->token), soon());
    const auto given = store_->commit(call.id, release(look->token), soon());
    const auto own = store_->look(call.id, {}, soon());
    std::string answer;
    answer += !stolen && stolen.error() == ErrorCode::claim_lost ? "lost " : "stored ";
    answer += !given && given.error() == ErrorCode::claim_lost ? "lost " : "released ";
    answer += own && own->claim == Look::Claim::busy ? "busy" : "free";
    parent.send(answer);
    (void)parent.receive();
    return 0;
  });
  EXPECT_EQ(child.channel().receive(), "lost lost busy");
  // The child lives on, with what it inherited closed.
  EXPECT_EQ(store_->look(call.id, {}, soon())->claim, Look::Claim::busy);
  EXPECT_TRUE(store_->commit(call.id, put("mine", look->token), soon()));
  EXPECT_EQ(stored(*store_, call), "mine");
  child.channel().send("go");
  EXPECT_EQ(child.wait(), 0);
}

TEST_F(LocalForkTest, AChildsDeathFreesItsOwnClaimsOnly) {
  const Call mine("mine");
  const Call theirs("theirs");
  ASSERT_EQ(store_->look(mine.id, {}, soon())->claim, Look::Claim::granted);
  ChildProcess child([&](Channel& parent) {
    const auto look = store_->look(theirs.id, {}, soon());
    parent.send(look && look->claim == Look::Claim::granted ? "granted" : "not");
    (void)parent.receive();
    return 0;
  });
  ASSERT_EQ(child.channel().receive(), "granted");
  const auto busy = store_->look(theirs.id, {}, soon());
  EXPECT_EQ(busy->claim, Look::Claim::busy);
  EXPECT_EQ(busy->owner_process, static_cast<std::uint32_t>(child.pid()));
  child.kill();
  child.wait();
  EXPECT_EQ(store_->look(theirs.id, {}, soon())->claim, Look::Claim::granted);
  EXPECT_EQ(store_->look(mine.id, {}, soon())->claim, Look::Claim::busy);
}

TEST_F(LocalForkTest, WhileThreadsReadAndWrite) {
  constexpr int kThreads = 4;
  constexpr int kForks = 30;
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; !stop.load(); ++i) {
        const Call call(std::to_string(t) + "/" + std::to_string(i % 50));
        const auto put_it = store_->commit(call.id, put(std::to_string(i)), soon());
        EXPECT_TRUE(put_it) << put_it.error().message();
        EXPECT_EQ(stored(*store_, call), std::to_string(i));
      }
    });
  }
  for (int f = 0; f < kForks; ++f) {
    ChildProcess child([&](Channel&) {
      const Call call("child " + std::to_string(f));
      if (!store_->commit(call.id, put("v"), soon())) return 1;
      return stored(*store_, call) == "v" ? 0 : 2;
    });
    const int status = child.wait();
    if (kThreadsInChildren) {
      EXPECT_EQ(status, 0) << f;
    }
  }
  stop = true;
  for (auto& thread : threads) thread.join();
  for (int f = 0; kThreadsInChildren && f < kForks; ++f)
    EXPECT_EQ(stored(*store_, Call("child " + std::to_string(f))), "v");
}

TEST_F(LocalForkTest, GrandchildrenToo) {
  const Call call("k");
  ChildProcess child([&](Channel&) {
    if (!store_->commit(call.id, put("child"), soon())) return 1;
    ChildProcess grandchild([&](Channel&) {
      if (stored(*store_, call) != "child") return 2;
      return store_->commit(call.id, put("grandchild"), soon()) ? 0 : 3;
    });
    return grandchild.wait();
  });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(stored(*store_, call), "grandchild");
}

TEST_F(LocalForkTest, AWriterThatWaitsForAnotherProcessHoldsNoForkUp) {
  const Call call("k");
  ASSERT_TRUE(store_->commit(call.id, put("v"), soon()));
  // Another process is in the middle of a write, and stays there.
  ChildProcess writer([&](Channel& parent) {
    const auto& file = directory_ / "v1/c1.db";
    sqlite3* database = nullptr;
    if (sqlite3_open(file.c_str(), &database) != SQLITE_OK) return 1;
    if (sqlite3_exec(database, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr) !=
        SQLITE_OK)
      return 2;
    parent.send("writing");
    (void)parent.receive();
    sqlite3_exec(database, "ROLLBACK", nullptr, nullptr, nullptr);
    sqlite3_close(database);
    return 0;
  });
  ASSERT_EQ(writer.channel().receive(), "writing");

  const auto late =
      store_->commit(call.id, put("late"), std::chrono::steady_clock::now());
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error(), ErrorCode::deadline_exceeded);

  std::atomic<bool> done{false};
  std::thread waiting([&] {
    EXPECT_TRUE(store_->commit(call.id, put("waited"), soon()));
    done = true;
  });
  for (int f = 0; f < 5; ++f) {
    // A connection that was still in use would make the store unusable in the child.
    ChildProcess child([&](Channel&) { return stored(*store_, call) == "v" ? 0 : 1; });
    EXPECT_EQ(child.wait(), 0);
  }
  EXPECT_FALSE(done.load());
  writer.channel().send("go");
  EXPECT_EQ(writer.wait(), 0);
  waiting.join();
  EXPECT_EQ(stored(*store_, call), "waited");
}

TEST_F(LocalForkTest, WhoseDeadlineIsOverWhileAForkWaitsIsToldSo) {
  ASSERT_TRUE(store_->commit(Call("k").id, put("v"), soon()));
  const auto site = local::Site::open(directory_ / "v1", soon(), {});
  ASSERT_TRUE(site);
  local::Pool& pool = (*site)->pool();
  std::optional<local::Lease> busy;
  {
    auto first = pool.lend(soon());
    auto idle = pool.lend(soon());
    ASSERT_TRUE(first && idle);
    busy.emplace(std::move(*first));
  }
  std::thread fork([&] {
    pool.before_fork(soon());
    pool.after_fork_in_parent();
  });
  while (!pool.hurry()) std::this_thread::yield();
  const auto late = pool.lend(std::chrono::steady_clock::now());
  EXPECT_FALSE(late);
  EXPECT_TRUE(pool.hurry()) << "it was kept until the fork was over";
  busy.reset();
  fork.join();
}

}  // namespace
}  // namespace cachier::test
