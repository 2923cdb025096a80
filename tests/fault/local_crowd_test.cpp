/// Many at once.

#include "unit/backends/local_fixture.hpp"

#include <atomic>
#include <filesystem>
#include <list>
#include <vector>

namespace cachier::test {
namespace {

class LocalCrowdTest : public LocalStoreTest {
 protected:
  [[nodiscard]] std::uintmax_t log_size() const {
    std::error_code missing;
    const auto size = std::filesystem::file_size(directory_ / "v1/c1.db-wal", missing);
    return missing ? 0 : size;
  }
};

TEST_F(LocalCrowdTest, EightProcessesOnANewDirectoryLoseNothing) {
  constexpr int kProcesses = 8;
  constexpr int kEach = 200;
  std::list<ChildProcess> children;
  for (int p = 0; p < kProcesses; ++p) {
    children.emplace_back([&, p](Channel& parent) {
      if (!parent.receive()) return 1;
      for (int i = 0; i < kEach; ++i) {
        const std::string text = std::to_string(p) + "/" + std::to_string(i);
        if (!store_->commit(Call(text).id, put(text), soon())) return 2;
      }
      return 0;
    });
  }
  for (auto& child : children) child.channel().send("go");
  for (auto& child : children) EXPECT_EQ(child.wait(), 0);
  int there = 0;
  for (int p = 0; p < kProcesses; ++p) {
    for (int i = 0; i < kEach; ++i) {
      const std::string text = std::to_string(p) + "/" + std::to_string(i);
      there += stored(*store_, Call(text)) == text ? 1 : 0;
    }
  }
  EXPECT_EQ(there, kProcesses * kEach);
}

TEST_F(LocalCrowdTest, OneOfManyProcessesComputes) {
  constexpr int kProcesses = 16;
  const Call call("k");
  std::list<ChildProcess> children;
  for (int p = 0; p < kProcesses; ++p) {
    children.emplace_back([&](Channel& parent) {
      if (!parent.receive()) return 1;
      for (;;) {
        const auto watch = store_->watch(call.id);
        const auto look = store_->look(call.id, {}, soon());
        if (!look) return 2;
        if (look->fresh) break;
        if (look->claim == Look::Claim::granted) {
          parent.send("ran");
          std::this_thread::sleep_for(std::chrono::milliseconds(20));
          if (!store_->commit(call.id, put("v", look->token), soon())) return 3;
          continue;
        }
        watch->wait(std::chrono::steady_clock::now() + std::chrono::milliseconds(50));
      }
      parent.send("done");
      return 0;
    });
  }
  for (auto& child : children) child.channel().send("go");
  int runs = 0;
  for (auto& child : children) {
    while (const auto message = child.channel().receive())
      runs += *message == "ran" ? 1 : 0;
    EXPECT_EQ(child.wait(), 0);
  }
  EXPECT_EQ(runs, 1);
}

TEST_F(LocalCrowdTest, FourThousandThreadsShareAFewDescriptors) {
#ifdef __SANITIZE_THREAD__
  constexpr int kThreads = 500;
#else
  constexpr int kThreads = 4'096;
#endif
  const auto open_files = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
  };
  const auto before = open_files();
  std::atomic<int> failures{0};
  std::atomic<int> granted{0};
  std::atomic<bool> go{false};
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      go.wait(false);
      const Call call(std::to_string(t / 2), usual_function());
      const auto look = store_->look(
          call.id, {}, std::chrono::steady_clock::now() + std::chrono::minutes(4));
      if (!look) {
        ++failures;
      } else if (look->claim == Look::Claim::granted) {
        ++granted;  // and kept: each key is given to one of its two threads
      }
    });
  }
  go = true;
  go.notify_all();
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(failures.load(), 0);
  EXPECT_EQ(granted.load(), kThreads / 2);
  // Connections, claim files, locks.
  EXPECT_LE(open_files(), before + 8 * 3 + 16 + 2 + 8);
}

TEST_F(LocalCrowdTest, FreedClaimsReachOtherProcesses) {
  const Call call("k");
  ChildProcess owner([&](Channel& parent) {
    const auto look = store_->look(call.id, {}, soon());
    parent.send(look && look->claim == Look::Claim::granted ? "granted" : "not");
    (void)parent.receive();
    const auto late = store_->commit(call.id, put("first owner", look->token), soon());
    parent.send(late ? "stored" : "lost");
    return 0;
  });
  ASSERT_EQ(owner.channel().receive(), "granted");
  ASSERT_EQ(store_->look(call.id, {}, soon())->claim, Look::Claim::busy);

  ASSERT_TRUE(store_->clear({&usual_function(), {}}, Clear::claims, soon()));
  const auto second = store_->look(call.id, {}, soon());
  ASSERT_EQ(second->claim, Look::Claim::granted);
  EXPECT_EQ(store_->look(call.id, {}, soon())->claim, Look::Claim::busy);
  ASSERT_TRUE(store_->commit(call.id, put("second owner", second->token), soon()));
  owner.channel().send("go on");
  EXPECT_EQ(owner.channel().receive(), "lost");
  EXPECT_EQ(stored(*store_, call), "second owner");
}

TEST_F(LocalCrowdTest, TheLogStaysShortUnderWritersAndReaders) {
  constexpr int kProcesses = 3;
  std::list<ChildProcess> children;
  for (int p = 0; p < kProcesses; ++p) {
    children.emplace_back([&, p](Channel& parent) {
      (void)parent.receive();
      const std::string value(1'000, 'v');
      for (int i = 0; i < 4'000; ++i) {
        const std::string text = std::to_string(p) + "/" + std::to_string(i % 700);
        if (!store_->commit(Call(text).id, put(value), soon())) return 1;
        if (stored(*store_, Call(text)) != value) return 2;
      }
      return 0;
    });
  }
  for (auto& child : children) child.channel().send("go");
  for (auto& child : children) EXPECT_EQ(child.wait(), 0);
  // 12,000 commits of four frames and more would be 200 MB.
  EXPECT_LT(log_size(), 60U << 20);
}

TEST_F(LocalCrowdTest, ClosingLeavesAShortLog) {
  ChildProcess child([&](Channel&) {
    for (int i = 0; i < 600; ++i) {
      if (!store_->commit(Call(std::to_string(i)).id, put("v"), soon())) return 1;
    }
    store_.reset();
    // The housekeeper may have been the last to use it. The time-out of the test is
    // less than for ever.
    while (log_size() != 0) std::this_thread::yield();
    return 0;
  });
  EXPECT_EQ(child.wait(), 0);
  for (int i = 0; i < 600; ++i)
    EXPECT_EQ(stored(*store_, Call(std::to_string(i))), "v");
}

}  // namespace
}  // namespace cachier::test
