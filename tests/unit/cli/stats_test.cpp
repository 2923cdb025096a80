/// `cachier stats`: how much there is, and where.

#include "command_line.hpp"
#include "damage.hpp"

namespace cachier::test {
namespace {

namespace fs = std::filesystem;

class StatsCommand : public CommandLine {
 protected:
  /// The line of the store.
  json of_store() {
    const auto lines = in_cache({"stats", "--json"}).objects();
    return lines.empty() ? json() : lines.front();
  }
};

TEST_F(StatsCommand, MakesNothingWhereNothingIs) {
  const Answer answer = in_cache({"stats"});
  EXPECT_EQ(answer.status, 0) << answer.err;
  EXPECT_THAT(answer.out, AllOf(StartsWith("Nothing "), HasSubstr(directory())));
  EXPECT_EQ(in_cache({"stats", "--json"}).out, "");
  EXPECT_FALSE(fs::exists(directory()));
}

TEST_F(StatsCommand, CountsEntriesAndWhereTheirBytesAre) {
  put("cachier:a.f(x)", 1, text("one"));
  put("cachier:a.f(x)", 2, big('b'));
  put("cachier:a.g", 1, text("three"));
  const auto lines = in_cache({"stats", "--json"}).objects();
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_EQ(lines[0].at("kind"), "store");
  EXPECT_EQ(lines[0].at("directory"), directory());
  EXPECT_EQ(lines[0].at("functions"), 2);
  EXPECT_EQ(lines[0].at("entries"), 3);
  EXPECT_EQ(lines[0].at("bytes_in_database"), 4 + 6);
  EXPECT_EQ(lines[0].at("bytes_in_files"), kBig);
  EXPECT_EQ(lines[0].at("bytes"), 4 + 6 + kBig);
  EXPECT_EQ(lines[0].at("value_files"), 1);
  EXPECT_GT(lines[0].at("value_files_bytes"), kBig);
  EXPECT_EQ(lines[0].at("database_bytes"), fs::file_size(file("c1.db")));
  EXPECT_EQ(lines[0].at("log_bytes"), fs::file_size(file("c1.db-wal")));
  EXPECT_EQ(lines[0].at("generation"), 1);
  EXPECT_EQ(lines[0].at("cleared_rows"), 0);
  EXPECT_EQ(lines[0].at("set_aside_databases"), 0);
  EXPECT_EQ(lines[1].at("kind"), "function");
  EXPECT_EQ(lines[1].at("function"), "cachier:a.f(x)");
  EXPECT_EQ(lines[1].at("entries"), 2);
  EXPECT_EQ(lines[1].at("bytes_in_files"), kBig);
  EXPECT_LE(lines[1].at("oldest"), lines[1].at("newest"));
  EXPECT_EQ(lines[2].at("function"), "cachier:a.g");
}

TEST_F(StatsCommand, ShowsThemToPeople) {
  put("cachier:a.f(x)", 1, text("one"));
  const Answer all = in_cache({"stats"});
  EXPECT_EQ(all.status, 0) << all.err;
  EXPECT_THAT(all.out, AllOf(HasSubstr(directory()), HasSubstr("4 B"),
                             HasSubstr("generation 1"), HasSubstr("a.f(x)")));
  put("cachier:a.g", 1, text("three"));
  const Answer one = in_cache({"stats", "g"});
  EXPECT_THAT(one.out, AllOf(HasSubstr("a.g"), Not(HasSubstr("a.f"))));
  EXPECT_EQ(in_cache({"stats", "g", "--json"}).objects().size(), 1U);
  EXPECT_THAT(in_cache({"stats", "nosuch"}).out, StartsWith("Nothing is cached for"));
}

TEST_F(StatsCommand, CountsRowsThatWaitToBeRemoved) {
  put("cachier:f", 1, text("x"));
  put("cachier:g", 1, text("x"));
  run_sql_in(file("c1.db"),
             "UPDATE functions SET epoch = epoch + 1 WHERE name = 'cachier:f'");
  EXPECT_EQ(of_store().at("cleared_rows"), 1);
  EXPECT_EQ(of_store().at("entries"), 1);
}

TEST_F(StatsCommand, CountsThousands) {
  for (int i = 0; i < 4500; ++i) put("cachier:f", i, text("x"));
  EXPECT_EQ(of_store().at("entries"), 4500);
}

TEST_F(StatsCommand, CountsDatabasesThatWereSetAside) {
  put("cachier:f", 1, text("x"));
  close();
  flip(file("c1.db"), 0, 4096);
  put("cachier:f", 1, text("x"));  // sets it aside
  EXPECT_EQ(of_store().at("generation"), 2);
  EXPECT_EQ(of_store().at("set_aside_databases"), 1);
  EXPECT_GE(of_store().at("set_aside_bytes"), fs::file_size(file("c1.db")));
}

}  // namespace
}  // namespace cachier::test
