/// What a signature covers, and who takes what.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cachier/cbor.hpp>
#include <cachier/envelope.hpp>
#include <cachier/key.hpp>
#include <cachier/signing.hpp>

#include "support/bytes.hpp"
#include "support/checksum.hpp"

namespace cachier::envelope {
namespace {

using testing::HasSubstr;

constexpr Version kVersion{{1, 2, 3}};
const Time kStoredAt{std::chrono::seconds(1'700'000'000)};
constexpr char kOurs[] = "the key of our programs";
constexpr char kOld[] = "the key we had until May";

std::shared_ptr<const Keyring> keyring(const std::vector<std::string>& keys) {
  return Keyring::of(keys).value();
}

/// A function of its own for each test, as keys stay.
class Signing : public testing::Test {
 protected:
  const Function& function_ =
      Function::intern(std::string("cachier:") +
                       testing::UnitTest::GetInstance()->current_test_info()->name());

  [[nodiscard]] Id id(std::string_view key = "\x81\x01") const {
    return {&function_, digest_of(function_, as_bytes(key)), as_bytes(key), false};
  }
  [[nodiscard]] std::string sealed(std::string value = "a value") const {
    return seal(id(), Value::of_bytes(Codec::pickle, std::move(value)), kStoredAt,
                kVersion);
  }
  [[nodiscard]] Result<std::optional<Value>> opened(const std::string& envelope) const {
    return open(as_bytes(envelope), nullptr, id(), kStoredAt, kVersion);
  }
};

TEST_F(Signing, WhatWeSignedIsOurs) {
  function_.sign_with(keyring({kOurs}));
  for (const std::size_t size : {0u, 1u, 4095u, 4096u, 70'000u}) {
    const std::string value = test::random_bytes(size);
    const std::string envelope = sealed(value);

    const auto result = opened(envelope);

    ASSERT_TRUE(result && result->has_value()) << size;
    EXPECT_EQ(as_text((**result).bytes()), value);
    EXPECT_TRUE((**result).is_signed());
    EXPECT_TRUE(cbor::check_deterministic(as_bytes(envelope)));
    EXPECT_TRUE(inspect(as_bytes(envelope), envelope.size())->is_signed);
  }
}

TEST_F(Signing, WhatNobodySignedIsNot) {
  const std::string envelope = sealed();
  ASSERT_TRUE(opened(envelope));

  function_.sign_with(keyring({kOurs}));

  const auto result = opened(envelope);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error(), ErrorCode::untrusted);
  EXPECT_THAT(result.error().message(), HasSubstr("it is not signed"));
}

TEST_F(Signing, WhatOthersSignedIsNot) {
  function_.sign_with(keyring({"a key of somebody else"}));
  const std::string envelope = sealed();
  function_.sign_with(keyring({kOurs, kOld}));

  const auto result = opened(envelope);

  ASSERT_FALSE(result);
  EXPECT_EQ(result.error(), ErrorCode::untrusted);
}

TEST_F(Signing, AnOldKeyIsTakenAndTheFirstSigns) {
  function_.sign_with(keyring({kOld}));
  const std::string old = sealed();
  function_.sign_with(keyring({kOurs, kOld}));
  EXPECT_TRUE(opened(old));
  const std::string now = sealed();
  function_.sign_with(keyring({kOurs}));
  EXPECT_TRUE(opened(now));
  EXPECT_EQ(opened(old).error(), ErrorCode::untrusted);
}

TEST_F(Signing, WithoutKeysSignedEntriesAreRead) {
  function_.sign_with(keyring({kOurs}));
  const std::string envelope = sealed();
  const Function& other = Function::intern(function_.id() + "/other");
  ASSERT_EQ(other.keyring(), nullptr);
  function_.sign_with(nullptr);

  const auto result = opened(envelope);

  ASSERT_TRUE(result && result->has_value());
  EXPECT_FALSE((**result).is_signed()) << "nobody has looked";
}

TEST_F(Signing, EveryFlippedBitIsFound) {
  function_.sign_with(keyring({kOurs}));
  const std::string envelope = sealed();
  for (std::size_t bit = 0; bit < 8 * envelope.size(); ++bit) {
    std::string damaged = envelope;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ 1 << bit % 8);
    ASSERT_FALSE(opened(damaged)) << "bit " << bit;
  }
}

/// Whoever can write can make a checksum: only the signature tells.
class Moved : public Signing {
 protected:
  void SetUp() override { function_.sign_with(keyring({kOurs})); }

  /// Our entry, dressed up as that of another call or moment by somebody without keys.
  [[nodiscard]] static std::string stamped_anew(const std::string& envelope,
                                                const Id& as, Time stored_at,
                                                const Version& version) {
    std::string forged = envelope;
    test::write_checksum(forged, as.function->seed(), stored_at, version);
    return forged;
  }
};

TEST_F(Moved, ItsTimeIsSigned) {
  const Time later = kStoredAt + std::chrono::hours(24);
  const std::string forged = stamped_anew(sealed(), id(), later, kVersion);
  const auto result = open(as_bytes(forged), nullptr, id(), later, kVersion);
  EXPECT_EQ(result.error(), ErrorCode::untrusted);
}

TEST_F(Moved, ItsVersionIsSigned) {
  const Version other{{1, 2, 4}};
  const std::string forged = stamped_anew(sealed(), id(), kStoredAt, other);
  const auto result = open(as_bytes(forged), nullptr, id(), kStoredAt, other);
  EXPECT_EQ(result.error(), ErrorCode::untrusted);
}

TEST_F(Moved, ItsFunctionIsSigned) {
  const Function& other = Function::intern(function_.id() + "/other");
  other.sign_with(keyring({kOurs}));
  Id as = id();
  as.function = &other;
  const std::string forged = stamped_anew(sealed(), as, kStoredAt, kVersion);
  const auto result = open(as_bytes(forged), nullptr, as, kStoredAt, kVersion);
  EXPECT_EQ(result.error(), ErrorCode::untrusted);
}

TEST_F(Moved, ItsValueIsSigned) {
  std::string forged = sealed("harmless");
  forged.replace(forged.size() - 8, 8, "!harmful");
  forged = stamped_anew(forged, id(), kStoredAt, kVersion);
  EXPECT_EQ(opened(forged).error(), ErrorCode::untrusted);
}

TEST(Keys, AreNeitherFewNorShort) {
  for (const std::vector<std::string>& keys :
       {std::vector<std::string>{}, {""}, {std::string(15, 'x')}, {kOurs, "short"}}) {
    const auto result = Keyring::of(keys);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error(), ErrorCode::invalid_argument);
    EXPECT_THAT(result.error().message(), Not(HasSubstr("xxx"))) << "keys are secrets";
  }
  EXPECT_TRUE(Keyring::of(std::vector<std::string>{std::string(16, 'x')}));
}

}  // namespace
}  // namespace cachier::envelope
