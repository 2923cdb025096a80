#include "platform/random.hpp"
#include "support/child_process.hpp"

#include <gtest/gtest.h>

#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace cachier::platform {
namespace {

TEST(Random, NeverZeroNeverTwice) {
  std::mutex mutex;
  std::set<std::uint64_t> seen;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      std::vector<std::uint64_t> mine(10'000);
      for (auto& one : mine) one = random_bits();
      const std::lock_guard hold(mutex);
      seen.insert(mine.begin(), mine.end());
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(seen.size(), 40'000U);
  EXPECT_FALSE(seen.contains(0));
}

TEST(Random, AChildGoesItsOwnWay) {
  (void)random_bits();
  test::ChildProcess child([](test::Channel& parent) {
    parent.send(std::to_string(random_bits()));
    return 0;
  });
  const std::string mine = std::to_string(random_bits());
  const auto theirs = child.channel().receive();
  ASSERT_TRUE(theirs);
  EXPECT_NE(*theirs, mine);
}

}  // namespace
}  // namespace cachier::platform
