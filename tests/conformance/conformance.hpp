#pragma once

/// The fixture of the conformance suite and the words its tests are written in.
///
/// The suite is a library of tests with a parameter, in one file per part of the
/// contract. A store passes it by instantiating it, see `memory.cpp`:
///
///     INSTANTIATE_TEST_SUITE_P(Mine, StoreConformance,
///                              ::testing::Values(Candidate{...}), name_of_candidate);

#include "conformance/subject.hpp"

#include <cachier/store.hpp>

#include <chrono>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace cachier {

// How values are printed where an expectation fails.
void PrintTo(const Error& error, std::ostream* out);
void PrintTo(const Version& version, std::ostream* out);
void PrintTo(Look::Claim claim, std::ostream* out);
void PrintTo(Outcome outcome, std::ostream* out);

}  // namespace cachier

namespace cachier::conformance {

/// One call of one function, with the bytes that its `Id` borrows.
class Call {
 public:
  /// The digest follows from function, key and `hashed`, unless it is given.
  Call(const Function& function, std::string key, bool hashed = false);
  Call(const Function& function, std::string key, Digest digest, bool hashed = false);

  [[nodiscard]] Id id() const noexcept {
    return {function_, digest_, as_bytes(key_), hashed_};
  }
  [[nodiscard]] const Function& function() const noexcept { return *function_; }
  [[nodiscard]] const std::string& key() const noexcept { return key_; }
  [[nodiscard]] const Digest& digest() const noexcept { return digest_; }

 private:
  const Function* function_;
  std::string key_;
  Digest digest_;
  bool hashed_;
};

/// A deadline for one operation: a store that is asked for nothing slow is well within.
[[nodiscard]] Deadline soon();
/// A deadline that only a lost wake-up reaches.
[[nodiscard]] Deadline far_away();

// What to ask for.
[[nodiscard]] Ask without_claim();
[[nodiscard]] Ask aged(Duration max_age);
/// Nothing is fresh enough: for claims on entries that are there.
[[nodiscard]] inline Ask never_fresh() { return aged(Duration::zero()); }

/// A claim for that long.
[[nodiscard]] Ask leased(Duration lease);

/// Long enough for the few operations that a test does before it is to run out.
inline constexpr Duration kShortLease = std::chrono::milliseconds(500);
inline constexpr Duration kLongLease = std::chrono::hours(1);

class StoreConformance : public ::testing::TestWithParam<Candidate> {
 protected:
  void SetUp() override;

  /// Looks, and fails the test on an error.
  Look look(const Call& call, const Ask& ask = {});
  static Look look_at(Store& store, const Call& call, const Ask& ask = {});
  /// Looks for the claim and expects to get it.
  Token claim(const Call& call, const Ask& ask = {});

  // Each of these gives what the store answers.
  Result<Version> put(const Call& call, std::string text);
  Result<Version> put(const Call& call, std::string text, const Token& token);
  Result<Version> put_on(const Call& call, std::string text, const Basis& basis);
  Result<Version> put_since(const Call& call, std::string text, std::uint64_t epoch);
  Result<Version> put_value(const Call& call, Value value,
                            const std::optional<Token>& token = {});
  Result<Version> release(const Call& call, const Token& token,
                          Outcome outcome = Outcome::none);
  Result<Version> renew(const Call& call, const std::optional<Token>& token,
                        Duration lease);
  Result<Version> erase(const Call& call);
  Result<std::uint64_t> clear(Clear what, const Function* function = nullptr,
                              std::optional<Time> before = {});

  /// Puts without conditions and expects success.
  Version stored(const Call& call, std::string text);
  /// The text stored for a call; "(nothing)" where there is nothing.
  std::string text_at(const Call& call);
  std::string text_in(const Look& look);
  /// All pages of a scan, joined.
  std::vector<Header> scan(const Filter& filter = {});

  /// How many of something a test does.
  [[nodiscard]] int count(int many, int few) const {
    return subject_->is_slow() ? few : many;
  }

  /// Moves the store's clock so that what is stored next is later than what is stored
  /// already. For stores whose clock cannot be moved it waits for it to tick.
  void tick();
  /// Returns when a `kShortLease` that began before has run out.
  void outlive_short_leases();

  Call alpha(std::string key = "key") { return {alpha_, std::move(key)}; }
  Call beta(std::string key = "key") { return {beta_, std::move(key)}; }

  // The name of one is the beginning of the other's.
  const Function& alpha_ = Function::intern("conformance/alpha");
  const Function& beta_ = Function::intern("conformance/alphabet");
  std::unique_ptr<Subject> subject_;
  std::shared_ptr<Store> store_;
  Capabilities can_;
};

[[nodiscard]] std::string name_of_candidate(
    const ::testing::TestParamInfo<Candidate>& info);

/// Runs `body(n)` for each n below `count` in a thread of its own, begun together, and
/// waits for all.
void in_threads(std::size_t count, const std::function<void(std::size_t)>& body);

}  // namespace cachier::conformance
