/// Keys and values: every byte, every size, and nothing mixed up.

#include "conformance/conformance.hpp"
#include "support/bytes.hpp"

#include <chrono>
#include <memory>

namespace cachier::conformance {
namespace {

std::string numbered(const char* what, std::size_t number) {
  return what + std::to_string(number);
}

TEST_P(StoreConformance, KeysMayHoldAnyByte) {
  std::vector<std::string> keys{"",
                                test::every_byte(),
                                std::string("a\0", 2),
                                "a",
                                std::string("a\0b", 3),
                                std::string("\0", 1),
                                "%",
                                "'"};
  for (const char byte : test::every_byte()) keys.push_back(std::string("k") + byte);
  for (std::size_t n = 0; n < keys.size(); ++n) {
    stored(alpha(keys[n]), numbered("value ", n));
  }

  for (std::size_t n = 0; n < keys.size(); ++n) {
    EXPECT_EQ(text_at(alpha(keys[n])), numbered("value ", n));
  }
  EXPECT_EQ(*clear(Clear::entries, &alpha_), keys.size());
}

TEST_P(StoreConformance, KeysMayHaveAnyLength) {
  std::vector<std::string> keys;
  for (std::size_t size = 0; size <= 130; ++size) {
    keys.push_back(test::random_bytes(size));  // each the beginning of the next
  }
  for (const std::size_t size : {255UL, 256UL, 1023UL, 1024UL, 1025UL, 65536UL}) {
    keys.push_back(test::random_bytes(size));
  }
  for (std::size_t n = 0; n < keys.size(); ++n) {
    stored(alpha(keys[n]), numbered("value ", n));
  }

  for (std::size_t n = 0; n < keys.size(); ++n) {
    EXPECT_EQ(text_at(alpha(keys[n])), numbered("value ", n)) << keys[n].size();
  }
}

TEST_P(StoreConformance, KeysThatDifferInOneByteDiffer) {
  const Digest same{7, 7};  // so that only the key can tell
  for (const std::size_t size : {1UL, 3UL, 4UL, 7UL, 8UL, 9UL, 15UL, 16UL, 17UL, 35UL,
                                 36UL, 64UL, 65UL, 200UL}) {
    const std::string key = test::random_bytes(size, size);
    const Call call(alpha_, key, same);
    stored(call, "value");
    for (std::size_t at = 0; at < size; ++at) {
      std::string other = key;
      other[at] = static_cast<char>(other[at] ^ 1);
      EXPECT_EQ(text_at(Call(alpha_, other, same)), "(nothing)") << size << ' ' << at;
    }
    EXPECT_EQ(text_at(call), "value");
  }
}

TEST_P(StoreConformance, HashedKeysAreKeys) {
  const std::string sha = test::random_bytes(32);
  const Call call(alpha_, sha, true);
  stored(call, "value");

  EXPECT_EQ(text_at(call), "value");
  const std::vector<Header> all = scan();
  ASSERT_EQ(all.size(), 1U);
  EXPECT_TRUE(all[0].hashed);
  EXPECT_EQ(all[0].key, sha);
}

// A digest is 128 bits; somebody will make two keys of one on purpose.
TEST_P(StoreConformance, ACollisionOfDigestsIsAMissNeverAWrongValue) {
  const Digest same{1, 2};
  const Call one(alpha_, "one", same);
  const Call two(alpha_, "two", same);
  stored(one, "1");

  const Look miss = look(two);
  EXPECT_FALSE(miss.entry);
  EXPECT_FALSE(miss.fresh);
  ASSERT_EQ(miss.claim, Look::Claim::granted);
  ASSERT_TRUE(put(two, "2", miss.token));

  EXPECT_EQ(text_at(two), "2");
  const std::string left = text_at(one);
  EXPECT_TRUE(left == "1" || left == "(nothing)") << left;
}

TEST_P(StoreConformance, ACollisionOfDigestsIsNoWayToEraseOrOvertakeAnotherKey) {
  const Digest same{1, 2};
  const Call one(alpha_, "one", same);
  const Call two(alpha_, "two", same);
  stored(one, "1");
  const Basis basis = look(two, without_claim()).token.basis;
  stored(one, "1 again");

  if (put_on(two, "2", basis)) {
    EXPECT_EQ(text_at(two), "2");
  } else {
    EXPECT_EQ(text_at(two), "(nothing)");
    EXPECT_EQ(text_at(one), "1 again");
  }
}

TEST_P(StoreConformance, ManyKeysOfOneDigest) {
  const Digest same{0, 0};
  for (int n = 0; n < 50; ++n) {
    const Call call(alpha_, std::to_string(n), same);
    stored(call, std::to_string(n));
    EXPECT_EQ(text_at(call), std::to_string(n));
  }
  for (int n = 0; n < 50; ++n) {
    const std::string text = text_at(Call(alpha_, std::to_string(n), same));
    EXPECT_TRUE(text == std::to_string(n) || text == "(nothing)") << text;
  }
  EXPECT_EQ(text_at(Call(alpha_, "49", same)), "49");
}

TEST_P(StoreConformance, DigestsMayBeAnyNumbers) {
  const std::uint64_t edges[] = {0, 1, 0x7fffffffffffffff, 0x8000000000000000,
                                 0xffffffffffffffff};
  for (const std::uint64_t high : edges) {
    for (const std::uint64_t low : edges) {
      const std::string name = std::to_string(high) + '/' + std::to_string(low);
      const Call call(alpha_, name, Digest{high, low});
      ASSERT_TRUE(put(call, name, claim(call)));
    }
  }
  for (const std::uint64_t high : edges) {
    for (const std::uint64_t low : edges) {
      const std::string name = std::to_string(high) + '/' + std::to_string(low);
      EXPECT_EQ(text_at(Call(alpha_, name, Digest{high, low})), name);
    }
  }
  EXPECT_EQ(scan().size(), 25U);
}

TEST_P(StoreConformance, FunctionsOfOneKeyAndDigestDoNotMix) {
  const Digest same{3, 4};
  const Call here(alpha_, "key", same);
  const Call there(beta_, "key", same);
  stored(here, "alpha");

  EXPECT_EQ(text_at(there), "(nothing)");
  stored(there, "beta");
  EXPECT_EQ(text_at(there), "beta");
  const std::string left = text_at(here);
  EXPECT_TRUE(left == "alpha" || left == "(nothing)") << left;
}

TEST_P(StoreConformance, ValuesMayHoldAnyByte) {
  stored(alpha(), test::every_byte());

  EXPECT_EQ(text_at(alpha()), test::every_byte());
}

TEST_P(StoreConformance, ValuesMayHaveAnySize) {
  constexpr std::size_t kKiB = 1024;
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{1}, std::size_t{4095}, 64 * kKiB - 1, 64 * kKiB,
        64 * kKiB + 1, kKiB * kKiB, 64 * kKiB * kKiB}) {
    const std::string text = test::random_bytes(size, size + 1);
    const Call call = alpha(numbered("of ", size));
    ASSERT_TRUE(put(call, text, claim(call)));
    EXPECT_TRUE(text_at(call) == text) << size;
    ASSERT_TRUE(erase(call));
  }
}

