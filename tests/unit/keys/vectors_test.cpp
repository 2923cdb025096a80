/// The examples that all languages share: tests/vectors/keys.json.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cachier/key.hpp>

#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "support/hex.hpp"

namespace cachier {
namespace {

using test::from_hex;
using test::to_hex;
using testing::HasSubstr;
using namespace std::chrono;
using namespace std::chrono_literals;

const nlohmann::json& vectors() {
  static const nlohmann::json kVectors = [] {
    std::ifstream file(std::string(CACHIER_TEST_VECTORS) + "/keys.json");
    return nlohmann::json::parse(file);
  }();
  return kVectors;
}

struct Call {
  const char* source;
  void (*encode)(cbor::Writer&);
};

#define CALL(...)                                       \
  {                                                     \
#__VA_ARGS__, [](cbor::Writer & w) { __VA_ARGS__; } \
  }

/// The calls that the vectors spell in C++, by that spelling.
const Call kCalls[] = {
    CALL(encode_call(w)),
    CALL(encode_call(w, 1)),
    CALL(encode_call(w, ignored(w), 1)),
    CALL(encode_call(w, 1, 2, 3)),
    CALL(encode_call(w, "/usr/lib/x.py", 3)),
    CALL(encode_call(w, 0)),
    CALL(encode_call(w, 23)),
    CALL(encode_call(w, std::uint8_t{24})),
    CALL(encode_call(w, -1)),
    CALL(encode_call(w, -24)),
    CALL(encode_call(w, std::int8_t{-25})),
    CALL(encode_call(w, 65536u)),
    CALL(encode_call(w, std::numeric_limits<std::int64_t>::max())),
    CALL(encode_call(w, std::numeric_limits<std::int64_t>::min())),
    CALL(encode_call(w, std::numeric_limits<std::uint64_t>::max())),
    CALL(encode_call(w, 0.0)),
    CALL(encode_call(w, -0.0)),
    CALL(encode_call(w, 1.0f)),
    CALL(encode_call(w, 1.5)),
    CALL(encode_call(w, 0.1)),
    CALL(encode_call(w, 1e300)),
    CALL(encode_call(w, 100000.0f)),
    CALL(encode_call(w, 5e-324)),
    CALL(encode_call(w, std::numeric_limits<double>::infinity())),
    CALL(encode_call(w, std::numeric_limits<float>::quiet_NaN())),
    CALL(encode_call(w, true)),
    CALL(encode_call(w, std::optional<int>())),
    CALL(encode_call(w, nullptr)),
    CALL(encode_call(w, "")),
    CALL(encode_call(w, std::string("h\u00e9 \U0001f600"))),
    CALL(encode_call(w, std::vector<std::byte>{std::byte{0}, std::byte{255}})),
    CALL(encode_call(w, std::vector<int>{1, 2})),
    CALL(encode_call(w, std::pair<int, std::string>(1, "a"))),
    CALL(encode_call(w, std::tuple<>())),
    CALL(encode_call(w, std::map<std::string, int>{{"a", 3}, {"bb", 1}, {"c", 2}})),
    CALL(encode_call(w, std::set<int>{-1, 1, 300})),
    CALL(encode_call(w, std::complex<double>(1, -2.5))),
    CALL(encode_call(w, local_days{2024y / 2 / 29} + 23h + 59min + 58s + 7us)),
    CALL(encode_call(w, sys_days{2024y / 2 / 29} + 23h + 59min + 58s + 7us)),
    CALL(encode_call(w, sys_seconds{-1s})),
    CALL(encode_call(w, 2024y / 2 / 29)),
    CALL(encode_call(w, 48h + 5us)),
    CALL(encode_call(w, -1s)),
    CALL(encode_call(w, std::filesystem::path("/usr/lib"))),
    CALL(encode_call(w, std::filesystem::path("a\xff"))),
};

TEST(KeyVectors, AreOfTheVersionThatIsWritten) {
  EXPECT_EQ(vectors()["encoding_version"], kKeyEncodingVersion);
}

TEST(KeyVectors, AreWhatCppWrites) {
  std::size_t found = 0;
  for (const auto& vector : vectors()["valid"]) {
    if (!vector.contains("cpp")) continue;
    const std::string source = vector["cpp"];
    const auto* const call =
        std::find_if(std::begin(kCalls), std::end(kCalls),
                     [&](const Call& candidate) { return candidate.source == source; });
    if (call == std::end(kCalls)) {
      ADD_FAILURE() << "this test does not know " << source;
      continue;
    }
    cbor::Writer writer;
    call->encode(writer);
    EXPECT_EQ(to_hex(writer.view()), vector["key"]) << source;
    ++found;
  }
  EXPECT_GE(found, std::size(kCalls));
}

TEST(KeyVectors, AreDeterministicAndPlacedByTheirDigest) {
  ASSERT_GT(vectors()["valid"].size(), 100u);
  for (const auto& vector : vectors()["valid"]) {
    SCOPED_TRACE(vector.dump());
    const std::string key = from_hex(vector["key"].get<std::string>());
    const Function& function = Function::intern(vector["function"].get<std::string>());

    const auto checked = cbor::check_deterministic(as_bytes(key));
    EXPECT_TRUE(checked) << checked.error().message();
    EXPECT_EQ(to_string(Digest{0, function.seed()}).substr(16), vector["seed"]);
    EXPECT_EQ(to_string(digest_of(function, as_bytes(key))), vector["digest"]);
  }
}

/// Short keys are hashed in the header, long ones in the library.
TEST(KeyVectors, ShortKeysHaveTheDigestThatTheLibraryGivesThem) {
  std::vector<std::byte> key;
  for (std::size_t size = 0; size <= 2 * detail::kShortKey; ++size) {
    for (std::size_t salt = 0; salt < 50; ++salt) {
      const Function& function =
          Function::intern("cachier:digest" + std::to_string(salt));
      key.clear();
      for (std::size_t i = 0; i < size; ++i) {
        key.push_back(static_cast<std::byte>(31 * i * i + 151 * salt + 7 * size));
      }
      EXPECT_EQ(digest_of(function, key), detail::hash_key(key, function.seed()))
          << size << " bytes";
    }
  }
}

TEST(KeyVectors, AllCanBeShown) {
  for (const auto& vector : vectors()["valid"]) {
    const std::string hex = vector["key"];
    const std::string key = from_hex(hex);
    EXPECT_NE(display_key(as_bytes(key), "", 10'000), hex);
  }
}

TEST(KeyVectors, InvalidOnesAreRefusedAtTheirByte) {
  ASSERT_FALSE(vectors()["invalid"].empty());
  for (const auto& vector : vectors()["invalid"]) {
    const std::string hex = vector["key"];
    const std::string key = from_hex(hex);
    const auto checked = cbor::check_deterministic(as_bytes(key));
    ASSERT_FALSE(checked) << hex;
    EXPECT_THAT(checked.error().message() + "\n",
                HasSubstr("at byte " + vector["offset"].dump() + "\n"))
        << hex;
    EXPECT_THAT(checked.error().message(),
                HasSubstr(vector["reason"].get<std::string>()))
        << hex;
  }
}

FunctionIdParts parts_of(const nlohmann::json& json) {
  FunctionIdParts parts;
  parts.key_prefix = json["key_prefix"];
  parts.name = json["name"];
  parts.code = json.value("code", "");
  if (json.contains("parameters")) parts.parameters = json["parameters"];
  parts.version = json["version"];
  return parts;
}

TEST(KeyVectors, FunctionIdsAreWrittenAndParsed) {
  ASSERT_FALSE(vectors()["function_ids"].empty());
  for (const auto& vector : vectors()["function_ids"]) {
    const std::string id = vector["id"];
    const FunctionIdParts parts = parts_of(vector["parts"]);
    EXPECT_EQ(function_id(parts), id);
    EXPECT_EQ(parse_function_id(id), parts) << id;
  }
  for (const auto& id : vectors()["invalid_function_ids"]) {
    EXPECT_EQ(parse_function_id(id.get<std::string>()), std::nullopt) << id;
  }
}

}  // namespace
}  // namespace cachier
