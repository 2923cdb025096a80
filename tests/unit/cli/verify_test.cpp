/// `cachier verify`: reads everything, changes nothing, and finds what is damaged.

#include "command_line.hpp"
#include "damage.hpp"

#include <atomic>
#include <chrono>
#include <map>
#include <thread>

namespace cachier::test {
namespace {

namespace fs = std::filesystem;

class VerifyCommand : public CommandLine {
 protected:
  void SetUp() override {
    small_ = put("cachier:a.f(x)", 1, text("one"));
    put("cachier:a.f(x)", 2, text("two"));
    big_ = put("cachier:a.big(x)", 1, big('b'));
    put("cachier:a.big(x)", 2, big('c'));
  }

  void sql(const std::string& words) { run_sql_in(file("c1.db"), words); }

  /// Of the row of an entry.
  [[nodiscard]] static std::string where(const std::string& digest) {
    return " WHERE digest = x'" + digest + "'";
  }

  [[nodiscard]] fs::path value_file_of(const std::string& digest) const {
    std::array<char, 64> name{};
    const auto id = run_sql_in(file("c1.db"), "SELECT id FROM entries" + where(digest));
    std::snprintf(name.data(), name.size(), "%016llx-",
                  static_cast<unsigned long long>(id));
    for (const fs::path& one : value_files(file("c1.values"))) {
      if (one.filename().string().starts_with(name.data())) return one;
    }
    ADD_FAILURE() << "no value file begins with " << name.data();
    return {};
  }

  /// What it says in all, its summary last.
  std::vector<json> findings() {
    const Answer answer = in_cache({"verify", "--json"});
    auto lines = answer.objects();
    EXPECT_FALSE(lines.empty()) << answer.err;
    if (lines.empty()) return {json{{"kind", ""}}};
    EXPECT_EQ(lines.back().at("kind"), "summary");
    EXPECT_EQ(answer.status, lines.size() == 1 ? 0 : 1);
    EXPECT_EQ(lines.back().at("sound"), lines.size() == 1);
    return lines;
  }

  /// Expects that of four entries this one is damaged, and nothing else.
  void expect_one(const std::string& digest, const std::string& why) {
    const auto lines = findings();
    ASSERT_EQ(lines.size(), 2U) << lines.front();
    EXPECT_EQ(lines[0].at("kind"), "damage");
    EXPECT_EQ(lines[0].at("what"), "entry");
    EXPECT_EQ(lines[0].at("digest"), digest);
    EXPECT_THAT(lines[0].at("why").get<std::string>(), HasSubstr(why));
    EXPECT_EQ(lines[1].at("damaged_entries"), 1);
    EXPECT_EQ(lines[1].at("entries"), 3);
  }

