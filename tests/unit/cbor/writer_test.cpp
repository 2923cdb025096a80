#include <gtest/gtest.h>

#include <cachier/cbor.hpp>

#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "support/bytes.hpp"
#include "support/hex.hpp"

namespace cachier::cbor {
namespace {

using test::to_hex;

template <class Write>
std::string written(Write write) {
  Writer writer;
  write(writer);
  return to_hex(writer.view());
}

std::string real_hex(double value) {
  return written([value](Writer& writer) { writer.real(value); });
}

TEST(Writer, WritesTheShortestHeads) {
  const std::pair<std::uint64_t, const char*> examples[] = {
      {0, "00"},
      {23, "17"},
      {24, "1818"},
      {255, "18ff"},
      {256, "190100"},
      {65535, "19ffff"},
      {65536, "1a00010000"},
      {0xffffffff, "1affffffff"},
      {0x100000000, "1b0000000100000000"},
      {std::numeric_limits<std::uint64_t>::max(), "1bffffffffffffffff"},
  };
  for (const auto& [number, hex] : examples) {
    EXPECT_EQ(written([n = number](Writer& writer) { writer.unsigned_int(n); }), hex);
  }
}

TEST(Writer, WritesSignedIntegersOfBothEnds) {
  const auto integer_hex = [](std::int64_t value) {
    return written([value](Writer& writer) { writer.integer(value); });
  };
  EXPECT_EQ(integer_hex(-1), "20");
  EXPECT_EQ(integer_hex(-25), "3818");
  EXPECT_EQ(integer_hex(std::numeric_limits<std::int64_t>::max()),
            "1b7fffffffffffffff");
  EXPECT_EQ(integer_hex(std::numeric_limits<std::int64_t>::min()),
            "3b7fffffffffffffff");
}

TEST(Writer, RealsAtTheEdgesOfTheirForms) {
  EXPECT_EQ(real_hex(std::ldexp(1, -24)), "f90001");  // smallest half
  EXPECT_EQ(real_hex(std::ldexp(1023, -24)), "f903ff");
  EXPECT_EQ(real_hex(std::ldexp(1, -25)), "fa33000000");
  EXPECT_EQ(real_hex(std::ldexp(3, -25)), "fa33c00000");
  EXPECT_EQ(real_hex(65505), "fa477fe100");
  EXPECT_EQ(real_hex(65536), "fa47800000");
  EXPECT_EQ(real_hex(std::ldexp(1, -149)), "fa00000001");  // smallest single
  EXPECT_EQ(real_hex(std::ldexp(1, -150)), "fb3690000000000000");
  EXPECT_EQ(real_hex(std::ldexp(1, -127)), "fa00400000");
  EXPECT_EQ(real_hex(std::ldexp(1, 128)), "fb47f0000000000000");
  EXPECT_EQ(real_hex(std::numeric_limits<double>::denorm_min()), "fb0000000000000001");
}

TEST(Writer, EveryNanIsOne) {
  for (const std::uint64_t bits : {0x7ff8000000000000u, 0xfff8000000000000u,
                                   0x7ff0000000000001u, 0x7fffffffffffffffu}) {
    EXPECT_EQ(real_hex(std::bit_cast<double>(bits)), "f97e00");
  }
}

TEST(Writer, RealsComeBackFromTheirShortestForm) {
  std::mt19937_64 random(7);
  for (int i = 0; i < 200'000; ++i) {
    // Few significant bits now and then, so that all three forms occur.
    const std::uint64_t bits = random() & ~((std::uint64_t{1} << random() % 53) - 1);
    const double value = std::bit_cast<double>(bits);
    if (std::isnan(value)) continue;
    Writer writer;
    writer.real(value);
    Reader reader(writer.view());
    double back = 0;
    ASSERT_TRUE(reader.real(back) && reader.finish());
    ASSERT_EQ(std::bit_cast<std::uint64_t>(back), bits);
    ASSERT_TRUE(check_deterministic(writer.view()));
  }
}

TEST(Writer, EveryHalfIsWrittenAsOne) {
  for (unsigned bits = 0; bits < 0x10000; ++bits) {
    const char encoded[] = {'\xf9', static_cast<char>(bits >> 8),
                            static_cast<char>(bits)};
    Reader reader(as_bytes({encoded, 3}));
    double value = 0;
    ASSERT_TRUE(reader.real(value));
    if (!std::isnan(value)) {
      ASSERT_EQ(real_hex(value), to_hex({encoded, 3}));
    }
  }
}

TEST(Writer, Real64KeepsEveryBit) {
  const auto bits = std::uint64_t{0xfff0000000000123};
  EXPECT_EQ(written([&](Writer& w) { w.real64(std::bit_cast<double>(bits)); }),
            "fbfff0000000000123");
  EXPECT_EQ(written([](Writer& w) { w.real64(0); }), "fb0000000000000000");
}

TEST(Writer, GrowsBeyondItsInlineBufferWithoutLosingBytes) {
  Writer writer;
  std::string expected;
  for (int i = 0; i < 2000; ++i) {
    const std::string part = test::random_bytes(static_cast<std::size_t>(i % 300));
    writer.raw(as_bytes(part));
    writer.integer(1);
    expected += part + '\1';
  }
  EXPECT_EQ(as_text(writer.view()), expected);
  EXPECT_EQ(writer.take(), expected);
  EXPECT_EQ(writer.size(), 0u);
}

TEST(Writer, GrowsAtEveryRest) {
  for (std::size_t filled = 490; filled <= 520; ++filled) {
    Writer writer;
    writer.raw(as_bytes(std::string(filled, 'x')));
    writer.unsigned_int(std::numeric_limits<std::uint64_t>::max());
    EXPECT_EQ(to_hex(writer.view().subspan(filled)), "1bffffffffffffffff");
  }
}

TEST(Writer, TakesBackWhatIsTruncated) {
  Writer writer;
  writer.text("kept");
  const std::size_t mark = writer.size();
  writer.text(std::string(1000, 'x'));
  writer.truncate(mark);
  EXPECT_EQ(to_hex(writer.view()), "646b657074");
}

/// A map from these keys to 0, 1, ... in that order.
std::string map_of(const std::vector<std::string>& keys) {
  Writer writer;
  writer.map(keys.size());
  Sorter sorter(writer);
  std::uint64_t value = 0;
  for (const std::string& key : keys) {
    sorter.item();
    writer.text(key);
    writer.unsigned_int(value++);
  }
  sorter.finish();
  return writer.take();
}

TEST(Sorter, OrdersByEncodedBytesSoShorterTextIsFirst) {
  EXPECT_EQ(to_hex(map_of({"bb", "c", "a", ""})),
            "a4"
            "6003"
            "616102"
            "616301"
            "62626200");
}

TEST(Sorter, LeavesWhatIsInItsPlaceAtBothEnds) {
  const std::string ordered = map_of({"a", "b", "c", "d", "e"});
  for (const std::vector<std::string>& keys :
       {std::vector<std::string>{"a", "c", "b", "d", "e"},
        {"a", "b", "e", "c", "d"},
        {"c", "a", "b", "d", "e"},
        {"e", "b", "c", "d", "a"}}) {
    const std::string written = map_of(keys);
    ASSERT_EQ(written.size(), ordered.size());
    // Each key is written with the place it came at.
    std::string expected = ordered;
    for (std::size_t at = 0; at < keys.size(); ++at) {
      const auto key = static_cast<std::size_t>(keys[at][0] - 'a');
      expected[1 + 3 * key + 2] = static_cast<char>(at);
    }
    EXPECT_EQ(written, expected);
  }
}

TEST(Writer, GrowsWithoutLosingWhatWasWritten) {
  Writer writer;
  std::string expected;
  for (std::size_t size : {100U, 600U, 70'000U, 3'000'000U, 9'000'000U}) {
    const std::string part(size, static_cast<char>('a' + expected.size() % 26));
    writer.raw(as_bytes(part));
    expected += part;
    ASSERT_TRUE(writer.view().size() == expected.size() &&
                as_text(writer.view()) == expected);
  }
}

TEST(Sorter, GivesTheSameForEveryOrderOfManyItems) {
  std::vector<std::string> keys;
  for (int i = 0; i < 500; ++i) keys.push_back("key" + std::to_string(i * 7919));
  const auto sorted_keys = [](const std::string& bytes) {
    return static_cast<bool>(check_deterministic(as_bytes(bytes)));
  };
  const std::string first = map_of(keys);
  EXPECT_TRUE(sorted_keys(first));

  std::mt19937 random(3);
  std::vector<std::size_t> order(keys.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::shuffle(order.begin(), order.end(), random);
  Writer writer;
  writer.map(keys.size());
  Sorter sorter(writer);
  for (const std::size_t i : order) {
    sorter.item();
    writer.text(keys[i]);
    writer.unsigned_int(i);
  }
  sorter.finish();
  EXPECT_EQ(writer.take(), first);
}

TEST(Sorter, OrdersNestedSetsInsideOut) {
  const auto sets = [](std::vector<std::vector<int>> outer) {
    Writer writer;
    writer.array(outer.size());
    Sorter sorter(writer);
    for (const auto& inner : outer) {
      sorter.item();
      writer.array(inner.size());
      Sorter inner_sorter(writer);
      for (const int number : inner) {
        inner_sorter.item();
        writer.integer(number);
      }
      inner_sorter.finish();
    }
    sorter.finish();
    return to_hex(writer.view());
  };
  EXPECT_EQ(sets({{3, 1}, {2, 1}}), "82820102820103");
  EXPECT_EQ(sets({{1, 2}, {1, 3}}), "82820102820103");
}

TEST(Sorter, EqualKeysAreInOrderOfTheirValues) {
  const auto twice = [](int first, int second) {
    Writer writer;
    writer.map(2);
    Sorter sorter(writer);
    for (const int value : {first, second}) {
      sorter.item();
      writer.real(std::nan(""));
      writer.integer(value);
    }
    sorter.finish();
    return to_hex(writer.view());
  };
  EXPECT_EQ(twice(2, 1), "a2f97e0001f97e0002");
  EXPECT_EQ(twice(2, 1), twice(1, 2));
}

TEST(Utf8, KnowsSoundTextFromOther) {
  const char* const sound[] = {"",
                               "plain ascii, longer than a word",
                               "\u00e9",
                               "\u0800\uffff",
                               "\ud7ff\ue000",
                               "\U00010000\U0010ffff",
                               "12345678\u00e9"};
  for (const char* text : sound) EXPECT_TRUE(valid_text(text)) << text;
  const char* const other[] = {
      "80",       "c080",       "c1bf",     "c3",   "e08080",
      "e09fbf",   "eda080",     "edbfbf",   "e282", "f08080 80",
      "f08fbfbf", "f4908080",   "f5808080", "ff",   "6161616161616161ff",
      "c3c3a9",   "f0908591 80"};
  for (const char* hex : other) EXPECT_FALSE(valid_text(test::from_hex(hex))) << hex;
}

}  // namespace
}  // namespace cachier::cbor
