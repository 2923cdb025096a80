/// The C++ door: what a program that wraps its functions can rely on.

#include <gtest/gtest.h>
#include <cachier/cached.hpp>
#include <cachier/log.hpp>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <variant>
#include <vector>

#include "support/eventually.hpp"
#include "support/temp_directory.hpp"

namespace {

/// Can be copied only where it was made.
struct HomeBody {
  std::thread::id home = std::this_thread::get_id();
  HomeBody() = default;
  HomeBody(const HomeBody& other) : home(other.home) {
    if (std::this_thread::get_id() != home) throw std::runtime_error("cannot leave");
  }
  HomeBody& operator=(const HomeBody&) = delete;
  ~HomeBody() = default;
};

}  // namespace

template <>
struct cachier::key_encoder<HomeBody> {
  static void encode(cbor::Writer& writer, const HomeBody&) { encode_key(writer, 1); }
};

namespace cachier::test {
namespace {

using namespace std::chrono_literals;

/// On both backends: what holds whatever the store.
class CachedOn : public testing::TestWithParam<const char*> {
 protected:
  Options options() const {
    Options options;
    options.backend = GetParam();
    options.cache_dir = directory_.path().string();
    options.enable_metrics = true;
    return options;
  }
  TempDirectory directory_;
};

INSTANTIATE_TEST_SUITE_P(Backends, CachedOn, testing::Values("memory", "local"),
                         [](const auto& of) { return std::string(of.param); });

TEST_P(CachedOn, RunsOncePerArguments) {
  int runs = 0;
  auto area = cached(
      "area", [&](int width, double height) { return ++runs, width * height; },
      options());
  EXPECT_EQ(area(2, 1.5), 3.0);
  EXPECT_EQ(area(2, 1.5), 3.0);
  EXPECT_EQ(area(2, 2.5), 5.0);
  EXPECT_EQ(runs, 2);
  EXPECT_EQ(area.counters().hits, 1U);
}

int twice(const std::string& text) { return static_cast<int>(2 * text.size()); }

TEST_P(CachedOn, TakesFunctionsAndConvertsArguments) {
  auto f = cached("twice", twice, options());
  EXPECT_EQ(f("abc"), 6);
  EXPECT_EQ(f(std::string("abc")), 6);
  EXPECT_EQ(f.counters().hits, 1U) << "a literal is the string it becomes";
}

TEST_P(CachedOn, ResultsOfStandardTypesComeBackEqual) {
  using Everything =
      std::tuple<std::string, std::vector<int>, std::map<std::string, double>,
                 std::optional<int>, std::variant<int, std::string>>;
  const Everything all{"text \xc3\xa9", {1, -2, 3}, {{"a", 0.1}}, 7, "one"};
  int runs = 0;
  auto f = cached(
      "everything", [&] { return ++runs, all; }, options());
  EXPECT_EQ(f(), all);
  EXPECT_EQ(f(), all);
  EXPECT_EQ(runs, 1);
}

TEST_P(CachedOn, WhatItThrowsReachesTheCallerAndIsNotStored) {
  int runs = 0;
  auto f = cached(
      "throws",
      [&](int n) -> int {
        if (++runs == 1) throw std::out_of_range("first");
        return n;
      },
      options());
  EXPECT_THROW(f(3), std::out_of_range);
  EXPECT_EQ(f(3), 3);
  EXPECT_EQ(runs, 2);
}

TEST_P(CachedOn, PeekInvalidateAndClear) {
  int runs = 0;
  auto f = cached(
      "f", [&](int n) { return ++runs, n; }, options());
  auto other = cached(
      "f2", [&](int n) { return ++runs, n; }, options());
  EXPECT_EQ(f.peek(1), std::nullopt);
  (void)f(1), (void)f(2), (void)other(1);
  EXPECT_EQ(f.peek(1), 1);
  f.invalidate(1);
  EXPECT_EQ(f.peek(1), std::nullopt);
  EXPECT_EQ(f.clear(), 1U);
  EXPECT_EQ(f.peek(2), std::nullopt);
  EXPECT_EQ(other.peek(1), 1) << "a function that shares the name's beginning stays";
  EXPECT_EQ(f.clear(), 0U);
  EXPECT_EQ(runs, 3);
}

TEST_P(CachedOn, PrecacheIsAnAnswer) {
  auto f = cached(
      "f", [](int) -> int { throw std::logic_error("ran"); }, options());
  f.precache(5, 1);
  EXPECT_EQ(f(1), 5);
  EXPECT_THROW(f(2), std::logic_error);
}

TEST_P(CachedOn, AnEmptyOptionalCountsOnlyIfAllowed) {
  int runs = 0;
  const auto none = [&](int) -> std::optional<int> { return ++runs, std::nullopt; };
  auto f = cached("none", none, options());
  (void)f(1), (void)f(1);
  EXPECT_EQ(runs, 2);
  EXPECT_EQ(f.call({.allow_none = true}, 1), std::nullopt);
  EXPECT_EQ(runs, 2) << "it was stored either way";
}

TEST_P(CachedOn, OptionsOfACall) {
  int runs = 0;
  auto f = cached(
      "f", [&](int) { return ++runs; }, options());
  EXPECT_EQ(f(1), 1);
  EXPECT_EQ(f.call({.max_age = 1h}, 1), 1);
  EXPECT_EQ(f.call({.max_age = 0s}, 1), 2) << "zero is never fresh";
  EXPECT_EQ(f.call({.skip_cache = true}, 1), 3);
  EXPECT_EQ(f(1), 2) << "skipped calls store nothing";
  EXPECT_EQ(f.call({.overwrite_cache = true}, 1), 4);
  EXPECT_EQ(f(1), 4);
}

TEST_P(CachedOn, AStaleValueNowAndAFreshOneNext) {
  std::atomic<int> runs{0};
  auto f = cached(
      "f", [&](const std::string&) { return ++runs; }, options());
  const CallOptions lazily{.stale_after = 0s, .next_time = true};
  EXPECT_EQ(f("x"), 1);
  EXPECT_EQ(f.call(lazily, "x"), 1);
  while (f("x") == 1) std::this_thread::yield();
  EXPECT_EQ(f("x"), 2);
}

TEST_P(CachedOn, ARefreshOwnsTheTextThatItWasCalledWith) {
  std::atomic<int> runs{0};
  auto f = cached(
      "f",
      [&](std::string_view text) {
        ++runs;
        return std::string(text);
      },
      options());
  const CallOptions lazily{.stale_after = 0s, .next_time = true};
  const std::string long_text(1000, 'x');
  EXPECT_EQ(f(long_text), long_text);
  {
    const auto gone = std::make_unique<std::string>(long_text);
    EXPECT_EQ(f.call(lazily, *gone), long_text);
  }
  while (runs < 2) std::this_thread::yield();
  EXPECT_EQ(f(long_text), long_text);
}

TEST_P(CachedOn, ARefreshWhoseArgumentsCannotBeCopiedFailsAndGivesItsClaimBack) {
  std::atomic<int> told{0};
  set_log_sink([&](LogLevel, std::string_view message) {
    if (message.find("cannot leave") != std::string_view::npos) ++told;
  });
  std::atomic<int> runs{0};
  auto f = cached(
      "f", [&](const HomeBody&) { return ++runs; }, options());
  const HomeBody here;
  EXPECT_EQ(f(here), 1);
  // The second one begins only with the claim that the first one gave back.
  while (told < 2) {
    EXPECT_EQ(f.call({.stale_after = 0s, .next_time = true}, here), 1);
    std::this_thread::yield();
  }
  set_log_sink({});
  EXPECT_EQ(runs, 1);
}

TEST_P(CachedOn, ThreadsRunItOnce) {
  std::atomic<int> runs{0};
  auto f = cached(
      "slow",
      [&](int n) {
        ++runs;
        std::this_thread::sleep_for(20ms);  // the work
        return n;
      },
      options());
  std::vector<std::thread> threads;
  for (int i = 0; i < 16; ++i) {
    threads.emplace_back([&] { EXPECT_EQ(f(4), 4); });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(runs, 1);
}

TEST_P(CachedOn, OffItRunsAndKeepsWhatItHas) {
  int runs = 0;
  auto f = cached(
      "f", [&](int) { return ++runs; }, options());
  EXPECT_EQ(f(1), 1);
  disable_caching();
  EXPECT_EQ(f(1), 2);
  enable_caching();
  EXPECT_EQ(f(1), 1);
}

TEST_P(CachedOn, VersionsAndPrefixesAreApart) {
  auto with = [&](std::string version, std::string prefix) {
    Options of = options();
    of.version = std::move(version);
    of.key_prefix = std::move(prefix);
    return cached(
        "f", [](int n) { return n; }, of);
  };
  EXPECT_EQ(with("", "cachier").id(), "cachier:f");
  EXPECT_EQ(with("2", "cachier").id(), "cachier:f@2");
  EXPECT_EQ(with("", "team").id(), "team:f");
}

TEST(Cached, OnDiskAnotherWrapperFindsIt) {
  const TempDirectory directory;
  const Options options{.cache_dir = directory.path().string()};
  int runs = 0;
  const auto square = [&](int n) { return ++runs, n * n; };
  EXPECT_EQ(cached("square", square, options)(5), 25);
  EXPECT_EQ(cached("square", square, options)(5), 25);
  EXPECT_EQ(runs, 1);
}

TEST(Cached, TooLargeIsReturnedNotStored) {
  const TempDirectory directory;
  int runs = 0;
  auto f = cached("f", [&](int n) { return ++runs, std::string(std::size_t(n), 'x'); },
                  {.cache_dir = directory.path().string(), .entry_size_limit = 12});
  EXPECT_EQ(f(10).size(), 10U);
  EXPECT_EQ(f(10).size(), 10U);
  EXPECT_EQ(runs, 1) << "10 bytes and a head of 1 are not more than 12";
  EXPECT_EQ(f(20).size(), 20U);
  EXPECT_EQ(f(20).size(), 20U);
  EXPECT_EQ(runs, 3);
  EXPECT_EQ(f.counters().size_rejections, 2U);
}

TEST(Cached, TooLargeIsReturnedNotStoredInMemoryToo) {
  int runs = 0;
  const auto text = [&](int n) { return ++runs, std::string(std::size_t(n), 'x'); };
  auto limited = cached("f", text, {.backend = "memory", .entry_size_limit = 12});
  EXPECT_EQ(limited(20).size(), 20U);
  EXPECT_EQ(limited(20).size(), 20U);
  EXPECT_EQ(runs, 2);
  EXPECT_EQ(limited(10).size(), 10U);
  EXPECT_EQ(limited(10).size(), 10U);
  EXPECT_EQ(runs, 3);
  auto bounded = cached("f", text, {.backend = "memory", .max_bytes = 300});
  EXPECT_EQ(bounded(10).size(), 10U);
  EXPECT_EQ(bounded(500).size(), 500U) << "larger than all that may be kept";
  EXPECT_EQ(bounded(10).size(), 10U);
  EXPECT_EQ(runs, 5);
}

TEST(Cached, InMemoryNoMoreIsKeptThanItsBound) {
  int runs = 0;
  auto f = cached("f", [&](int n) { return ++runs, n; },
                  {.backend = "memory", .max_entries = 3});
  for (int n = 0; n < 100; ++n) {
    EXPECT_EQ(f(0), 0);
    EXPECT_EQ(f(n), n);
  }
  EXPECT_EQ(runs, 100) << "what is asked for again and again stays";
  EXPECT_EQ(f(1), 1);
  EXPECT_EQ(runs, 101);
}

TEST(Cached, SizesNeedAStoredForm) {
  struct Opaque {};
  Options options{.backend = "memory"};
  options.max_bytes = 1000;
  try {
    (void)cached(
        "f", [](int) { return std::make_shared<Opaque>(); }, options);
    FAIL() << "accepted";
  } catch (const Exception& refused) {
    const std::string words = refused.what();
    EXPECT_NE(words.find("max_bytes"), std::string::npos) << words;
    EXPECT_NE(words.find("max_entries"), std::string::npos) << words;
  }
}

TEST(Cached, ADirectoryThatCannotBeUsedIsNoReasonToFail) {
  const TempDirectory directory;
  const std::filesystem::path place = directory.path() / "cache";
  std::ofstream(place) << "not a directory";
  std::vector<std::string> said;
  set_log_sink([&](LogLevel, std::string_view message) { said.emplace_back(message); });
  int runs = 0;
  Options options{.cache_dir = place.string()};
  options.max_entries = 10;
  auto f = cached(
      "f", [&](int n) { return ++runs, n; }, options);
  EXPECT_EQ(f(1), 1);
  EXPECT_EQ(f(1), 1);
  EXPECT_EQ(runs, 2) << "nothing is stored";
  ASSERT_EQ(said.size(), 1U) << "and that is said once";
  EXPECT_NE(said[0].find(place.string()), std::string::npos) << said[0];

  std::filesystem::remove(place);

  EXPECT_TRUE(eventually([&] {
    const int before = runs;
    EXPECT_EQ(f(1), 1);
    return runs == before;
  })) << "it is tried again";
  set_log_sink({});
}

TEST(Cached, OnlySignedEntriesAreUsed) {
  const TempDirectory directory;
  int runs = 0;
  const auto count = [&](int) { return ++runs; };
  Options options{.cache_dir = directory.path().string()};
  auto open_to_all = cached("signed", count, options);
  EXPECT_EQ(open_to_all(1), 1);
  EXPECT_EQ(open_to_all(1), 1);

  options.signing_keys = {"the key of our programs"};
  auto f = cached("signed", count, options);
  EXPECT_EQ(f(1), 2) << "nobody has signed that";
  EXPECT_EQ(f(1), 2);
  EXPECT_EQ(f.counters().untrusted, 1U);

  options.signing_keys = {"short"};
  try {
    (void)cached("signed", count, options);
    FAIL() << "accepted";
  } catch (const Exception& refused) {
    EXPECT_EQ(refused.error(), ErrorCode::invalid_argument);
    EXPECT_EQ(std::string(refused.what()).find("short\n"), std::string::npos);
  }
}

TEST(Cached, HiddenArgumentsAreNotOnDisk) {
  const TempDirectory directory;
  Options options{.cache_dir = directory.path().string()};
  options.hash_stored_keys = true;
  int runs = 0;
  auto f = cached(
      "f", [&](const std::string&) { return ++runs; }, options);
  EXPECT_EQ(f("secret-of-mine"), 1);
  EXPECT_EQ(f("secret-of-mine"), 1);
  const auto store =
      open_store({.backend = "local", .cache_dir = options.cache_dir}).value();
  const Page page = store->scan({}, {}, Deadline::max()).value();
  ASSERT_EQ(page.entries.size(), 1U);
  EXPECT_TRUE(page.entries[0].hashed);
  EXPECT_EQ(page.entries[0].key.size(), 32U);
}

TEST(Cached, AnEntryOfAnotherDescriptionOrAnExceptionIsUnreadable) {
  const TempDirectory directory;
  int runs = 0;
  auto f = cached("f", [&](int n) { return ++runs, n; },
                  {.cache_dir = directory.path().string()});
  EXPECT_EQ(f(1), 1);
  const auto store =
      open_store({.backend = "local", .cache_dir = directory.path().string()}).value();
  const Page page = store->scan({}, {}, Deadline::max()).value();
  ASSERT_EQ(page.entries.size(), 1U);
  const Header& header = page.entries[0];
  const Id id{&Function::intern(header.function), header.digest, as_bytes(header.key),
              header.hashed};
  const auto store_with = [&](std::uint64_t fingerprint, bool exception = false) {
    Change change;
    change.value = Value::of_bytes(Codec::cbor, encode_value(7));
    change.value.set_fingerprint(fingerprint);
    change.value.set_exception(exception);
    ASSERT_TRUE(store->commit(id, change, Deadline::max()));
  };
  store_with(0);
  EXPECT_EQ(f(1), 7);
  store_with(5);
  EXPECT_EQ(f.peek(1), std::nullopt);
  EXPECT_EQ(f(1), 1);
  EXPECT_EQ(f.counters().unreadable, 1U);
  EXPECT_EQ(runs, 2);
  store_with(0, true);
  EXPECT_EQ(f.peek(1), std::nullopt);
  EXPECT_EQ(f(1), 1);
  EXPECT_EQ(f.counters().unreadable, 2U);
  EXPECT_EQ(runs, 3);
}

/// Neither copied nor stored: lives in memory, is shared.
struct Unique {
  explicit Unique(int n) : number(std::make_unique<int>(n)) {}
  std::unique_ptr<int> number;
};

TEST(Cached, WhatCannotBeCopiedIsShared) {
  auto f = cached("unique", [](int n) { return Unique(n); }, {.backend = "memory"});
  const std::shared_ptr<const Unique> first = f(1);
  EXPECT_EQ(*first->number, 1);
  EXPECT_EQ(f(1), first);
  EXPECT_EQ(f.get(1), first);
}

TEST(Cached, GetSharesWithoutACopy) {
  auto f = cached("f", [](int n) { return std::vector<int>(std::size_t(n), 1); },
                  {.backend = "memory"});
  EXPECT_EQ(f.get(1000), f.get(1000));
}

TEST(Cached, SaysWhatIsWrong) {
  const auto f = [](int n) { return n; };
  const auto message = [](auto&& make) -> std::string {
    try {
      make();
    } catch (const Exception& error) {
      return error.what();
    }
    return "nothing was thrown";
  };
  EXPECT_NE(
      message([&] { (void)cached("f", f, {.backend = "reddis"}); }).find("reddis"),
      std::string::npos);
  EXPECT_NE(message([&] { (void)cached("", f); }).find("name is empty"),
            std::string::npos);
  EXPECT_NE(message([&] {
              (void)cached("f", f, {.wait_for_calc_timeout = -1s});
            }).find("wait_for_calc_timeout"),
            std::string::npos);
  const TempDirectory directory;
  EXPECT_NE(message([&] {
              (void)cached("f", [](int n) { return Unique(n); },
                           {.cache_dir = directory.path().string()});
            }).find("value_codec"),
            std::string::npos);
}

TEST(Cached, AStoreThatFailsIsWarnedOfOnce) {
  const TempDirectory directory;
  const std::string path = directory / "cache";
  auto f = cached("f", [](int n) { return n; }, {.cache_dir = path});
  auto g = cached("g", [](int n) { return n; }, {.cache_dir = path});
  std::filesystem::remove_all(path);
  std::ofstream(path) << "in the way";
  std::vector<std::string> warnings;
  set_log_sink([&](LogLevel level, std::string_view message) {
    if (level == LogLevel::warning) warnings.emplace_back(message);
  });
  EXPECT_EQ(f(1) + f(1) + f(2) + g(3), 7);
  set_log_sink({});
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_NE(warnings[0].find(path), std::string::npos);
  EXPECT_GE(f.counters().store_errors, 3U);
}

TEST(Cached, RefusesWhatItCouldNotKey) {
  struct Opaque {};
  static_assert(Cacheable<int (*)(int)>);
  static_assert(Cacheable<int (*)(const std::string&)>);
  static_assert(!Cacheable<int (*)(int&)>, "it could hand results out through it");
  static_assert(!Cacheable<int (*)(Opaque)>);
  static_assert(!Cacheable<void (*)(int)>);
  static_assert(!Cacheable<decltype([n = 0](int) mutable { return ++n; })>);
}

}  // namespace
}  // namespace cachier::test