  std::string small_;
  std::string big_;
};

TEST_F(VerifyCommand, FindsNothingWhereNothingIsAndMakesNothing) {
  const Answer answer = run({"verify", "--dir", (scratch_ / "none").string()});
  EXPECT_EQ(answer.status, 0) << answer.err;
  EXPECT_THAT(answer.out, StartsWith("Nothing "));
  EXPECT_FALSE(fs::exists(scratch_ / "none"));
}

TEST_F(VerifyCommand, SaysThatASoundCacheIsSound) {
  const Answer answer = in_cache({"verify"});
  EXPECT_EQ(answer.status, 0) << answer.err;
  EXPECT_THAT(answer.out, AllOf(HasSubstr(directory()), HasSubstr("4 sound entries"),
                                HasSubstr("2 with a file"), HasSubstr("It is sound.")));
  EXPECT_EQ(answer.err, "") << "progress, but no terminal";
}

TEST_F(VerifyCommand, CountsWhatItHasRead) {
  for (int i = 0; i < 1000; ++i) put("cachier:many(x)", i, text("x"));
  put("cachier:login(password)", std::string("hunter2"), text("ok"), true);
  Value none = Value::of_bytes(Codec::cbor, "\xf6");
  none.set_none(true);
  put("cachier:none", 7, none);
  sql("UPDATE functions SET epoch = epoch + 1 WHERE name = 'cachier:a.f(x)'");
  const auto lines = findings();
  ASSERT_EQ(lines.size(), 1U) << lines.front();
  EXPECT_EQ(lines[0].at("entries"), 1004);
  EXPECT_EQ(lines[0].at("entries_in_files"), 2);
  EXPECT_EQ(lines[0].at("cleared_rows"), 2);
  EXPECT_EQ(lines[0].at("set_aside_databases"), 0);
}

TEST_F(VerifyCommand, ChangesNothing) {
  sql("UPDATE entries SET size = size + 1" + where(small_));
  fs::remove(value_file_of(big_));
  close();
  const auto all = [this] {
    std::map<std::string, std::string> files;
    for (const auto& one : fs::recursive_directory_iterator(directory())) {
      // SQLite notes its readers in the index of the log.
      if (!one.is_regular_file() || one.path().string().ends_with("-shm")) continue;
      files[one.path()] = contents(one.path());
    }
    return files;
  };
  const auto before = all();
  EXPECT_EQ(in_cache({"verify"}).status, 1);
  EXPECT_TRUE(all() == before);
}

TEST_F(VerifyCommand, NamesTheDamagedCallToPeople) {
  sql("UPDATE entries SET stored_at = stored_at + 1" + where(small_));
  const Answer answer = in_cache({"verify"});
  EXPECT_EQ(answer.status, 1);
  EXPECT_THAT(answer.out,
              AllOf(HasSubstr("a.f(x=1)"), HasSubstr("its checksum does not hold"),
                    HasSubstr("1 damaged entry"), HasSubstr("cachier repair")));
}

TEST_F(VerifyCommand, FindsAFlippedBitInAnEnvelope) {
  sql("UPDATE entries SET envelope = CAST(substr(envelope, 1, length(envelope) - 1) || "
      "x'01' AS BLOB)" +
      where(small_));
  expect_one(small_, "checksum");
}

TEST_F(VerifyCommand, FindsAMarkThatIsNotThatOfTheEnvelope) {
  for (const std::string mark : {"version", "stored_at"}) {
    sql("UPDATE entries SET " + mark + " = " + mark + " + 1" + where(small_));
    expect_one(small_, "checksum");
    sql("UPDATE entries SET " + mark + " = " + mark + " - 1" + where(small_));
    EXPECT_EQ(findings().size(), 1U) << "as it was";
  }
}

TEST_F(VerifyCommand, FindsRowsThatContradictTheirEnvelope) {
  sql("UPDATE entries SET size = 7" + where(small_));
  expect_one(small_, "its row says 7");
  sql("UPDATE entries SET size = 4, flags = 1" + where(small_));
  expect_one(small_, "empty answer");
  sql("UPDATE entries SET flags = 0, epoch = epoch + 1" + where(small_));
  expect_one(small_, "epoch");
  sql("UPDATE entries SET epoch = epoch - 1, envelope = NULL" + where(small_));
  expect_one(small_, "envelope is not there");
}

TEST_F(VerifyCommand, FindsRowsInTheWrongPlace) {
  sql("UPDATE entries SET id = id + 1" + where(small_));
  expect_one(small_, "not in the row of its digest");
  sql("UPDATE entries SET id = id - 1" + where(small_));
  EXPECT_EQ(findings().size(), 1U) << "as it was";
  sql("UPDATE entries SET id = id + (100 << 44)" + where(small_));
  expect_one(small_, "its function");
}

TEST_F(VerifyCommand, FindsADigestThatIsNotThatOfTheKey) {
  // One that belongs in the same row: only the key tells.
  const std::string forged = "00000000000000000000000000000000";
  sql("UPDATE entries SET id = id >> 44 << 44, digest = x'" + forged + "'" +
      where(small_));
  expect_one(forged, "digest is not that of its key");
}

TEST_F(VerifyCommand, FindsDamagedValueFiles) {
  const fs::path path = value_file_of(big_);
  const std::string sound = contents(path);
  for (const std::size_t at : {0UL, 5UL, 12UL, 50UL, 5'000UL, sound.size() - 1}) {
    flip(path, at, 1);
    expect_one(big_, "");
    flip(path, at, 1);
  }
  for (const std::size_t size : {0UL, 1UL, 11UL, 4096UL, sound.size() - 1}) {
    fs::resize_file(path, size);
    expect_one(big_, "");
    std::ofstream(path, std::ios::binary) << sound;
  }
  fs::resize_file(path, sound.size() + 1);
  expect_one(big_, "value file");
  fs::remove(path);
  expect_one(big_, "value file is not there");
}

TEST_F(VerifyCommand, FindsSwappedValueFiles) {
  const auto files = value_files(file("c1.values"));
  ASSERT_EQ(files.size(), 2U);
  fs::rename(files[0], scratch_ / "aside");
  fs::rename(files[1], files[0]);
  fs::rename(scratch_ / "aside", files[1]);
  const auto lines = findings();
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_EQ(lines[0].at("function"), "cachier:a.big(x)");
  EXPECT_EQ(lines[2].at("damaged_entries"), 2);
}

TEST_F(VerifyCommand, FindsValueFilesOfNobody) {
  close();  // an open store collects them
  const fs::path path = value_file_of(big_);
  std::string name = path.filename();
  name.back() = name.back() == '0' ? '1' : '0';
  const fs::path orphan = path.parent_path() / name;
  fs::copy_file(path, orphan);
  const fs::path being_written = fs::path(file("c1.values")) / "0123456789abcdef.new";
  std::ofstream(being_written) << "half";
  auto lines = findings();
  ASSERT_EQ(lines.size(), 2U) << lines.front();
  EXPECT_EQ(lines[0].at("what"), "orphan");
  EXPECT_EQ(lines[0].at("file"), orphan.string());
  EXPECT_EQ(lines[1].at("entries"), 4);
  EXPECT_EQ(lines[1].at("orphans"), 1);

  fs::last_write_time(being_written,
                      fs::file_time_type::clock::now() - std::chrono::hours(2));
  EXPECT_EQ(findings().back().at("orphans"), 2);
}

TEST_F(VerifyCommand, FindsADamagedDatabase) {
  for (int i = 0; i < 500; ++i) put("cachier:many(x)", i, text(std::string(1000, 'x')));
  close();
  move_log_into(file("c1.db"));
  flip(file("c1.db"), 40 * 4096, 4096);
  const Answer answer = in_cache({"verify"});
  EXPECT_EQ(answer.status, 1);
  EXPECT_THAT(answer.out, AllOf(StartsWith("database " + file("c1.db")),
                                HasSubstr("It is damaged")));
  EXPECT_FALSE(fs::exists(file("c2.db"))) << "it only looks";
  flip(file("c1.db"), 0, 4096);
  EXPECT_EQ(findings().front().at("what"), "database");
  EXPECT_FALSE(fs::exists(file("c2.db"))) << "it only looks";
}

TEST_F(VerifyCommand, TellsOfDatabasesThatWereSetAside) {
  close();
  flip(file("c1.db"), 0, 4096);
  put("cachier:a.f(x)", 1, text("one"));  // sets it aside
  const auto lines = findings();
  ASSERT_EQ(lines.size(), 1U) << lines.front();
  EXPECT_EQ(lines[0].at("generation"), 2);
  EXPECT_EQ(lines[0].at("set_aside_databases"), 1);
  EXPECT_GT(lines[0].at("set_aside_bytes"), 2 * kBig);
}

TEST_F(VerifyCommand, FindsADamagedTable) {
  close();
  fs::resize_file(file("table"), 1000);
  auto lines = findings();
  ASSERT_EQ(lines.size(), 2U) << lines.front();
  EXPECT_EQ(lines[0].at("what"), "table");
  EXPECT_EQ(lines[1].at("entries"), 4);
  fs::remove(file("table"));
  EXPECT_EQ(findings().size(), 1U) << "it is made anew when it is needed";
}

TEST_F(VerifyCommand, FindsATableThatNamesAnotherDatabase) {
  close();
  {
    std::fstream table(file("table"), std::ios::binary | std::ios::in | std::ios::out);
    table.seekp(64);
    table.put(9);
  }
  const auto lines = findings();
  ASSERT_EQ(lines.size(), 2U) << lines.front();
  EXPECT_EQ(lines[0].at("what"), "table");
  EXPECT_THAT(lines[0].at("why").get<std::string>(), HasSubstr("c9.db"));
  EXPECT_EQ(lines[1].at("entries"), 4);
}

TEST_F(VerifyCommand, TakesNothingThatChangesMeanwhileForDamage) {
  std::atomic<bool> enough = false;
  store();
  std::thread writer([&] {
    for (int i = 0; !enough; ++i) {
      put("cachier:a.big(x)", i % 3, big(static_cast<char>('a' + i % 26)));
      put("cachier:a.f(x)", i % 50, text(std::to_string(i)));
      if (i % 40 == 0) (void)store().clear({}, Clear::entries, soon());
    }
  });
  for (int round = 0; round < 20; ++round) {
    const Answer answer = in_cache({"verify"});
    EXPECT_EQ(answer.status, 0) << answer.out << answer.err;
  }
  enough = true;
  writer.join();
}

}  // namespace
}  // namespace cachier::test
