/// The steps of a call, and that every driver of them takes the same course: the one
/// that blocks, `Steps::act`, and a door that does the store's operations itself.

#include <gtest/gtest.h>
#include <cachier/engine.hpp>

#include <chrono>
#include <functional>
#include <ostream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backends/memory/memory.hpp"
#include "support/forwarding_store.hpp"
#include "unit/engine/script.hpp"

namespace cachier::test {
namespace {

using namespace std::chrono_literals;
using engine::Operation;
using engine::Policy;
using engine::Steps;
using How = engine::Ended::How;
using Next = Steps::Next;

/// What happened, in words.
using Trace = std::vector<std::string>;

std::string word_for(const Change& change) {
  switch (change.kind) {
    case Change::Kind::put:
      if (change.token) return "put with token";
      if (change.basis) return "put on basis";
      return change.epoch ? "put since epoch" : "put";
    case Change::Kind::release:
      return "release " + std::to_string(static_cast<int>(change.outcome));
    case Change::Kind::renew:
      return "renew";
    case Change::Kind::erase:
      return "erase";
  }
  return "?";
}

/// Writes down what it is asked and what it answers; fails where it is told to.
class TracedStore final : public ForwardingStore {
 public:
  TracedStore(std::shared_ptr<Store> store, Trace& trace)
      : ForwardingStore(std::move(store)), trace_(trace) {}

  Result<Look> look(const Id& id, const Ask& ask, Deadline deadline) noexcept override {
    trace_.push_back(std::string("look") + (ask.claim ? " for claim" : "") +
                     (ask.unreadable ? " past unreadable" : ""));
    expect_soon(deadline);
    if (fails_to_look) return *fails_to_look;
    Result<Look> answer = ForwardingStore::look(id, ask, deadline);
    trace_.push_back("claim " + std::to_string(static_cast<int>(answer->claim)) +
                     (answer->entry ? ", an entry" : ""));
    return answer;
  }
  Result<Version> commit(const Id& id, const Change& change,
                         Deadline deadline) noexcept override {
    trace_.push_back(word_for(change));
    expect_soon(deadline);
    if (fails_to_put && change.kind == Change::Kind::put) return *fails_to_put;
    Result<Version> answer = ForwardingStore::commit(id, change, deadline);
    trace_.emplace_back(answer ? "done" : name_of(answer.error().code()));
    return answer;
  }

  std::optional<Error> fails_to_look;
  std::optional<Error> fails_to_put;

 private:
  static void expect_soon(Deadline deadline) {
    EXPECT_GT(deadline, std::chrono::steady_clock::now());
    EXPECT_LE(deadline, std::chrono::steady_clock::now() + 7s);
  }

  Trace& trace_;
};

/// A script that writes down its steps.
class TracedScript final : public Script {
 public:
  TracedScript(std::function<int()> function, Trace& trace)
      : Script(std::move(function)), trace_(trace) {}

  Result<Value> encode(std::uint64_t size_limit) noexcept override {
    trace_.emplace_back("encode");
    return Script::encode(size_limit);
  }
  void on(engine::Step step) noexcept override {
    trace_.push_back("step " + std::to_string(static_cast<int>(step)));
    if (step == engine::Step::waiting && when_waiting) when_waiting();
  }

  std::function<void()> when_waiting;

