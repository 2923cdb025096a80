#include <gtest/gtest.h>

#include <cachier/entry.hpp>

#include <set>
#include <thread>
#include <vector>

namespace cachier {
namespace {

TEST(Function, OfOneIdIsOneObject) {
  const Function& first = Function::intern("cachier:one");
  EXPECT_EQ(&Function::intern(std::string("cachier:one")), &first);
  EXPECT_EQ(first.id(), "cachier:one");
  EXPECT_NE(&Function::intern("cachier:other"), &first);
  EXPECT_NE(Function::intern("cachier:other").seed(), first.seed());
  EXPECT_NE(Function::intern("cachier:other").serial(), first.serial());
}

TEST(Function, ManyThreadsInternTheSame) {
  constexpr int kThreads = 8;
  constexpr int kFunctions = 200;
  std::vector<std::vector<const Function*>> seen(kThreads);
  {
    std::vector<std::jthread> threads;
    for (auto& mine : seen) {
      threads.emplace_back([&mine] {
        for (int i = 0; i < kFunctions; ++i) {
          mine.push_back(&Function::intern("cachier:many" + std::to_string(i)));
        }
      });
    }
  }
  std::set<std::uint32_t> serials;
  for (const auto& mine : seen) EXPECT_EQ(mine, seen.front());
  for (const Function* function : seen.front()) serials.insert(function->serial());
  EXPECT_EQ(serials.size(), std::size_t{kFunctions});
}

}  // namespace
}  // namespace cachier
