#include "cli/catalog.hpp"

#include <cachier/key.hpp>

#include <gtest/gtest.h>

namespace cachier::cli {
namespace {

bool matches(const char* word, const char* id) {
  return FunctionPattern(word).matches(id);
}

constexpr const char* kRun = "cachier:weather.models.run(model,step)@2";

TEST(FunctionPattern, MeansEveryFunctionWhenEmpty) {
  EXPECT_TRUE(matches("", kRun));
  EXPECT_TRUE(FunctionPattern("").everything());
}

TEST(FunctionPattern, MeansAFunctionByIdNameOrEndOfName) {
  for (const char* word :
       {"cachier:weather.models.run(model,step)@2", "weather.models.run(model,step)@2",
        "weather.models.run", "models.run", "run"}) {
    EXPECT_TRUE(matches(word, kRun)) << word;
  }
}

TEST(FunctionPattern, IsNotFoundInTheMiddleOfAWord) {
  for (const char* word :
       {"un", "weather", "weather.models", "run(model,step)", "Run"}) {
    EXPECT_FALSE(matches(word, kRun)) << word;
  }
}

TEST(FunctionPattern, FitsAWholeNameWhereItHasWildcards) {
  EXPECT_TRUE(matches("weather.*", kRun));
  EXPECT_TRUE(matches("*.run", kRun));
  EXPECT_TRUE(matches("*(model,step)*", kRun));
  EXPECT_TRUE(matches("cachier:*", kRun));
  EXPECT_FALSE(matches("weather", kRun));
  EXPECT_FALSE(matches("?un", kRun));
}

TEST(FunctionPattern, KnowsIdsThatAreNotOurs) {
  EXPECT_TRUE(matches("whatever it is", "whatever it is"));
  EXPECT_FALSE(matches("whatever", "whatever it is"));
}

TEST(ShownFunction, LeavesOutTheUsualPrefix) {
  EXPECT_EQ(shown_function(kRun), "weather.models.run(model,step)@2");
  EXPECT_EQ(shown_function("team-a:f"), "team-a:f");
}

TEST(ShownCall, NamesTheArguments) {
  cbor::Writer key;
  encode_call(key, std::string("gfs"), 3);
  Header entry;
  entry.function = kRun;
  entry.key = key.take();
  EXPECT_EQ(shown_call(entry), "weather.models.run@2(model='gfs', step=3)");
}

TEST(ShownCall, SaysThatAKeyIsAHash) {
  Header entry;
  entry.function = "cachier:f";
  entry.key = std::string(32, '\xab');
  entry.hashed = true;
  EXPECT_EQ(shown_call(entry), "f(sha256 abababababababab…)");
}

TEST(LikeDigest, NeedsFourDigits) {
  EXPECT_TRUE(like_digest("00ff"));
  EXPECT_FALSE(like_digest("0ff"));
  EXPECT_FALSE(like_digest("forecast"));
  EXPECT_FALSE(like_digest(std::string(33, 'a')));
}

}  // namespace
}  // namespace cachier::cli
