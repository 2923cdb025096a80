#include "conformance/conformance.hpp"
#include "support/eventually.hpp"

#include <barrier>
#include <chrono>
#include <cstdint>
#include <thread>

namespace cachier {

void PrintTo(const Error& error, std::ostream* out) {
  *out << name_of(error.code()) << ": " << error.message();
}

void PrintTo(const Version& version, std::ostream* out) {
  *out << version.words[0] << '/' << version.words[1] << '/' << version.words[2];
}

void PrintTo(Look::Claim claim, std::ostream* out) {
  constexpr const char* kNames[] = {"none", "granted", "busy"};
  *out << kNames[static_cast<std::size_t>(claim)];
}

void PrintTo(Outcome outcome, std::ostream* out) {
  constexpr const char* kNames[] = {"none", "failed", "not_storable"};
  *out << kNames[static_cast<std::size_t>(outcome)];
}

}  // namespace cachier

namespace cachier::conformance {
namespace {

/// Good enough to keep the calls of a test apart; stores must not care how digests are
/// made.
std::uint64_t mix(std::string_view bytes, std::uint64_t seed) {
  std::uint64_t hash = seed ^ 0x9e3779b97f4a7c15;
  for (const char c : bytes) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0xbf58476d1ce4e5b9;
    hash ^= hash >> 29;
  }
  hash *= 0x94d049bb133111eb;
  return hash ^ (hash >> 32);
}

Digest digest_of(const Function& function, std::string_view key, bool hashed) {
  const std::uint64_t seed = function.seed() + (hashed ? 1 : 0);
  return {mix(key, seed), mix(key, seed * 31 + 7)};
}

Change change_of(Change::Kind kind) {
  Change change;
  change.kind = kind;
  return change;
}

}  // namespace

Call::Call(const Function& function, std::string key, bool hashed)
    : function_(&function),
      key_(std::move(key)),
      digest_(digest_of(function, key_, hashed)),
      hashed_(hashed) {}

Call::Call(const Function& function, std::string key, Digest digest, bool hashed)
    : function_(&function), key_(std::move(key)), digest_(digest), hashed_(hashed) {}

Deadline soon() { return std::chrono::steady_clock::now() + std::chrono::seconds(30); }
Deadline far_away() {
  return std::chrono::steady_clock::now() + std::chrono::minutes(2);
}

Ask without_claim() {
  Ask ask;
  ask.claim = false;
  return ask;
}

Ask aged(Duration max_age) {
  Ask ask;
  ask.max_age = max_age;
  return ask;
}

Ask leased(Duration lease) {
  Ask ask;
  ask.lease = lease;
  return ask;
}

void StoreConformance::SetUp() {
  subject_ = GetParam().make();
  ASSERT_NE(subject_, nullptr);
  if (const std::string why = subject_->why_not(); !why.empty()) GTEST_SKIP() << why;
  store_ = subject_->open();
  ASSERT_NE(store_, nullptr);
  can_ = store_->capabilities();
}

Look StoreConformance::look_at(Store& store, const Call& call, const Ask& ask) {
  Result<Look> answer = store.look(call.id(), ask, soon());
  if (!answer) {
    ADD_FAILURE() << "look failed: " << ::testing::PrintToString(answer.error());
    return Look{};
  }
  return *std::move(answer);
}

Look StoreConformance::look(const Call& call, const Ask& ask) {
  return look_at(*store_, call, ask);
}

Token StoreConformance::claim(const Call& call, const Ask& ask) {
  const Look answer = look(call, ask);
  EXPECT_EQ(answer.claim, Look::Claim::granted);
  EXPECT_NE(answer.token.serial, 0U);
  return answer.token;
}

Result<Version> StoreConformance::put_value(const Call& call, Value value,
                                            const std::optional<Token>& token) {
  Change change = change_of(Change::Kind::put);
  change.value = std::move(value);
  change.token = token;
  return store_->commit(call.id(), change, soon());
}

Result<Version> StoreConformance::put(const Call& call, std::string text) {
  return put_value(call, subject_->value_of(std::move(text)));
}