TEST_P(StoreConformance, ValuesOfDifferentSizesReplaceEachOther) {
  for (const std::size_t size : {10UL, 100'000UL, 0UL, 2'000'000UL, 70'000UL, 5UL}) {
    const std::string text = test::random_bytes(size, size + 1);
    stored(alpha(), text);
    EXPECT_TRUE(text_at(alpha()) == text) << size;
  }
}

// ---- live objects

TEST_P(StoreConformance, LiveObjectsAreKeptAsTheyAre) {
  if (!can_.live_objects) GTEST_SKIP() << "bytes only";
  if (!subject_->keeps_bytes()) GTEST_SKIP() << "objects of its own kind only";
  auto object = std::make_shared<const std::string>("an object");
  const std::weak_ptr<const std::string> still_there = object;
  const void* const address = object.get();
  ASSERT_TRUE(put_value(alpha(), Value::of_object(std::move(object))));

  EXPECT_EQ(look(alpha()).entry->value.codec(), Codec::live);
  EXPECT_EQ(look(alpha()).entry->value.object().get(), address);
  EXPECT_FALSE(still_there.expired()) << "kept alive by its entry";

  ASSERT_TRUE(erase(alpha()));
  EXPECT_TRUE(still_there.expired());
}

TEST_P(StoreConformance, LiveObjectsGoWithTheirEntry) {
  if (!can_.live_objects) GTEST_SKIP() << "bytes only";
  if (!subject_->keeps_bytes()) GTEST_SKIP() << "objects of its own kind only";
  const auto put_object = [&] {
    auto object = std::make_shared<const int>(1);
    EXPECT_TRUE(put_value(alpha(), Value::of_object(object)));
    return std::weak_ptr<const int>(object);
  };
  const auto overwritten = put_object();
  const auto cleared = put_object();
  EXPECT_TRUE(overwritten.expired());
  ASSERT_TRUE(clear(Clear::entries));
  EXPECT_TRUE(cleared.expired());
  const auto last = put_object();
  store_.reset();
  EXPECT_TRUE(last.expired());
}

