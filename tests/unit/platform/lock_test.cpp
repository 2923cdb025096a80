#include "platform/lock.hpp"
#include "support/child_process.hpp"

#include <gtest/gtest.h>

#include <mutex>
#include <thread>
#include <vector>

namespace cachier::platform {
namespace {

TEST(Lock, OneAtATime) {
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

TEST(Lock, GivesUpAtTheDeadline) {
  Lock lock;
  lock.lock();
  EXPECT_FALSE(lock.try_lock());
  std::thread other([&] {
    EXPECT_FALSE(lock.try_lock_until(std::chrono::steady_clock::now()));
    EXPECT_FALSE(lock.try_lock_until(std::chrono::steady_clock::now() +
                                     std::chrono::milliseconds(2)));
  });
  other.join();
  lock.unlock();
  EXPECT_TRUE(lock.try_lock_until(std::chrono::steady_clock::now()));
  lock.unlock();
}

TEST(Lock, WakesWhoWaits) {
  Lock lock;
  lock.lock();
  std::thread other([&] {
    lock.lock();
    lock.unlock();
  });
  lock.unlock();
  other.join();
  EXPECT_TRUE(lock.try_lock());
}

TEST(Lock, IsNewInAChild) {
  Lock lock;
  lock.lock();
  test::ChildProcess child([&](test::Channel&) {
    if (lock.try_lock()) return 1;
    lock.reset_in_child();
    return lock.try_lock() ? 0 : 2;
  });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_FALSE(lock.try_lock());
}

}  // namespace
}  // namespace cachier::platform
