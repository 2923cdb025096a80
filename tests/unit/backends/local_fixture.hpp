#pragma once

/// A local store in a directory of the test's own, and short words for its verbs.

#include "backends/local/local.hpp"
#include "platform/clock.hpp"
#include "support/bytes.hpp"
#include "support/child_process.hpp"
#include "support/temp_directory.hpp"

#include <cachier/store.hpp>

#include <sys/types.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

namespace cachier::test {

// Not a static object of a function: one that a thread is making during a fork stays
// half made in the child.
inline const Function& the_usual_function = Function::intern("cachier:test:f");

[[nodiscard]] inline const Function& usual_function() { return the_usual_function; }

/// A call whose key it owns. Equal keys of one function have equal digests.
struct Call {
  explicit Call(std::string bytes) : Call(std::move(bytes), usual_function()) {}
  Call(std::string bytes, std::string_view function)
      : Call(std::move(bytes), Function::intern(function)) {}
  Call(std::string bytes, const Function& function)
      : key(std::move(bytes)), id{&function, {}, as_bytes(key)} {
    const std::uint64_t hash = std::hash<std::string>()(key) ^ function.seed();
    id.digest = {hash * 0x9e3779b97f4a7c15, hash * 0xbf58476d1ce4e5b9 + 1};
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  std::string key;
  Id id;
};

[[nodiscard]] inline Deadline soon() {
  return std::chrono::steady_clock::now() + std::chrono::seconds(20);
}

[[nodiscard]] inline Change put(std::string bytes,
                                std::optional<Token> token = std::nullopt) {
  Change change;
  change.value = Value::of_bytes(Codec::cbor, std::move(bytes));
  change.token = token;
  return change;
}

[[nodiscard]] inline Change release(Token token, Outcome outcome = Outcome::none) {
  Change change;
  change.kind = Change::Kind::release;
  change.token = token;
  change.outcome = outcome;
  return change;
}

[[nodiscard]] inline Change erase() {
  Change change;
  change.kind = Change::Kind::erase;
  return change;
}

[[nodiscard]] inline Ask no_claim() {
  Ask ask;
  ask.claim = false;
  return ask;
}

/// What is stored for a call; a text that no value has where there is nothing.
[[nodiscard]] inline std::string stored(Store& store, const Call& call) {
  const auto look = store.look(call.id, no_claim(), soon());
  if (!look) return "error: " + look.error().message();
  if (!look->entry) return look->damaged ? "damaged" : "nothing";
  return std::string(as_text(look->entry->value.bytes()));
}

[[nodiscard]] inline std::shared_ptr<Store> opened(const std::string& directory) {
  auto store = open_local_store(directory);
  if (!store) {
    ADD_FAILURE() << store.error().message();
    return nullptr;
  }
  return *store;
}

class LocalStoreTest : public ::testing::Test {
 protected:
  TempDirectory directory_;
  std::shared_ptr<Store> store_ = opened(directory_.string());
};

/// Runs `body` in a child that is not root, to whom root's rights would hide a fault.
/// Gives what it sends.
inline std::string as_other_user(const std::filesystem::path& directory,
                                 const std::function<std::string()>& body) {
  constexpr uid_t kUser = 12345;
  if (::geteuid() == 0) {
    for (const auto& one : std::filesystem::recursive_directory_iterator(directory))
      EXPECT_EQ(::chown(one.path().c_str(), kUser, kUser), 0);
    EXPECT_EQ(::chown(directory.c_str(), kUser, kUser), 0);
  }
  ChildProcess child([&](Channel& parent) {
    if (::geteuid() == 0 && (::setgid(kUser) != 0 || ::setuid(kUser) != 0)) return 1;
    parent.send(body());
    return 0;
  });
  const auto answer = child.channel().receive();
  EXPECT_EQ(child.wait(), 0);
  return answer.value_or("(nothing)");
}

}  // namespace cachier::test
