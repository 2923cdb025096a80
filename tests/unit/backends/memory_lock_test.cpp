/// The lock of a shard, whose holder may be alone in the process or not.

#include "backends/memory/lock.hpp"

#include "support/child_process.hpp"

#include <gtest/gtest.h>

#include <mutex>
#include <thread>
#include <vector>

namespace cachier::memory {
namespace {

TEST(MemoryLock, OneAtATime) {
  Lock lock;
  int count = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int turn = 0; turn < 5'000; ++turn) {
        const std::lock_guard hold(lock);
        ++count;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(count, 40'000);
}

TEST(MemoryLock, IsTakenOnce) {
  Lock lock;
  ASSERT_TRUE(lock.try_lock());
  EXPECT_FALSE(lock.try_lock());
  lock.unlock();
  EXPECT_TRUE(lock.try_lock());
}

/// In a child of `fork`, where no thread of another test is left.
TEST(MemoryLock, WhoIsAloneMayFindCompanyWhileHoldingIt) {
  test::ChildProcess child([](test::Channel&) {
    Lock lock;
    int count = 0;
    lock.lock();
    std::thread other([&] {
      const std::lock_guard hold(lock);
      ++count;
    });
    // Held by the one who was alone: the other cannot have come past it.
    const int past = lock.try_lock() ? 1 : 0;
    lock.unlock();
    other.join();
    return past == 0 && count == 1 && lock.try_lock() ? 0 : 1;
  });
  EXPECT_EQ(child.wait(), 0);
}

}  // namespace
}  // namespace cachier::memory
