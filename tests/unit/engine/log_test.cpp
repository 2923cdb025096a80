#include <cachier/log.hpp>

#include "support/child_process.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace cachier::test {
namespace {

class Log : public testing::Test {
 protected:
  void TearDown() override { set_log_sink({}); }
};

TEST_F(Log, GoesNowhereWithoutASink) { log(LogLevel::error, "nobody hears this"); }

TEST_F(Log, GoesToTheSinkThatWasSetLast) {
  std::string first;
  std::string second;
  set_log_sink([&](LogLevel, std::string_view message) { first += message; });
  log(LogLevel::info, "one ");
  set_log_sink([&](LogLevel level, std::string_view message) {
    second += level == LogLevel::warning ? "warning: " : "other: ";
    second += message;
  });
  log(LogLevel::warning, "two\nlines");
  set_log_sink({});
  log(LogLevel::error, "three");
  EXPECT_EQ(first, "one ");
  EXPECT_EQ(second, "warning: two\nlines");
}

TEST_F(Log, WhatIsSaidOnceIsSaidOnceOfASubjectAndToEachSink) {
  log_once(LogLevel::info, "subject", "to nobody");
  std::vector<std::string> heard;
  const auto sink = [&](LogLevel, std::string_view message) {
    heard.emplace_back(message);
  };
  set_log_sink(sink);
  log_once(LogLevel::info, "subject", "first");
  log_once(LogLevel::info, "subject", "second");
  log_once(LogLevel::info, "another", "third");
  set_log_sink(sink);
  log_once(LogLevel::info, "subject", "fourth");
  EXPECT_EQ(heard, (std::vector<std::string>{"first", "third", "fourth"}));
}

TEST_F(Log, ASinkMayBeReplacedWhileOthersLog) {
  std::atomic<bool> done{false};
  std::atomic<int> heard{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      while (!done) log(LogLevel::info, "message");
    });
  }
  for (int n = 0; n < 200; ++n) {
    // What the sink owns lives until its last message is through.
    auto owned = std::make_shared<std::string>("alive");
    const int before = heard;
    set_log_sink([owned, &heard](LogLevel, std::string_view) {
      if (*owned == "alive") ++heard;
    });
    owned = nullptr;
    while (heard == before) std::this_thread::yield();
  }
  done = true;
  for (auto& thread : threads) thread.join();
}

TEST_F(Log, ASinkMayLogAndBeReplacedFromWithin) {
  int heard = 0;
  set_log_sink([&](LogLevel, std::string_view message) {
    ++heard;
    if (message == "outer") {
      log(LogLevel::info, "inner");
      set_log_sink({});
    }
  });
  log(LogLevel::info, "outer");
  log(LogLevel::info, "outer");
  EXPECT_EQ(heard, 2);
}

TEST_F(Log, WorksInTheChildOfAForkWhileOthersLog) {
  set_log_sink([](LogLevel, std::string_view) {});
  std::atomic<bool> done{false};
  std::thread busy([&] {
    while (!done) log(LogLevel::info, "message");
  });
  for (int n = 0; n < 50; ++n) {
    ChildProcess child([](Channel&) {
      log(LogLevel::info, "from the child");
      return 0;
    });
    EXPECT_EQ(child.wait(), 0);
  }
  done = true;
  busy.join();
}

}  // namespace
}  // namespace cachier::test
