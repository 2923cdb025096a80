#include "platform/fork.hpp"
#include "platform/lock.hpp"
#include "support/child_process.hpp"

#include <gtest/gtest.h>

#include <string>
#include <thread>

namespace cachier::platform {
namespace {

using test::Channel;
using test::ChildProcess;

// What is registered stays for the rest of a process's life, so each test has its own.

TEST(Fork, WaitsFirstAndLocksThen) {
  ChildProcess process([](Channel& out) {
    std::string log;
    const auto write_down = [&log](ForkStage stage, const std::string& name) {
      at_fork({.stage = stage,
               .before = [&log, name] { log += "before " + name + ", "; },
               .in_parent = [&log, name] { log += "parent " + name + ", "; },
               .in_child = [&log, name] { log += "child " + name + ", "; }});
    };
    write_down(ForkStage::locking, "lock 1");
    write_down(ForkStage::waiting, "wait 1");
    write_down(ForkStage::locking, "lock 2");
    write_down(ForkStage::waiting, "wait 2");
    ChildProcess child([&log](Channel& up) {
      up.send(log);
      return 0;
    });
    out.send(child.channel().receive().value_or("nothing"));
    out.send(log);
    return child.wait();
  });
  const std::string before =
      "before wait 2, before wait 1, before lock 2, before lock 1, ";
  EXPECT_EQ(process.channel().receive(),
            before + "child lock 1, child lock 2, child wait 1, child wait 2, ");
  EXPECT_EQ(process.channel().receive(),
            before + "parent lock 1, parent lock 2, parent wait 1, parent wait 2, ");
  EXPECT_EQ(process.wait(), 0);
}

TEST(Fork, NobodyWhoRegistersMeanwhileWaitsForIt) {
  ChildProcess process([](Channel& out) {
    std::string log;
    at_fork({.stage = ForkStage::waiting, .before = [&log] {
               // What a thread does that the fork waits for.
               std::thread([&log] {
                 at_fork({.before = [&log] { log += "late, "; }});
               }).join();
               log += "waited, ";
             }});
    ChildProcess child([](Channel&) { return 0; });
    out.send(log);
    return child.wait();
  });
  EXPECT_EQ(process.channel().receive(), "waited, ");
  EXPECT_EQ(process.wait(), 0);
}

TEST(Fork, ALockIsFreeOnBothSides) {
  ChildProcess process([](Channel&) {
    static Lock lock;
    hold_over_forks(lock);
    std::atomic<bool> done{false};
    std::thread busy([&] {
      while (!done) {
        lock.lock();
        lock.unlock();
      }
    });
    int status = 0;
    for (int n = 0; n < 20 && status == 0; ++n) {
      ChildProcess child([](Channel&) { return lock.try_lock() ? 0 : 1; });
      status = child.wait();
    }
    done = true;
    busy.join();
    return status;
  });
  EXPECT_EQ(process.wait(), 0);
}

}  // namespace
}  // namespace cachier::platform
