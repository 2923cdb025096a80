#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cachier/cbor.hpp>

#include "support/hex.hpp"

namespace cachier::cbor {
namespace {

using test::from_hex;
using testing::HasSubstr;

/// What reading all items of these bytes says: nothing, or the error's message.
std::string reading(std::string_view hex) {
  const std::string bytes = from_hex(hex);
  Reader reader(as_bytes(bytes));
  Item item;
  while (!reader.at_end() && reader.next(item)) {
  }
  return reader.finish() ? "" : reader.error().message();
}

TEST(Reader, SaysWhereAndWhatWasWrong) {
  const std::vector<std::pair<const char*, std::vector<const char*>>> examples = {
      {"82 8101", {"at byte 3", "end of the input"}},
      {"8201", {"at byte 0", "an array that announces more than the 2 bytes"}},
      {"19 01", {"at byte 0", "cut short"}},
      {"81 1c", {"at byte 1", "begins none"}},
      {"81 ff", {"at byte 1", "begins none"}},
      {"81 f8 18", {"at byte 1", "begins none"}},
      {"01 5f", {"at byte 1", "bytes of indefinite length"}},
      {"81 64 616263", {"at byte 1", "text that announces more"}},
      {"9b ffffffffffffffff", {"at byte 0", "an array that announces more"}},
      {"bb 8000000000000001", {"at byte 0", "a map that announces more"}},
      {"82 61 61 61 ff", {"at byte 3", "not UTF-8"}},
      {"c1", {"at byte 1", "end of the input"}},
  };
  for (const auto& [hex, parts] : examples) {
    for (const char* part : parts) EXPECT_THAT(reading(hex), HasSubstr(part)) << hex;
  }
}

TEST(Reader, SaysWhatWasExpectedAndWhatWasFound) {
  const auto expecting = [](std::string_view hex, auto read) {
    const std::string bytes = from_hex(hex);
    Reader reader(as_bytes(bytes));
    EXPECT_FALSE(read(reader));
    EXPECT_EQ(reader.error(), ErrorCode::unsupported);
    return std::string(reader.error().cause());
  };
  std::uint64_t number = 0;
  std::int64_t integer = 0;
  std::string_view text;
  bool boolean = false;
  EXPECT_EQ(expecting("01", [&](Reader& r) { return r.text(text); }),
            "expected text, found a positive integer or zero");
  EXPECT_EQ(expecting("6161", [&](Reader& r) { return r.map(number); }),
            "expected a map, found text");
  EXPECT_EQ(expecting("f6", [&](Reader& r) { return r.boolean(boolean); }),
            "expected true or false, found null");
  EXPECT_EQ(expecting("f4", [&](Reader& r) { return r.null(); }),
            "expected null, found false");
  EXPECT_EQ(expecting("c101", [&](Reader& r) { return r.tag(2); }),
            "expected tag 2, found tag 1");
  EXPECT_EQ(
      expecting("fb3ff0000000000000", [&](Reader& r) { return r.integer(integer); }),
      "expected an integer, found a float");
  EXPECT_THAT(
      expecting("1b8000000000000000", [&](Reader& r) { return r.integer(integer); }),
      HasSubstr("64 bits"));
}

TEST(Reader, KeepsItsFirstFailure) {
  const std::string bytes = from_hex("8201ff");
  Reader reader(as_bytes(bytes));
  std::string_view text;
  EXPECT_FALSE(reader.text(text));
  const std::string first = reader.error().message();

  EXPECT_FALSE(reader.skip());
  EXPECT_FALSE(reader.null());
  EXPECT_FALSE(reader.finish());

  EXPECT_EQ(reader.error().message(), first);
}

TEST(Reader, RefusesTrailingBytesWhenAsked) {
  const std::string bytes = from_hex("0102");
  Reader reader(as_bytes(bytes));
  std::uint64_t number = 0;
  ASSERT_TRUE(reader.unsigned_int(number));

  EXPECT_FALSE(reader.finish());

  EXPECT_THAT(reader.error().message(), HasSubstr("at byte 1"));
  EXPECT_THAT(reader.error().message(), HasSubstr("expected the end of the input"));
}

TEST(Reader, FinishRefusesAnUnfinishedContainer) {
  EXPECT_THAT(reading("82 81 01"), HasSubstr("at byte 3"));
  EXPECT_EQ(reading("83 01 02 03"), "");
  EXPECT_EQ(reading("81 81 80"), "");
  EXPECT_EQ(reading(""), "");
}

TEST(Reader, NestsToItsBoundAndNotFurther) {
  const std::string deep = std::string(kMaxDepth, '\x81') + '\x01';
  Reader good(as_bytes(deep));
  EXPECT_TRUE(good.skip() && good.finish());

  const std::string deeper = '\x81' + deep;
  Reader bad(as_bytes(deeper));
  EXPECT_FALSE(bad.skip());
  EXPECT_EQ(bad.error(), ErrorCode::too_large);
  EXPECT_THAT(bad.error().message(), HasSubstr("at byte 512"));
}

TEST(Reader, DepthIsGivenBackWhenContainersEnd) {
  std::string many = "\x9a\x01\x01\x01\x01";  // an array of a great many arrays
  many.append(0x01010101, '\x80');
  Reader reader(as_bytes(many));
  EXPECT_TRUE(reader.skip() && reader.finish());
}

TEST(Reader, SkipsOneItemWithAllThatIsInIt) {
  for (const char* hex : {"00", "80", "a0", "c180", "8301820203a1616101", "43010203",
                          "d9cac0820102", "fb3ff199999999999a", "8180"}) {
    const std::string bytes = from_hex(hex) + '\x07';
    Reader reader(as_bytes(bytes));
    Bytes whole;
    std::uint64_t after = 0;
    ASSERT_TRUE(reader.skip(whole)) << hex;
    EXPECT_EQ(whole.size(), bytes.size() - 1) << hex;
    EXPECT_TRUE(reader.unsigned_int(after) && reader.finish()) << hex;
    EXPECT_EQ(after, 7u);
  }
}

TEST(Reader, SkipsWithinAContainer) {
  const std::string bytes = from_hex("83 8101 80 05");
  Reader reader(as_bytes(bytes));
  std::uint64_t items = 0;
  std::uint64_t last = 0;
  ASSERT_TRUE(reader.array(items));
  EXPECT_TRUE(reader.skip());
  EXPECT_TRUE(reader.skip());
  EXPECT_TRUE(reader.unsigned_int(last) && reader.finish());
  EXPECT_EQ(last, 5u);
}

TEST(Reader, GivesViewsOfItsInput) {
  const std::string bytes = from_hex("8263616263 43010203");
  Reader reader(as_bytes(bytes));
  std::uint64_t items = 0;
  std::string_view text;
  Bytes view;
  ASSERT_TRUE(reader.array(items) && reader.text(text) && reader.bytes(view));
  EXPECT_EQ(text, "abc");
  EXPECT_EQ(static_cast<const void*>(text.data()), bytes.data() + 2);
  EXPECT_EQ(static_cast<const void*>(view.data()), bytes.data() + 6);
}

TEST(Reader, TakesNullOnlyIfItIsNext) {
  const std::string bytes = from_hex("f601");
  Reader reader(as_bytes(bytes));
  EXPECT_TRUE(reader.take_null());
  EXPECT_FALSE(reader.take_null());
  EXPECT_FALSE(reader.failed());
  std::uint64_t number = 0;
  EXPECT_TRUE(reader.unsigned_int(number));
  EXPECT_FALSE(reader.take_null());
  EXPECT_TRUE(reader.finish());
}

TEST(Reader, DecodersAboveCanRefuse) {
  const std::string bytes = from_hex("82 1903e8 01");
  Reader reader(as_bytes(bytes));
  std::uint64_t number = 0;
  ASSERT_TRUE(reader.array(number) && reader.unsigned_int(number));
  EXPECT_FALSE(reader.refuse("an integer of 8 bits"));
  EXPECT_EQ(reader.error().message(),
            "cannot decode what is stored at byte 1\n"
            "  cause: expected an integer of 8 bits, found a positive integer or zero");
}

TEST(Reader, EveryTruncationIsAnErrorAtAByteWithinTheInput) {
  const std::string whole = from_hex(
      "85 a2616101616219ffff c249010000000000000000 d9cac08180 "
      "fb3ff199999999999a 5818"
      "000102030405060708090a0b0c0d0e0f1011121314151617");
  ASSERT_TRUE([&] {
    Reader reader(as_bytes(whole));
    return reader.skip() && reader.finish();
  }());
  for (std::size_t size = 0; size < whole.size(); ++size) {
    Reader reader(as_bytes(std::string_view(whole).substr(0, size)));
    EXPECT_FALSE(reader.skip()) << size;
    EXPECT_EQ(reader.error(), ErrorCode::corrupt) << size;
  }
}

TEST(Deterministic, RefusesWhatTheWriterDoesNotWrite) {
  const auto refusal = [](std::string_view hex) {
    const auto checked = check_deterministic(as_bytes(from_hex(hex)));
    return checked ? std::string() : checked.error().message();
  };
  for (const char* hex : {"1817", "1900ff", "1a0000ffff", "1b00000000ffffffff", "3817",
                          "580101", "780161", "980101", "b8010101", "d801 01",
                          "fa3f800000", "fb3ff0000000000000", "f97e01", "f9fe00"}) {
    EXPECT_THAT(refusal(hex), HasSubstr("at byte 0")) << hex;
  }
  EXPECT_THAT(refusal("81 a2 01 00 01 00"), HasSubstr("repeated key"));
  EXPECT_THAT(refusal("81 a2 01 00 01 00"), HasSubstr("at byte 4"));
  EXPECT_THAT(refusal("a2 626161 00 6162 00"), HasSubstr("unsorted key"));
  EXPECT_THAT(refusal("a2 01 a2 02 00 01 00 02 00"), HasSubstr("at byte 5"));
  EXPECT_THAT(refusal("c2 48 0100000000000000"), HasSubstr("big integer"));
  EXPECT_THAT(refusal("c3 49 000100000000000000"), HasSubstr("big integer"));
  EXPECT_THAT(refusal("c2 01"), HasSubstr("big integer"));
  EXPECT_THAT(refusal("82 81 01"), HasSubstr("end of the input"));
  EXPECT_EQ(refusal(""), "");
  EXPECT_EQ(refusal("8101 80 a1617801"), "");
  EXPECT_EQ(refusal("a2 81 01 00 82 01 02 00"), "");
  EXPECT_EQ(refusal("a2 01 a2 01 00 02 00 02 00"), "");
}

}  // namespace
}  // namespace cachier::cbor