 private:
  Trace& trace_;
};

/// Who does the store's operations.
enum class Driver : std::uint8_t { blocks, acts, does_operations };

/// A world of its own for each run of a story, so that runs can be compared.
class World {
 public:
  explicit World(Driver driver) : driver_(driver) {}
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  [[nodiscard]] Id id() const noexcept {
    return {&Function::intern("cachier:steps_test"), {1, 2}, as_bytes(key_), false};
  }
  [[nodiscard]] TracedScript script(std::function<int()> function) {
    return {std::move(function), trace};
  }
  void call(Script& script) {
    if (driver_ == Driver::blocks) {
      end(engine::call(store, id(), policy, script, &counters), script);
    } else {
      go(*Steps::of_call(store, id(), policy, script, counters), script);
    }
  }
  void refresh(Script& script) {
    ASSERT_TRUE(script.refresh);
    trace.emplace_back("refresh");
    if (driver_ == Driver::blocks) {
      end(engine::run_refresh(std::move(script.refresh), script), script);
    } else {
      go(*Steps::of_refresh(std::move(script.refresh), script), script);
    }
  }
  /// As another call, which leaves no trace.
  Token claim() { return inner->look(id(), {}, Deadline::max())->token; }
  void put(int result, const std::optional<Token>& token = {}) {
    Change change;
    change.value = Value::of_bytes(Codec::cbor, std::to_string(result));
    change.token = token;
    EXPECT_TRUE(inner->commit(id(), change, Deadline::max()));
  }
  void clear() {
    EXPECT_TRUE(inner->clear({.function = id().function}, Clear::entries, {}));
  }

  Trace trace;
  std::shared_ptr<Store> inner = make_memory_store();
  std::shared_ptr<TracedStore> store = std::make_shared<TracedStore>(inner, trace);
  Policy policy;
  Counters counters;

 private:
  void end(const engine::Ended& ended, const Script& script) {
    trace.push_back("ended " + std::to_string(static_cast<int>(ended.how)) + " with " +
                    std::to_string(script.result));
  }
  void go(Steps& steps, Script& script) {
    for (;;) {
      switch (steps.next()) {
        case Next::store:
          act(steps);
          break;
        case Next::wait:
          if (steps.before_wait()) steps.after_wait();
          break;
        case Next::compute:
          steps.after_compute(script.compute(steps.before_compute()));
          break;
        case Next::done:
          end(steps.end(), script);
          return;
      }
    }
  }
  void act(Steps& steps) {
    if (driver_ == Driver::acts) {
      steps.act();
      return;
    }
    const auto operation = steps.begin();
    if (!operation) return;
    if (const Ask* const ask = std::get_if<Ask>(&operation->what)) {
      steps.looked(store->look(id(), *ask, operation->deadline));
    } else {
      const Change& change = std::get<Change>(operation->what);
      steps.committed(store->commit(id(), change, operation->deadline));
    }
  }

