#include "platform/fork_aware.hpp"
#include "platform/fork.hpp"
#include "support/child_process.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace cachier::platform {
namespace {

using test::Channel;
using test::ChildProcess;

/// Writes down what it is told.
class Witness final : public ForkAware {
 public:
  Witness(std::string name, std::string& log) : name_(std::move(name)), log_(log) {
    watch_forks();
  }
  ~Witness() override { ignore_forks(); }

  void before_fork() noexcept override { log_ += "before " + name_ + ", "; }
  void after_fork_in_parent() noexcept override { log_ += "parent " + name_ + ", "; }
  void after_fork_in_child() noexcept override { log_ += "child " + name_ + ", "; }

 private:
  const std::string name_;
  std::string& log_;
};

TEST(ForkAware, IsToldInOrderOnBothSides) {
  std::string log;
  const Witness one("1", log);
  auto gone = std::make_unique<Witness>("2", log);
  const Witness three("3", log);
  gone.reset();

  ChildProcess child([&](Channel& parent) {
    parent.send(log);
    return 0;
  });
  EXPECT_EQ(child.channel().receive(), "before 3, before 1, child 1, child 3, ");
  EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(log, "before 3, before 1, parent 1, parent 3, ");
}

TEST(ForkAware, ChildrenOfChildrenAreToldToo) {
  std::string log;
  const Witness one("1", log);
  ChildProcess child([&](Channel& parent) {
    log.clear();
    ChildProcess grandchild([&](Channel& up) {
      up.send(log);
      return 0;
    });
    parent.send(grandchild.channel().receive().value_or("nothing"));
    return grandchild.wait();
  });
  EXPECT_EQ(child.channel().receive(), "before 1, child 1, ");
  EXPECT_EQ(child.wait(), 0);
}

}  // namespace
}  // namespace cachier::platform
