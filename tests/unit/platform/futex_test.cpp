#include "platform/futex.hpp"
#include "platform/mapping.hpp"
#include "support/child_process.hpp"

#include <gtest/gtest.h>

#include <new>
#include <thread>

namespace cachier::platform {
namespace {

using test::Channel;
using test::ChildProcess;

Deadline far_away() { return std::chrono::steady_clock::now() + std::chrono::hours(1); }

TEST(Futex, ReturnsAtOnceWhenTheWordHasMoved) {
  const std::atomic<std::uint32_t> word{1};
  futex_wait(word, 0, far_away(), Reach::process);
  futex_wait(word, 0, far_away(), Reach::machine);
}

TEST(Futex, ReturnsAtTheDeadline) {
  const std::atomic<std::uint32_t> word{0};
  futex_wait(word, 0, std::chrono::steady_clock::now() - std::chrono::hours(1),
             Reach::process);
  futex_wait(word, 0, Deadline{}, Reach::process);
  futex_wait(word, 0, Deadline::min(), Reach::process);
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(3);
  while (std::chrono::steady_clock::now() < until)
    futex_wait(word, 0, until, Reach::machine);
}

TEST(Futex, WakesThreads) {
  std::atomic<std::uint32_t> word{0};
  std::thread waiting([&] {
    while (word.load() == 0) futex_wait(word, 0, Deadline::max(), Reach::process);
  });
  word.store(1);
  futex_wake_all(word, Reach::process);
  waiting.join();
}

TEST(Futex, WakesOtherProcesses) {
  const auto memory = Mapping::anonymous(4096);
  ASSERT_TRUE(memory);
  auto& word = *new (memory.start()) std::atomic<std::uint32_t>(0);
  ChildProcess child([&](Channel& parent) {
    parent.send("here");
    while (word.load() == 0) futex_wait(word, 0, far_away(), Reach::machine);
    return 7;
  });
  ASSERT_TRUE(child.channel().receive());
  word.store(1);
  futex_wake_all(word, Reach::machine);
  EXPECT_EQ(child.wait(), 7);
}

}  // namespace
}  // namespace cachier::platform