  std::string key_ = "k";
  Driver driver_;
};

/// What happens to a call, told once and run with every driver.
struct Story {
  std::string name;
  std::function<void(World&)> run;
};

void PrintTo(const Story& story, std::ostream* out) { *out << story.name; }

class Courses : public testing::TestWithParam<Story> {};

TEST_P(Courses, AreTheSameWithEveryDriver) {
  World blocks(Driver::blocks);
  World acts(Driver::acts);
  World operations(Driver::does_operations);
  for (World* const world : {&blocks, &acts, &operations}) GetParam().run(*world);

  EXPECT_FALSE(blocks.trace.empty());
  EXPECT_EQ(acts.trace, blocks.trace);
  EXPECT_EQ(operations.trace, blocks.trace);
  for (const World* const world : {&acts, &operations}) {
    const auto same = [&](auto counter) {
      return (world->counters.*counter).load() == (blocks.counters.*counter).load();
    };
    EXPECT_TRUE(same(&Counters::hits));
    EXPECT_TRUE(same(&Counters::misses));
    EXPECT_TRUE(same(&Counters::stale_hits));
    EXPECT_TRUE(same(&Counters::recalculations));
    EXPECT_TRUE(same(&Counters::waits));
    EXPECT_TRUE(same(&Counters::wait_timeouts));
    EXPECT_TRUE(same(&Counters::size_rejections));
    EXPECT_TRUE(same(&Counters::unreadable));
    EXPECT_TRUE(same(&Counters::lost_claims));
    EXPECT_TRUE(same(&Counters::store_errors));
  }
}

int throws() { throw std::runtime_error("no luck"); }

INSTANTIATE_TEST_SUITE_P(
    Stories, Courses,
    testing::Values(Story{"MissThenHit",
                          [](World& world) {
                            auto first = world.script([] { return 1; });
                            world.call(first);
                            auto second = world.script([] { return 2; });
                            world.call(second);
                            EXPECT_EQ(second.result, 1);
                          }},
                    Story{"StaleAndRefreshed",
                          [](World& world) {
                            world.put(1);
                            world.policy.max_age = Duration::zero();
                            world.policy.next_time = true;
                            auto script = world.script([] { return 2; });
                            world.call(script);
                            EXPECT_EQ(script.result, 1);
                            world.refresh(script);
                            EXPECT_EQ(script.result, 2);
                          }},
                    Story{"RefreshThatThrows",
                          [](World& world) {
                            world.put(1);
                            world.policy.max_age = Duration::zero();
                            world.policy.next_time = true;
                            auto script = world.script(throws);
                            world.call(script);
                            world.refresh(script);
                          }},
                    Story{"Throws",
                          [](World& world) {
                            auto script = world.script(throws);
                            world.call(script);
                            EXPECT_TRUE(script.thrown);
                          }},
                    Story{"Unstorable",
                          [](World& world) {
                            auto script = world.script([] { return 1; });
                            script.unstorable = true;
                            world.call(script);
                          }},
                    Story{"TooLarge",
                          [](World& world) {
                            world.policy.size_limit = 1;
                            auto script = world.script([] { return 100; });
                            world.call(script);
                          }},
                    Story{"Empty",
                          [](World& world) {
                            auto script = world.script([] { return 1; });
                            script.empty = true;
                            world.call(script);
                          }},
                    Story{"Unreadable",
                          [](World& world) {
                            world.put(1);
                            auto script = world.script([] { return 2; });
                            script.unreadable = true;
                            world.call(script);
                            EXPECT_EQ(script.result, 2);
                          }},
                    Story{"Skips",
                          [](World& world) {
                            world.policy.skip = true;
                            auto script = world.script([] { return 1; });
                            world.call(script);
                          }},
                    Story{"Overwrites",
                          [](World& world) {
                            world.put(1);
                            world.policy.overwrite = true;
                            auto script = world.script([] { return 2; });
                            world.call(script);
                          }},
                    Story{"ClearedMeanwhile",
                          [](World& world) {
                            auto script =
                                world.script([&] { return world.clear(), 1; });
                            world.call(script);
                          }},
                    Story{"WaitsForAnother",
                          [](World& world) {
                            const Token token = world.claim();
                            auto script = world.script([] { return 2; });
                            script.when_waiting = [&] { world.put(1, token); };
                            world.call(script);
                            EXPECT_EQ(script.result, 1);
                          }},
                    Story{"WaitsNoLonger",
                          [](World& world) {
                            world.claim();
                            world.policy.wait_limit = Duration::zero();
                            auto script = world.script([] { return 2; });
                            world.call(script);
                            EXPECT_EQ(script.result, 2);
                          }},
                    Story{"RunsWithinItself",
                          [](World& world) {
                            int depth = 0;
                            std::function<int()> function = [&]() -> int {
                              if (++depth > 1) return 10;
                              auto inner = world.script(function);
                              world.call(inner);
                              return inner.result + 1;
                            };
                            auto outer = world.script(function);
                            world.call(outer);
                            EXPECT_EQ(outer.result, 11);
                          }},
                    Story{"CannotLook",
                          [](World& world) {
                            world.store->fails_to_look = Error(ErrorCode::unavailable);
                            auto script = world.script([] { return 1; });
                            world.call(script);
                            EXPECT_EQ(script.result, 1);
                            EXPECT_TRUE(script.store_error);
                          }},
                    Story{"CannotLookAndRaises",
                          [](World& world) {
                            world.policy.raise_refusals = true;
                            world.store->fails_to_look = Error(ErrorCode::refused);
                            auto script = world.script([] { return 1; });
                            world.call(script);
                          }},
                    Story{"CannotPut",
                          [](World& world) {
                            world.store->fails_to_put =
                                Error(ErrorCode::deadline_exceeded);
                            auto script = world.script([] { return 1; });
                            world.call(script);
                            EXPECT_TRUE(script.store_error);
                          }}),
    [](const auto& one) { return one.param.name; });

class StepsTest : public testing::Test {
 protected:
  std::unique_ptr<Steps> steps(Script& script) {
    return Steps::of_call(world_.store, world_.id(), world_.policy, script,
                          world_.counters);
  }
  Result<Look> look(const std::optional<Operation>& operation) {
    return world_.store->look(world_.id(), std::get<Ask>(operation->what),
                              operation->deadline);
  }
  bool is_free() { return world_.claim().serial != 0; }

