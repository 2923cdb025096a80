/// Stores without memory: what fails has changed nothing, and says so.
/// A program of its own, as it replaces `operator new`.

#include "backends/memory/memory.hpp"
#include "backends/shared/claims.hpp"
#include "support/temp_directory.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <new>
#include <string>

namespace {

/// Allocations of this thread that succeed before one fails; negative: all do.
thread_local long allowed = -1;

}  // namespace

// Not inline, or the compiler sees `free` where it expects `delete`.
[[gnu::noinline]] void* operator new(std::size_t size) {
  if (allowed == 0) throw std::bad_alloc();
  if (allowed > 0) --allowed;
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(std::size_t size, std::align_val_t alignment) {
  if (allowed == 0) throw std::bad_alloc();
  if (allowed > 0) --allowed;
  const auto align = static_cast<std::size_t>(alignment);
  if (void* memory = std::aligned_alloc(align, (size + align - 1) / align * align)) {
    return memory;
  }
  throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(std::size_t size, const std::nothrow_t&) noexcept
    try {
  return operator new(size);
} catch (const std::bad_alloc&) {
  return nullptr;
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t,
                                       std::align_val_t) noexcept {
  std::free(memory);
}

namespace cachier {
namespace {

class MemoryShortage : public ::testing::Test {
 protected:
  /// Runs `operation` with less memory than it needs until it has enough. Gives how
  /// often it failed; each failure must be `unavailable`, and leave what `check` sees.
  template <class Operation, class Check>
  static int until_enough(const Operation& operation, const Check& check) {
    for (int failures = 0;; ++failures) {
      allowed = failures;
      const auto answer = operation();
      allowed = -1;
      if (answer) return failures;
      EXPECT_EQ(answer.error(), ErrorCode::unavailable);
      check();
    }
  }

  Id id(const std::string& key) const { return {&function_, {1, 2}, as_bytes(key)}; }
  std::size_t entries() { return store_->scan({}, {}, {})->entries.size(); }

  const Function& function_ = Function::intern("memory shortage");
  const std::string long_key_ = std::string(100, 'k');
  std::shared_ptr<Store> store_ = make_memory_store();
};

TEST_F(MemoryShortage, AFailedPutHasStoredNothing) {
  Change put;
  put.value = Value::of_bytes(Codec::cbor, "value");
  const int failures =
      until_enough([&] { return store_->commit(id(long_key_), put, {}); },
                   [&] { EXPECT_EQ(entries(), 0U); });
  EXPECT_GT(failures, 2);
  EXPECT_EQ(entries(), 1U);
}

TEST_F(MemoryShortage, AFailedLookHasTakenNoClaim) {
  const int failures = until_enough(
      [&] { return store_->look(id(long_key_), {}, {}); },
      [&] {
        Ask ask;
        ask.claim = false;
        EXPECT_EQ(store_->look(id(long_key_), ask, {})->token.basis.version, Version{});
      });
  EXPECT_GT(failures, 2);
  EXPECT_EQ(store_->look(id(long_key_), {}, {})->claim, Look::Claim::busy);
}

TEST_F(MemoryShortage, AFailedEraseHasChangedNoVersion) {
  const Basis basis = store_->look(id(long_key_), {}, {})->token.basis;
  Change erase;
  erase.kind = Change::Kind::erase;
  const std::string other = "other" + long_key_;
  until_enough([&] { return store_->commit(id(other), erase, {}); },
               [&] {
                 Ask ask;
                 ask.claim = false;
                 EXPECT_EQ(store_->look(id(long_key_), ask, {})->token.basis, basis);
               });
}

TEST_F(MemoryShortage, AFailedClearCanBeRepeated) {
  Change put;
  put.value = Value::of_bytes(Codec::cbor, "value");
  for (int n = 0; n < 100; ++n) {
    ASSERT_TRUE(store_->commit(id(std::to_string(n)), put, {}));
  }
  std::uint64_t removed = 0;
  const int failures = until_enough(
      [&] {
        auto answer = store_->clear({}, Clear::entries, {});
        if (answer) removed = *answer;
        return answer;
      },
      [&] { EXPECT_EQ(entries(), 100U); });
  EXPECT_GT(failures, 0);
  EXPECT_EQ(removed, 100U);
}

TEST_F(MemoryShortage, AFailedScanSaysSo) {
  Change put;
  put.value = Value::of_bytes(Codec::cbor, "value");
  ASSERT_TRUE(store_->commit(id(long_key_), put, {}));
  const int failures = until_enough([&] { return store_->scan({}, {}, {}); }, [] {});
  EXPECT_GT(failures, 0);
}

TEST_F(MemoryShortage, AWatchThatCannotBeMadeIsNone) {
  allowed = 0;
  const auto watch = store_->watch(id(long_key_));
  allowed = -1;
  EXPECT_EQ(watch, nullptr);
  EXPECT_NE(store_->watch(id(long_key_)), nullptr);
}

TEST(ClaimsShortage, AFailedAttemptHasTakenNoClaim) {
  test::TempDirectory directory;
  shared::Claims claims(directory.string() + std::string(100, '/'));
  std::uint64_t serial = 0;
  int failures = 0;
  for (; serial == 0; ++failures) {
    allowed = failures;
    try {
      serial = claims.take({1, 2}, 0).serial;
      allowed = -1;
    } catch (const std::bad_alloc&) {
      allowed = -1;
      ASSERT_TRUE(claims.none()) << failures;
    }
  }
  EXPECT_GT(failures, 2);
}

}  // namespace
}  // namespace cachier
