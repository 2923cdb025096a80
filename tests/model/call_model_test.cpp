/// The real call machine in every world that faults can bring about: three machines in
/// two processes, one key, one store. What must hold in each is `Broken` in
/// `world.hpp`, in words in `docs/engine.md`.

#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <ostream>
#include <string>

#include "model/search.hpp"
#include "model/world.hpp"

namespace cachier::model {

void PrintTo(Broken broken, std::ostream* out) { *out << name_of(broken); }

namespace {

Options with(StoreKind store, std::initializer_list<Fault> faults,
             std::uint8_t times = 1) {
  Options options;
  options.store = store;
  for (const Fault fault : faults) {
    options.faults[static_cast<std::size_t>(fault)] = times;
  }
  return options;
}

constexpr StoreKind kSeesDeath{.leases = false};
constexpr StoreKind kLeases{.leases = true};

constexpr auto kAllFaults = {Fault::crash,        Fault::lease_ends, Fault::reply_lost,
                             Fault::put_fails,    Fault::unstorable, Fault::empty,
                             Fault::throws,       Fault::times_out,  Fault::clear,
                             Fault::clear_claims, Fault::erase,      Fault::ages};

template <Rules kRules = Rules{}>
void expect_sound(const char* name, const Options& options) {
  const Found found = search<kRules>(options);
  EXPECT_EQ(found.broken, Broken::none);
  EXPECT_GT(found.worlds, 100U);
  testing::Test::RecordProperty(std::string(name) + "_worlds",
                                static_cast<int>(found.worlds));
  std::cout << "  " << name << ": " << found.worlds << " worlds\n";
}

TEST(CallModel, NothingGoesWrong) {
  expect_sound("sees_death", with(kSeesDeath, {}));
  expect_sound("leases", with(kLeases, {}));
}

// Faults in groups, as all of them together are for `make trials` (`AllFaults`).
TEST(CallModel, OwnersFailAndDie) {
  for (const StoreKind store : {kSeesDeath, kLeases}) {
    expect_sound("failing", with(store, {Fault::crash, Fault::throws, Fault::put_fails,
                                         Fault::unstorable, Fault::lease_ends}));
  }
}

TEST(CallModel, EntriesComeAndGo) {
  for (const StoreKind store : {kSeesDeath, kLeases}) {
    expect_sound("clearing",
                 with(store, {Fault::clear, Fault::clear_claims, Fault::erase,
                              Fault::ages, Fault::times_out}));
    expect_sound("clearing_unstorable",
                 with(store, {Fault::clear, Fault::erase, Fault::unstorable,
                              Fault::put_fails, Fault::crash}));
  }
}

TEST(CallModel, EmptyAnswersDoNotCount) {
  for (const StoreKind store : {kSeesDeath, kLeases}) {
    expect_sound("empty", with(store, {Fault::empty, Fault::clear, Fault::erase,
                                       Fault::crash, Fault::lease_ends}));
    expect_sound("empty_twice", with(store, {Fault::empty, Fault::times_out}, 2));
  }
}

TEST(CallModel, EntriesCannotBeRead) {
  for (const StoreKind store : {kSeesDeath, kLeases}) {
    expect_sound("unreadable",
                 with(store, {Fault::unreadable, Fault::clear, Fault::ages,
                              Fault::crash, Fault::unstorable}));
    Options options = with(store, {Fault::unreadable, Fault::times_out}, 2);
    expect_sound("unreadable_twice", options);
    options = with(store, {Fault::unreadable, Fault::ages, Fault::throws}, 2);
    options.wants.next_time = true;
    expect_sound("unreadable_next_time", options);
  }
}

TEST(CallModel, RepliesGetLostAndOwnersPause) {
  expect_sound("lossy", with(kLeases, {Fault::lease_ends, Fault::reply_lost,
                                       Fault::crash, Fault::clear, Fault::throws}));
  expect_sound("lossy_twice", with(kLeases, {Fault::lease_ends, Fault::reply_lost}, 2));
}

TEST(CallModel, Forks) {
  for (const StoreKind store : {kSeesDeath, kLeases}) {
    expect_sound("forks", with(store, {Fault::forks, Fault::throws, Fault::crash,
                                       Fault::clear, Fault::lease_ends}));
  }
}

TEST(CallModel, OverwritesAndNextTime) {
  for (const StoreKind store : {kSeesDeath, kLeases}) {
    Options options = with(store, {Fault::clear, Fault::ages, Fault::crash,
                                   Fault::throws, Fault::lease_ends});
    options.wants_of_first.overwrite = true;
    expect_sound("overwrite", options);
    options.wants_of_first.overwrite = false;
    options.wants.next_time = true;
    expect_sound("next_time", options);
    options.wants_of_first.next_time = true;
    expect_sound("next_time_all", options);
  }
}

// Each promise is really watched: with a fault planted, the search must find it, and
// find it for what it is.
template <Rules kRules>
Broken planted(const Options& options) {
  return search<kRules>(options).broken;
}

TEST(CallModelFinds, ReleaseBeforePut) {
  constexpr Rules rules{.release_before_put = true};
  EXPECT_EQ(planted<rules>(with(kSeesDeath, {})), Broken::ran_twice);
}

TEST(CallModelFinds, WaiterTrustsWakeUp) {
  constexpr Rules rules{.trust_wakeups = true};
  EXPECT_EQ(planted<rules>(with(kSeesDeath, {})), Broken::ran_twice);
}

TEST(CallModelFinds, LostWakeUp) {
  constexpr Rules rules{.wait_unattended = true};
  EXPECT_EQ(planted<rules>(with(kSeesDeath, {})), Broken::waits_for_ever);
}

TEST(CallModelFinds, ClaimKeptByOwnerThatThrew) {
  constexpr Rules rules{.keep_claim_on_throw = true};
  EXPECT_EQ(planted<rules>(with(kSeesDeath, {Fault::throws})), Broken::waits_for_ever);
}

TEST(CallModelFinds, ChildUsesClaimOfParent) {
  constexpr Rules rules{.put_after_fork = true};
  EXPECT_EQ(planted<rules>(with(kSeesDeath, {Fault::forks})), Broken::child_used_claim);
}

TEST(CallModelFinds, NoEpochCheck) {
  constexpr Rules rules{.store_ignores_epoch = true};
  EXPECT_EQ(planted<rules>(with(kSeesDeath, {Fault::clear})),
            Broken::cleared_value_stored);
}

TEST(CallModelFinds, LateOwnerAccepted) {
  constexpr Rules rules{.store_ignores_owner = true};
  EXPECT_EQ(planted<rules>(with(kLeases, {Fault::lease_ends})),
            Broken::late_owner_stored);
}

TEST(CallModelFinds, WakesBeforeTheClaimIsFree) {
  constexpr Rules rules{.store_wakes_early = true};
  EXPECT_EQ(planted<rules>(with(kSeesDeath, {Fault::throws})), Broken::waits_for_ever);
}

TEST(CallModelFinds, OutdatedResultHandedOver) {
  constexpr Rules rules{.take_outdated = true};
  EXPECT_EQ(planted<rules>(with(kSeesDeath, {Fault::clear, Fault::unstorable})),
            Broken::old_result_handed);
}

TEST(CallModelFinds, WaitsWithoutAttentionAfterAnUnreadableEntry) {
  constexpr Rules rules{.stay_attending = true};
  EXPECT_EQ(planted<rules>(with(kSeesDeath, {Fault::unreadable}, 2)),
            Broken::waits_for_ever);
}

// Hundreds of thousands of worlds and more: part of `make trials`.
TEST(CallModel, AllFaults) {
  if (std::getenv("CACHIER_MODEL_ALL") == nullptr) {
    GTEST_SKIP() << "set CACHIER_MODEL_ALL=1 (make trials does)";
  }
  for (const StoreKind store : {kSeesDeath, kLeases}) {
    expect_sound("all_faults", with(store, kAllFaults));
  }
  // With one more they take gigabytes: of stores that lose replies a part is left out.
  Options options = with(kSeesDeath, kAllFaults);
  options.faults[static_cast<std::size_t>(Fault::unreadable)] = 1;
  expect_sound("all_faults_unreadable", options);
  expect_sound("lossy_unreadable",
               with(kLeases, {Fault::unreadable, Fault::crash, Fault::lease_ends,
                              Fault::reply_lost, Fault::unstorable, Fault::throws,
                              Fault::clear, Fault::ages}));
}

}  // namespace
}  // namespace cachier::model