  World world_{Driver::does_operations};
};

TEST_F(StepsTest, TheStoreIsAskedNothingByWhoBegins) {
  auto script = world_.script([] { return 1; });
  const auto call = steps(script);

  const auto operation = call->begin();
  ASSERT_TRUE(operation);
  EXPECT_TRUE(std::get<Ask>(operation->what).claim);
  EXPECT_TRUE(world_.trace.empty());
  call->looked(look(operation));

  EXPECT_FALSE(call->begin()) << "it is to be computed";
  EXPECT_EQ(call->next(), Next::compute);
  EXPECT_TRUE(call->holds_claim());
}

TEST_F(StepsTest, ACallerWhoGoesAwayGivesBackByAnOperation) {
  auto script = world_.script([] { return 1; });
  const auto call = steps(script);
  call->looked(look(call->begin()));
  ASSERT_TRUE(call->holds_claim());

  const auto operation = call->begin_give_back();

  ASSERT_TRUE(operation);
  const Change& change = std::get<Change>(operation->what);
  EXPECT_EQ(change.kind, Change::Kind::release);
  EXPECT_TRUE(
      world_.store->commit(world_.id(), change, operation->deadline).has_value());
  EXPECT_FALSE(call->holds_claim());
  EXPECT_FALSE(call->begin_give_back()) << "once is enough";
  EXPECT_TRUE(is_free());
}

TEST_F(StepsTest, ACallerWhoGoesAwayWithNothingGivesNothingBack) {
  world_.claim();
  auto script = world_.script([] { return 1; });
  const auto call = steps(script);
  call->looked(look(call->begin()));

  EXPECT_FALSE(call->holds_claim());
  EXPECT_FALSE(call->begin_give_back());
}

TEST_F(StepsTest, ARefreshThatIsNotWantedIsGivenBackByAnOperation) {
  world_.put(1);
  world_.policy.max_age = Duration::zero();
  world_.policy.next_time = true;
  auto script = world_.script([] { return 2; });
  world_.call(script);
  ASSERT_TRUE(script.refresh);
  world_.trace.clear();

  auto refresh = Steps::of_refresh(std::move(script.refresh), script);
  const auto operation = refresh->begin_give_back();
  refresh = nullptr;

  ASSERT_TRUE(operation);
  EXPECT_EQ(std::get<Change>(operation->what).kind, Change::Kind::release);
  EXPECT_TRUE(world_.trace.empty()) << "not by the engine";
}

TEST_F(StepsTest, WhatACancelledFunctionHeldIsReleased) {
  auto script = world_.script([] { return 1; });
  script.shares = false;
  const auto call = steps(script);
  call->looked(look(call->begin()));
  (void)call->before_compute();
  call->after_compute(engine::Work::Ran::threw);

  const auto operation = call->begin();

  ASSERT_TRUE(operation);
  const Change& change = std::get<Change>(operation->what);
  EXPECT_EQ(change.kind, Change::Kind::release);
  EXPECT_EQ(change.outcome, Outcome::failed);
  call->committed(world_.store->commit(world_.id(), change, operation->deadline));
  EXPECT_EQ(call->next(), Next::done);
  EXPECT_TRUE(is_free());
}

}  // namespace
}  // namespace cachier::test
