#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cachier/cbor.hpp>
#include <cachier/envelope.hpp>
#include <cachier/key.hpp>

#include <fstream>
#include <nlohmann/json.hpp>

#include "support/bytes.hpp"
#include "support/checksum.hpp"
#include "support/hex.hpp"

namespace cachier::envelope {
namespace {

using test::from_hex;
using test::to_hex;
using testing::HasSubstr;

constexpr Version kVersion{{1, 2, 3}};
const Time kStoredAt{std::chrono::seconds(1'700'000'000)};

class Envelope : public testing::Test {
 protected:
  static Id id_of(std::string_view key, bool hashed = false) {
    const Function& function = Function::intern("cachier:envelope");
    return {&function, digest_of(function, as_bytes(key)), as_bytes(key), hashed};
  }

  static Value value_of(std::string bytes) {
    return Value::of_bytes(Codec::cbor, std::move(bytes));
  }

  static Result<std::optional<Value>> opened(const std::string& sealed, const Id& id,
                                             Time stored_at = kStoredAt,
                                             const Version& version = kVersion) {
    return open(as_bytes(sealed), nullptr, id, stored_at, version);
  }

  /// An envelope with these fields after the checksum, which holds.
  static std::string sound(const Id& id, const std::string& fields, int count) {
    std::string bytes(1, static_cast<char>(0xa0 + count));
    bytes += from_hex("00 48 0000000000000000") + fields;
    test::write_checksum(bytes, id.function->seed(), Time(), Version());
    return bytes;
  }

  static Result<std::optional<Value>> opened_fields(std::string_view hex, int count) {
    const Id id = id_of("\x81\x01");
    const auto bytes =
        std::make_shared<const std::string>(sound(id, from_hex(hex), count));
    return open(as_bytes(*bytes), bytes, id, Time(), Version());
  }
};

TEST_F(Envelope, GivesBackWhatWasSealed) {
  const Id id = id_of("\x81\x01");
  for (const std::size_t size : {0u, 1u, 23u, 24u, 255u, 256u, 4095u, 4096u, 70'000u}) {
    for (const bool none : {false, true}) {
      for (const std::uint64_t fingerprint : {0u, 7u}) {
        Value value = Value::of_bytes(Codec::pickle, test::random_bytes(size));
        value.set_none(none);
        value.set_fingerprint(fingerprint);
        const std::string sealed = seal(id, value, kStoredAt, kVersion);

        const auto result = opened(sealed, id);

        ASSERT_TRUE(result) << result.error().message();
        ASSERT_TRUE(result->has_value());
        EXPECT_EQ(as_text((**result).bytes()), as_text(value.bytes()));
        EXPECT_EQ((**result).codec(), Codec::pickle);
        EXPECT_EQ((**result).is_none(), none);
        EXPECT_EQ((**result).fingerprint(), fingerprint);
        EXPECT_TRUE(cbor::check_deterministic(as_bytes(sealed)));
      }
    }
  }
}

TEST_F(Envelope, MarksOfExceptionsAndOfCodeComeBack) {
  const Id id = id_of("\x81\x01");
  for (const std::size_t size : {1u, 4096u}) {
    for (const bool exception : {false, true}) {
      for (const std::uint32_t code : {0U, 1U, ~0U}) {
        Value value = Value::of_bytes(Codec::pickle, test::random_bytes(size));
        value.set_exception(exception);
        value.set_code(code);
        const std::string sealed = seal(id, value, kStoredAt, kVersion);

        const auto result = opened(sealed, id);

        ASSERT_TRUE(result) << result.error().message();
        EXPECT_EQ((**result).is_exception(), exception);
        EXPECT_EQ((**result).code(), code);
        EXPECT_EQ(as_text((**result).bytes()), as_text(value.bytes()));
        EXPECT_TRUE(cbor::check_deterministic(as_bytes(sealed)));
        EXPECT_EQ(inspect(as_bytes(sealed), sealed.size())->code, code);
      }
    }
  }
}

TEST_F(Envelope, ValueIsAViewThatKeepsItsOwner) {
  const Id id = id_of("k");
  auto sealed = std::make_shared<const std::string>(
      seal(id, value_of("value"), kStoredAt, kVersion));
  const auto result = open(as_bytes(*sealed), sealed, id, kStoredAt, kVersion);
  ASSERT_TRUE(result && result->has_value());
  const char* const end = sealed->data() + sealed->size();
  EXPECT_EQ(as_text((**result).bytes()).data() + 5, end);
  EXPECT_EQ(sealed.use_count(), 2);
}

TEST_F(Envelope, EveryFlippedBitIsFound) {
  const Id id = id_of("\x81\x63xyz");
  const std::string sealed = seal(id, value_of("a value"), kStoredAt, kVersion);
  for (std::size_t bit = 0; bit < 8 * sealed.size(); ++bit) {
    std::string damaged = sealed;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ 1 << bit % 8);
    const auto result = opened(damaged, id);
    ASSERT_FALSE(result) << "bit " << bit;
    EXPECT_EQ(result.error(), ErrorCode::corrupt) << "bit " << bit;
  }
}

TEST_F(Envelope, EveryTruncationAndAdditionIsFound) {
  const Id id = id_of("\x81\x01");
  const std::string sealed = seal(id, value_of("a value"), kStoredAt, kVersion);
  for (std::size_t size = 0; size < sealed.size(); ++size) {
    EXPECT_EQ(opened(sealed.substr(0, size), id).error(), ErrorCode::corrupt) << size;
  }
  EXPECT_EQ(opened(sealed + '\0', id).error(), ErrorCode::corrupt);
  EXPECT_EQ(opened(std::string(1000, '\0'), id).error(), ErrorCode::corrupt);
}

TEST_F(Envelope, ChecksumCoversWhatStoresKeepBesideIt) {
  const Id id = id_of("\x81\x01");
  const std::string sealed = seal(id, value_of("a value"), kStoredAt, kVersion);
  ASSERT_TRUE(opened(sealed, id));

  Id other = id;
  other.function = &Function::intern("cachier:envelope2");
  EXPECT_EQ(opened(sealed, other).error(), ErrorCode::corrupt);
  EXPECT_EQ(opened(sealed, id, kStoredAt + Duration(1)).error(), ErrorCode::corrupt);
  for (std::size_t word = 0; word < 3; ++word) {
    Version version = kVersion;
    version.words[word] ^= 1;
    EXPECT_EQ(opened(sealed, id, kStoredAt, version).error(), ErrorCode::corrupt);
  }
}

TEST_F(Envelope, OfAnotherKeyIsAMissAndNoDamage) {
  const std::string sealed =
      seal(id_of("\x81\x01"), value_of("v"), kStoredAt, kVersion);
  for (const char* key : {"\x81\x02", "\x81", "", "\x81\x01\x01"}) {
    const auto result = opened(sealed, id_of(key));
    ASSERT_TRUE(result) << result.error().message();
    EXPECT_FALSE(result->has_value());
  }
}

TEST_F(Envelope, KeyAndItsHashAreOneKey) {
  const std::string key = "\x81\x01";
  const KeptKey kept(as_bytes(key), true);
  const std::string hash(as_text(kept.bytes()));
  const std::string plain = seal(id_of(key), value_of("v"), kStoredAt, kVersion);
  const std::string hidden =
      seal(id_of(hash, true), value_of("v"), kStoredAt, kVersion);
  const auto holds = [](const std::string& sealed, const Id& id) {
    const auto result = opened(sealed, id);
    return result && result->has_value();
  };
  EXPECT_TRUE(holds(plain, id_of(hash, true)));
  EXPECT_TRUE(holds(hidden, id_of(key)));
  EXPECT_TRUE(holds(hidden, id_of(hash, true)));
  EXPECT_FALSE(holds(hidden, id_of("\x81\x02")));
  // 32 bytes that are a key are not taken for the hash of one.
  EXPECT_FALSE(holds(hidden, id_of(hash)));
  EXPECT_FALSE(
      holds(seal(id_of(hash), value_of("v"), kStoredAt, kVersion), id_of(hash, true)));
}

TEST_F(Envelope, BigValuesBeginAtAMultipleOfTheAlignment) {
  for (std::size_t extra = 0; extra < 2 * kAlignment; ++extra) {
    const std::string key(1 + extra, 'k');
    for (const std::size_t size : {kAlignedFrom, std::size_t{70'000}}) {
      const std::string sealed =
          seal(id_of(key), value_of(std::string(size, 'v')), kStoredAt, kVersion);
      const auto parts = inspect(as_bytes(sealed), sealed.size());
      ASSERT_TRUE(parts);
      EXPECT_EQ(parts->value_offset % kAlignment, 0u);
      EXPECT_EQ(parts->value_size, size);
      const auto back = opened(sealed, id_of(key));
      EXPECT_TRUE(back && back->has_value());
    }
  }
}

TEST_F(Envelope, DraftCanBeStampedAgain) {
  const Id id = id_of("\x81\x01");
  const Value value = value_of("a value");
  Draft draft(id, value);
  draft.stamp(Time(), Version());
  draft.stamp(kStoredAt, kVersion);
  EXPECT_EQ(draft.whole(), seal(id, value, kStoredAt, kVersion));
}

TEST_F(Envelope, InspectNeedsOnlyTheBeginning) {
  const std::string sealed =
      seal(id_of("\x81\x01"), value_of(std::string(100'000, 'v')), kStoredAt, kVersion);
  const auto parts = inspect(as_bytes(sealed).first(2 + 256), sealed.size());
  ASSERT_TRUE(parts) << parts.error().message();
  EXPECT_EQ(to_hex(parts->key), "8101");
  EXPECT_FALSE(parts->hashed);
  EXPECT_EQ(parts->codec, Codec::cbor);
  EXPECT_EQ(parts->value_size, 100'000u);
  EXPECT_EQ(parts->value_offset + parts->value_size, sealed.size());

  EXPECT_FALSE(inspect(as_bytes(sealed).first(20), sealed.size()));
  EXPECT_FALSE(inspect(as_bytes(sealed), sealed.size() - 1));
}

TEST_F(Envelope, FieldsThatMustBeUnderstoodAreRefused) {
  for (const char* field : {"08 01", "0a 4401020304", "0b 00", "17 00"}) {
    const auto result =
        opened_fields("0101 0201 05428101" + std::string(field) + "2041f5", 6);
    ASSERT_FALSE(result) << field;
    EXPECT_EQ(result.error(), ErrorCode::version_mismatch) << field;
    EXPECT_THAT(result.error().message(), HasSubstr("unknown field"));
    EXPECT_THAT(result.error().message(), HasSubstr("upgrade"));
  }
}

TEST_F(Envelope, FieldsThatAreHintsAreSkipped) {
  for (const char* field :
       {"181b 4401020304", "181a a10102", "18ff 82f5c101", "1b7fffffffffffffff 00"}) {
    const auto result =
        opened_fields("0101 0201 05428101" + std::string(field) + "2041f5", 6);
    ASSERT_TRUE(result) << field << result.error().message();
    ASSERT_TRUE(result->has_value());
    EXPECT_EQ(to_hex((**result).bytes()), "f5");
  }
}

TEST_F(Envelope, UnknownCodecsAreRefused) {
  const auto code = [](std::string_view hex) {
    const auto result = opened_fields(hex, 5);
    return result ? "opened" : name_of(result.error().code());
  };
  EXPECT_EQ(code("0101 0201 05428101 2041f5"), "opened");
  EXPECT_EQ(code("0103 0201 05428101 2041f5"), "version_mismatch");
  EXPECT_EQ(code("0101 0202 05428101 2041f5"), "version_mismatch");
  EXPECT_EQ(code("0100 0201 05428101 2041f5"), "corrupt");
}

TEST_F(Envelope, MalformedFieldsAreDamageEvenWhenTheChecksumHolds) {
  const std::pair<const char*, int> examples[] = {
      {"", 1},
      {"2041f5", 2},
      {"0101 0201 2041f5", 4},                  // no key
      {"0201 05428101 2041f5", 4},              // no codec
      {"0101 05428101 2041f5", 4},              // no codec version
      {"0101 0201 05428101 0641ff 2041f5", 6},  // two keys, one no hash
      {"0201 0101 05428101 2041f5", 5},         // order
      {"0101 0101 0201 05428101 2041f5", 6},    // twice
      {"0101 0201 05428101 2042f5", 5},         // value cut short
      {"0101 0201 05428101 2041f5f5", 5},       // more after it
      {"0101 0201 05428101 2061 61", 5},        // text
      {"0101 0201 05428101 2141f5", 5},         // another negative number
      {"0101 0201 05628101 2041f5", 5},         // key is text
      {"6161 01 0201 05428101 2041f5", 5},
      {"0101 0201 0401 05428101 2041f5", 6},     // none is no boolean
      {"0101 0201 05428101 1818 9f 2041f5", 6},  // hint that is not CBOR
      {"0101 0201 05428101 2041f5", 6},          // one field too few
  };
  for (const auto& [hex, count] : examples) {
    const auto result = opened_fields(hex, count);
    ASSERT_FALSE(result) << hex;
    EXPECT_EQ(result.error(), ErrorCode::corrupt) << hex;
  }
}

TEST_F(Envelope, SealsWhatTheVectorsSay) {
  std::ifstream file(std::string(CACHIER_TEST_VECTORS) + "/envelopes.json");
  const nlohmann::json vectors = nlohmann::json::parse(file);
  ASSERT_FALSE(vectors["envelopes"].empty());
  for (const auto& vector : vectors["envelopes"]) {
    const bool hashed = vector.contains("key_sha256");
    const std::string key =
        from_hex(vector[hashed ? "key_sha256" : "key"].get<std::string>());
    Id id = id_of(key, hashed);
    id.function = &Function::intern(vector["function"].get<std::string>());
    if (vector.contains("signing_key")) {
      const std::array keys = {from_hex(vector["signing_key"].get<std::string>())};
      id.function->sign_with(Keyring::of(keys).value());
    }
    Value value = Value::of_bytes(static_cast<Codec>(vector["codec"].get<int>()),
                                  from_hex(vector["value"].get<std::string>()));
    value.set_fingerprint(vector["fingerprint"]);
    value.set_none(vector["none"]);
    const Time stored_at{Duration(vector["stored_at"].get<std::int64_t>())};
    const Version version{vector["version"].get<std::array<std::uint64_t, 3>>()};

    EXPECT_EQ(to_hex(seal(id, value, stored_at, version)), vector["envelope"]);
  }
}

}  // namespace
}  // namespace cachier::envelope