Result<Version> StoreConformance::put(const Call& call, std::string text,
                                      const Token& token) {
  return put_value(call, subject_->value_of(std::move(text)), token);
}

Result<Version> StoreConformance::put_on(const Call& call, std::string text,
                                         const Basis& basis) {
  Change change = change_of(Change::Kind::put);
  change.value = subject_->value_of(std::move(text));
  change.basis = basis;
  return store_->commit(call.id(), change, soon());
}

Result<Version> StoreConformance::put_since(const Call& call, std::string text,
                                            std::uint64_t epoch) {
  Change change = change_of(Change::Kind::put);
  change.value = subject_->value_of(std::move(text));
  change.epoch = epoch;
  return store_->commit(call.id(), change, soon());
}

Result<Version> StoreConformance::release(const Call& call, const Token& token,
                                          Outcome outcome) {
  Change change = change_of(Change::Kind::release);
  change.token = token;
  change.outcome = outcome;
  return store_->commit(call.id(), change, soon());
}

Result<Version> StoreConformance::renew(const Call& call,
                                        const std::optional<Token>& token,
                                        Duration lease) {
  Change change = change_of(Change::Kind::renew);
  change.token = token;
  change.lease = lease;
  return store_->commit(call.id(), change, soon());
}

Result<Version> StoreConformance::erase(const Call& call) {
  return store_->commit(call.id(), change_of(Change::Kind::erase), soon());
}

Result<std::uint64_t> StoreConformance::clear(Clear what, const Function* function,
                                              std::optional<Time> before) {
  return store_->clear({function, before}, what, soon());
}

Version StoreConformance::stored(const Call& call, std::string text) {
  const Result<Version> done = put(call, std::move(text));
  if (!done) {
    ADD_FAILURE() << "put failed: " << ::testing::PrintToString(done.error());
    return Version{};
  }
  return *done;
}

std::string StoreConformance::text_in(const Look& answer) {
  return answer.entry ? subject_->text_of(answer.entry->value) : "(nothing)";
}

std::string StoreConformance::text_at(const Call& call) {
  return text_in(look(call, without_claim()));
}

std::vector<Header> StoreConformance::scan(const Filter& filter) {
  std::vector<Header> all;
  Cursor cursor;
  do {
    Result<Page> page = store_->scan(filter, cursor, soon());
    if (!page) {
      ADD_FAILURE() << "scan failed: " << ::testing::PrintToString(page.error());
      return all;
    }
    for (Header& header : page->entries) all.push_back(std::move(header));
    cursor = std::move(page->next);
  } while (!cursor.empty());
  return all;
}

void StoreConformance::outlive_short_leases() {
  if (subject_->advances_leases()) {
    ASSERT_TRUE(subject_->advance(2 * kShortLease));
    return;
  }
  // One that began later has run out.
  static int turned = 0;
  const Call hourglass = beta("hourglass " + std::to_string(++turned));
  claim(hourglass, leased(kShortLease));
  EXPECT_TRUE(
      test::eventually([&] { return look(hourglass).claim == Look::Claim::granted; }));
}

void StoreConformance::tick() {
  if (subject_->advance(std::chrono::seconds(1))) return;
  const Call probe(alpha_, "(tick)");
  const auto now = [&] {
    stored(probe, "tick");
    return look(probe, without_claim()).entry->stored_at;
  };
  for (const Time before = now(); now() == before;) {
  }
  EXPECT_TRUE(erase(probe));
}

std::string name_of_candidate(const ::testing::TestParamInfo<Candidate>& info) {
  return info.param.name;
}

void in_threads(std::size_t count, const std::function<void(std::size_t)>& body) {
  std::barrier begin(static_cast<std::ptrdiff_t>(count));
  std::vector<std::jthread> threads;
  for (std::size_t n = 0; n < count; ++n) {
    threads.emplace_back([&, n] {
      begin.arrive_and_wait();
      body(n);
    });
  }
}

}  // namespace cachier::conformance