// What an object runs when it is destroyed may be anything, a call of the store even.
TEST_P(StoreConformance, LiveObjectsMayUseTheStoreWhenTheyGo) {
  if (!can_.live_objects) GTEST_SKIP() << "bytes only";
  if (!subject_->keeps_bytes()) GTEST_SKIP() << "objects of its own kind only";
  int dropped = 0;
  const auto put_object = [&] {
    const std::shared_ptr<const int> object(new int(1), [&](const int* number) {
      delete number;
      ++dropped;
      // As near to the object's entry as can be: whatever lock that needs is free.
      const Call near(beta_, std::to_string(dropped), alpha().digest());
      stored(near, "left by a destructor");
    });
    EXPECT_TRUE(put_value(alpha(), Value::of_object(object)));
  };
  put_object();
  put_object();
  EXPECT_EQ(dropped, 1) << "replaced";
  ASSERT_TRUE(erase(alpha()));
  EXPECT_EQ(dropped, 2) << "erased";
  put_object();
  ASSERT_EQ(*clear(Clear::entries, &alpha_), 1U);
  EXPECT_EQ(dropped, 3) << "cleared";
  EXPECT_NE(text_at({beta_, "3", alpha().digest()}), "(nothing)");
}

// ---- hits at the price of the copy, for stores that offer them

int copied_number(Store& store, const Call& call, const Ask& ask = {}) {
  int number = 0;
  return store.copy_fresh(call.id(), ask, typeid(int), &number, sizeof number) ? number
                                                                               : 0;
}

TEST_P(StoreConformance, ACopiedObjectIsTheOneThatIsStored) {
  if (!can_.live_objects || !subject_->keeps_bytes()) GTEST_SKIP() << "no such objects";
  EXPECT_EQ(copied_number(*store_, alpha()), 0);
  Value value = Value::of_object(std::make_shared<const int>(7));
  ASSERT_TRUE(put_value(alpha(), value));
  const int copied = copied_number(*store_, alpha());
  if (copied == 0) GTEST_SKIP() << "it does not offer copies";
  EXPECT_EQ(copied, 7);

  EXPECT_EQ(copied_number(*store_, beta()), 0);
  EXPECT_EQ(copied_number(*store_, {alpha_, "other", alpha().digest()}), 0);
  ASSERT_TRUE(put_value(alpha(), Value::of_object(std::make_shared<const int>(8))));
  EXPECT_EQ(copied_number(*store_, alpha()), 8);
  ASSERT_TRUE(erase(alpha()));
  EXPECT_EQ(copied_number(*store_, alpha()), 0);
}

