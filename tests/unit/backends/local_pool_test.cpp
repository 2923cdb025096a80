/// Connections on loan, and those who wait for one.

#include "backends/local/site.hpp"
#include "backends/local/sites.hpp"

#include "local_fixture.hpp"

#include <atomic>
#include <optional>
#include <thread>
#include <vector>

namespace cachier::test {
namespace {

using local::Lease;
using local::Pool;
using std::chrono::microseconds;
using std::chrono::steady_clock;

class LocalPoolTest : public LocalStoreTest {
 protected:
  void SetUp() override {
    ASSERT_TRUE(store_->commit(Call("k").id, put("value"), soon()));
    auto opened = local::Site::open((directory_ / "v1").string(), soon(), {});
    ASSERT_TRUE(opened) << opened.error().message();
    site_ = std::move(*opened);
  }

  [[nodiscard]] std::vector<Lease> all_of(Pool& pool) {
    std::vector<Lease> leases;
    for (int n = 0; n < Pool::kMost; ++n) {
      auto lease = pool.lend(soon());
      EXPECT_TRUE(lease);
      if (lease) leases.push_back(std::move(*lease));
    }
    return leases;
  }

  std::unique_ptr<local::Site> site_;
};

// Where a connection comes back to be closed, one of those who wait is woken, as there
// is room for a new one. If that one's time is up just then, it must not leave the
// others asleep.
TEST_F(LocalPoolTest, WhoIsLateSwallowsNobodysWakeUp) {
  constexpr int kRounds = 400;
  Pool& pool = site_->pool();
  for (int round = 0; round < kRounds; ++round) {
    std::vector<Lease> leases = all_of(pool);
    ASSERT_EQ(leases.size(), static_cast<std::size_t>(Pool::kMost));
    const auto deadline = steady_clock::now() + microseconds(400);
    std::atomic<bool> first_waits{false};
    std::thread late([&] {
      first_waits = true;
      (void)pool.lend(deadline);
    });
    std::thread patient([&] {
      while (!first_waits) std::this_thread::yield();
      const auto lease = pool.lend(steady_clock::now() + std::chrono::seconds(5));
      EXPECT_TRUE(lease) << "round " << round;
    });
    const auto just_before = deadline - microseconds(round % 40);
    while (steady_clock::now() < just_before) std::this_thread::yield();
    leases.back().discard();
    leases.pop_back();
    late.join();
    patient.join();
    if (HasFailure()) break;
  }
}

// A site that is opened while a fork waits for connections of another, as one is where
// opening takes longer than the fork waits for it.
TEST_F(LocalPoolTest, ASiteMayBeAddedWhileAForkWaitsForAnotherOne) {
  const auto opened = [&] {
    auto site = local::Site::open((directory_ / "v1").string(), soon(), {});
    EXPECT_TRUE(site);
    return site ? local::Sites::Pointer(std::move(*site)) : nullptr;
  };
  local::Sites sites(0);
  const local::Sites::Pointer first = opened();
  const local::Sites::Pointer second = opened();
  ASSERT_TRUE(first && second);
  sites.replace(first);
  std::optional<Lease> busy;
  if (auto lease = first->pool().lend(soon())) busy.emplace(std::move(*lease));
  ASSERT_TRUE(busy);
  sites.replace(second);

  std::thread fork([&] {
    sites.before_fork(soon());
    sites.after_fork_in_parent();
  });
  while (!first->pool().hurry()) std::this_thread::yield();
  sites.replace(opened());
  busy.reset();
  fork.join();

  const auto current = sites.current();
  ASSERT_TRUE(current);
  EXPECT_TRUE(current->pool().lend(soon()));
}

}  // namespace
}  // namespace cachier::test
