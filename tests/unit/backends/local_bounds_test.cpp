#include "local_fixture.hpp"

#include <sqlite3.h>

#include <algorithm>
#include <cmath>
#include <list>
#include <random>
#include <unordered_map>
#include <vector>

#include "platform/housekeeper.hpp"
#include "support/eventually.hpp"

namespace cachier::test {
namespace {

constexpr std::int64_t kEntryCost = 256;

class BoundsTest : public LocalStoreTest {
 protected:
  struct Counts {
    std::int64_t entries = 0;
    std::int64_t bytes = 0;
    friend bool operator==(const Counts&, const Counts&) = default;
  };
  [[nodiscard]] Counts query(const char* sql) const {
    sqlite3* database = nullptr;
    sqlite3_stmt* statement = nullptr;
    Counts counts{-1, -1};
    const std::string path = (directory_.path() / "v1/c1.db").string();
    if (sqlite3_open_v2(path.c_str(), &database, SQLITE_OPEN_READONLY, nullptr) ==
            SQLITE_OK &&
        sqlite3_prepare_v2(database, sql, -1, &statement, nullptr) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW) {
      counts = {sqlite3_column_int64(statement, 0), sqlite3_column_int64(statement, 1)};
    }
    sqlite3_finalize(statement);
    sqlite3_close(database);
    return counts;
  }
  [[nodiscard]] Counts kept() const {
    return query("SELECT entries, bytes FROM functions WHERE id = 0");
  }
  void expect_exact() const {
    // In one statement: the housekeeper may be at work.
    const Counts wrong = query(
        "SELECT (SELECT count(*) FROM functions f WHERE id > 0 AND (entries, bytes) IS "
        "NOT (SELECT count(*), coalesce(sum(size + 256), 0) FROM entries e WHERE "
        "e.id >> 44 = f.id AND e.epoch = f.epoch AND stored_at > 0)), "
        "(SELECT (entries, bytes) IS NOT (SELECT coalesce(sum(entries), 0), "
        "coalesce(sum(bytes), 0) FROM functions WHERE id > 0) FROM functions WHERE id "
        "= 0)");
    EXPECT_EQ(wrong.entries, 0) << "functions whose counts are wrong";
    EXPECT_EQ(wrong.bytes, 0) << "the counts of all are wrong";
  }
  void store(const Call& call, std::string bytes) {
    const auto version = store_->commit(call.id, put(std::move(bytes)), soon());
    ASSERT_TRUE(version) << version.error().message();
  }
  [[nodiscard]] bool is_there(const Call& call) {
    return stored(*store_, call) != "nothing";
  }
  /// Whether no more than `bound` is kept once the housekeeper has done its part. What
  /// it is in the middle of is waited for.
  [[nodiscard]] bool comes_within(const Bounds& bound) {
    return eventually([&] {
      dynamic_cast<platform::Chore&>(*store_).run();
      const Counts now = kept();
      return static_cast<std::uint64_t>(now.entries) <= bound.entries &&
             static_cast<std::uint64_t>(now.bytes) <= bound.bytes;
    });
  }
};

TEST_F(BoundsTest, CountsAreExactWhateverIsDone) {
  std::mt19937 random(7);
  for (int i = 0; i < 400; ++i) {
    const Call call("k" + std::to_string(random() % 40),
                    random() % 2 == 0 ? "cachier:test:f" : "cachier:test:g");
    switch (random() % 16) {
      case 0:
        ASSERT_TRUE(store_->commit(call.id, erase(), soon()));
        break;
      case 1:
        ASSERT_TRUE(store_->clear({call.id.function, {}}, Clear::entries, soon()));
        break;
      case 2: {
        const Filter old{random() % 2 == 0 ? call.id.function : nullptr,
                         platform::wall_now() - std::chrono::milliseconds(1)};
        ASSERT_TRUE(store_->clear(
            old, random() % 2 == 0 ? Clear::stale : Clear::entries, soon()));
        break;
      }
      default:
        store(call, std::string(random() % 100'000, 'x'));
    }
    expect_exact();
  }
  ASSERT_TRUE(store_->clear({}, Clear::entries, soon()));
  EXPECT_EQ(kept(), Counts{});
}

TEST_F(BoundsTest, AClearSaysHowManyItHasRemoved) {
  for (int n = 0; n < 7; ++n) store(Call("k" + std::to_string(n)), "v");
  store(Call("k", "cachier:test:other"), "v");
  EXPECT_EQ(store_->clear({&usual_function(), {}}, Clear::entries, soon()).value(), 7U);
  EXPECT_EQ(store_->clear({}, Clear::entries, soon()).value(), 1U);
}

TEST_F(BoundsTest, FilledToTenTimesItsBoundItStaysWithinIt) {
  constexpr std::int64_t kBound = 600;
  ASSERT_TRUE(store_->keep_within(&usual_function(), {.entries = kBound}));
  for (int n = 0; n < 10 * kBound; ++n) {
    store(Call("k" + std::to_string(n)), "value");
    if (n % 20 == 0) {
      ASSERT_LE(kept().entries, kBound * 21 / 20) << n;
    }
  }
  EXPECT_GE(kept().entries, kBound * 19 / 20 - 1);
  expect_exact();
}

TEST_F(BoundsTest, SoDoesAStoreOfBytes) {
  constexpr std::int64_t kBound = 600 * (1'000 + kEntryCost);
  ASSERT_TRUE(store_->keep_within(nullptr, {.bytes = kBound}));
  for (int n = 0; n < 6'000; ++n) {
    store(Call("k" + std::to_string(n)), std::string(1'000, 'v'));
    if (n % 20 == 0) {
      ASSERT_LE(kept().bytes, kBound * 21 / 20) << n;
    }
  }
  expect_exact();
}

TEST_F(BoundsTest, BigValuesGoWithTheirFiles) {
  ASSERT_TRUE(store_->keep_within(nullptr, {.bytes = 1'000'000}));
  for (int n = 0; n < 60; ++n)
    store(Call("k" + std::to_string(n)), std::string(100'000, 'v'));
  EXPECT_TRUE(comes_within({.bytes = 1'000'000}));
  const auto on_disk = [&] {
    std::uintmax_t bytes = 0;
    std::error_code gone;
    for (const auto& one : std::filesystem::recursive_directory_iterator(
             directory_.path() / "v1/c1.values")) {
      const auto size = one.is_regular_file(gone) ? one.file_size(gone) : 0;
      if (!gone) bytes += size;
    }
    return bytes;
  };
  // The files go after their rows.
  EXPECT_TRUE(eventually([&] { return on_disk() <= 1'000'000U; })) << on_disk();
  EXPECT_GT(on_disk(), 500'000U);
}

TEST_F(BoundsTest, OnlyTheBoundedFunctionLosesEntries) {
  const Function& other = Function::intern("cachier:test:unbounded");
  for (int n = 0; n < 300; ++n) store(Call("k" + std::to_string(n), other), "v");
  ASSERT_TRUE(store_->keep_within(&usual_function(), {.entries = 50}));
  for (int n = 0; n < 300; ++n) store(Call("k" + std::to_string(n)), "v");
  EXPECT_TRUE(comes_within({.entries = 350}));
  for (int n = 0; n < 300; ++n) {
    EXPECT_TRUE(is_there(Call("k" + std::to_string(n), other)));
  }
}

TEST_F(BoundsTest, InAnotherDatabaseOnlyTheBoundedFunctionLosesEntries) {
  const Function& other = Function::intern("cachier:test:unbounded");
  ASSERT_TRUE(store_->keep_within(&usual_function(), {.entries = 50}));
  store(Call("k"), "v");
  // The row of the bounded function is the unbounded one's from here on.
  std::filesystem::remove_all(directory_.path() / "v1");
  for (int n = 0; n < 300; ++n) store(Call("k" + std::to_string(n), other), "v");
  dynamic_cast<platform::Chore&>(*store_).run();
  EXPECT_EQ(kept().entries, 300);
  for (int n = 0; n < 300; ++n) store(Call("k" + std::to_string(n)), "v");
  EXPECT_TRUE(comes_within({.entries = 350}));
}

TEST_F(BoundsTest, WhatIsBeingComputedAnewIsNotDisturbed) {
  ASSERT_TRUE(store_->keep_within(nullptr, {.entries = 20}));
  const Call call("k");
  store(call, "old");
  Ask never;
  never.max_age = Duration::zero();
  const auto owner = store_->look(call.id, never, soon());
  ASSERT_TRUE(owner);
  ASSERT_EQ(owner->claim, Look::Claim::granted);
  for (int n = 0; n < 200; ++n) store(Call("other" + std::to_string(n)), "v");
  EXPECT_TRUE(comes_within({.entries = 20}));
  const auto stored_anew = store_->commit(call.id, put("new", owner->token), soon());
  ASSERT_TRUE(stored_anew) << stored_anew.error().message();
  EXPECT_EQ(stored(*store_, call), "new");
}

TEST_F(BoundsTest, SeveralProcessesKeepOneBound) {
  std::vector<std::unique_ptr<ChildProcess>> children;
  for (int child = 0; child < 4; ++child) {
    children.push_back(std::make_unique<ChildProcess>([&, child](Channel&) {
      const auto store = opened(directory_.string());
      if (!store->keep_within(nullptr, {.entries = 1'000})) return 1;
      for (int n = 0; n < 700; ++n) {
        const Call call(std::to_string(child) + "/" + std::to_string(n));
        if (!store->commit(call.id, put("v"), soon())) return 2;
      }
      return 0;
    }));
  }
  for (auto& child : children) EXPECT_EQ(child->wait(), 0);
  EXPECT_LE(kept().entries, 1'050);
  EXPECT_GE(kept().entries, 900);
  expect_exact();
}

/// Keys in a Zipf distribution (s = 0.99), as caches are asked for.
class Zipf {
 public:
  explicit Zipf(int keys) {
    double sum = 0;
    for (int n = 1; n <= keys; ++n) {
      sum += 1 / std::pow(n, 0.99);
      sums_.push_back(sum);
    }
  }
  int operator()(std::mt19937& random) {
    const double at = std::uniform_real_distribution<>(0, sums_.back())(random);
    return static_cast<int>(std::lower_bound(sums_.begin(), sums_.end(), at) -
                            sums_.begin());
  }

 private:
  std::vector<double> sums_;
};

TEST_F(BoundsTest, HitsAreNearlyThoseOfLeastRecentlyUsed) {
  constexpr int kKeys = 4'000, kBound = 400, kAsked = 30'000;
  ASSERT_TRUE(store_->keep_within(nullptr, {.entries = kBound}));
  std::mt19937 random(99);
  Zipf zipf(kKeys);
  std::list<int> recent;
  std::unordered_map<int, std::list<int>::iterator> where;
  int ours = 0, theirs = 0;
  for (int n = 0; n < kAsked; ++n) {
    const int key = zipf(random);
    if (const auto found = where.find(key); found != where.end()) {
      ++theirs;
      recent.splice(recent.begin(), recent, found->second);
    } else {
      recent.push_front(key);
      where[key] = recent.begin();
      if (recent.size() > kBound) {
        where.erase(recent.back());
        recent.pop_back();
      }
    }
    const Call call("k" + std::to_string(key));
    if (is_there(call)) {
      ++ours;
    } else {
      store(call, "v");
    }
  }
  EXPECT_GE(ours, theirs - kAsked / 50) << "of " << kAsked;
}

}  // namespace
}  // namespace cachier::test