TEST_P(StoreConformance, WhatALookWouldNotTakeIsNotCopied) {
  if (!can_.live_objects || !subject_->keeps_bytes()) GTEST_SKIP() << "no such objects";
  Value value = Value::of_object(std::make_shared<const int>(7));
  value.set_none(true);
  Ask ask;
  EXPECT_TRUE(put_value(alpha(), value));
  EXPECT_EQ(copied_number(*store_, alpha(), ask), 0) << "an empty answer";

  value.set_none(false);
  const Result<Version> version = put_value(alpha(), value);
  ASSERT_TRUE(version);
  ask.unreadable = *version;
  EXPECT_EQ(copied_number(*store_, alpha(), ask), 0) << "unreadable";
  EXPECT_EQ(copied_number(*store_, alpha(), never_fresh()), 0) << "never fresh";
  if (subject_->advance(std::chrono::seconds(61))) {
    EXPECT_EQ(copied_number(*store_, alpha(), aged(std::chrono::seconds(60))), 0);
  }
}

TEST_P(StoreConformance, BytesAreNotCopiedAsObjects) {
  if (!subject_->keeps_bytes()) GTEST_SKIP() << "live objects only";
  ASSERT_TRUE(put_value(alpha(), Value::of_bytes(Codec::cbor, "some bytes")));

  EXPECT_EQ(copied_number(*store_, alpha()), 0);
}

TEST_P(StoreConformance, WhatBytesDecodeToIsCopiedWhileTheyAreStored) {
  if (!subject_->keeps_bytes()) GTEST_SKIP() << "live objects only";
  const std::pair<const char*, std::function<bool()>> changes[] = {
      {"a put", [this] { return bool(put(alpha(), "eight")); }},
      {"an erase", [this] { return bool(erase(alpha())); }},
      {"a clear", [this] { return bool(clear(Clear::entries, &alpha_)); }},
  };
  for (const auto& [name, change] : changes) {
    const Result<Version> version =
        put_value(alpha(), Value::of_bytes(Codec::cbor, "seven"));
    ASSERT_TRUE(version);
    EXPECT_EQ(text_at(alpha()), "seven");
    const int seven = 7;
    store_->keep_copy(alpha().id(), *version, typeid(int), &seven, sizeof seven);
    const int copied = copied_number(*store_, alpha());
    if (copied == 0) GTEST_SKIP() << "it does not offer copies";
    EXPECT_EQ(copied, 7);
    EXPECT_EQ(copied_number(*store_, alpha(), never_fresh()), 0) << "never fresh";
    EXPECT_EQ(copied_number(*store_, beta()), 0);
    EXPECT_EQ(text_at(alpha()), "seven") << "and the bytes are there";

    ASSERT_TRUE(change()) << name;
    EXPECT_EQ(copied_number(*store_, alpha()), 0) << name;
    const int eight = 8;
    store_->keep_copy(alpha().id(), *version, typeid(int), &eight, sizeof eight);
    EXPECT_EQ(copied_number(*store_, alpha()), 0) << name << ", and a late copy";
  }
}

TEST_P(StoreConformance, LiveObjectsAreRefusedByStoresOfBytes) {
  if (can_.live_objects) GTEST_SKIP() << "it keeps them";
  const Token token = claim(alpha());
  const Value object = Value::of_object(std::make_shared<const int>(1));

  const Result<Version> answer = put_value(alpha(), object, token);

  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error(), ErrorCode::unsupported);
  EXPECT_FALSE(answer.error().what().empty());
  EXPECT_EQ(look(alpha()).claim, Look::Claim::busy)
      << "the claim stands, so that its owner can say why";
  ASSERT_TRUE(release(alpha(), token, Outcome::not_storable));
  EXPECT_EQ(look(alpha()).outcome, Outcome::not_storable);
  EXPECT_EQ(text_at(alpha()), "(nothing)");
}

}  // namespace
}  // namespace cachier::conformance
