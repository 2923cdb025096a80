/// `cachier repair`: removes what is damaged, and saves what is not.

#include "command_line.hpp"
#include "damage.hpp"
#include "support/eventually.hpp"

#include <sys/stat.h>

#include <atomic>
#include <map>
#include <thread>

namespace cachier::test {
namespace {

namespace fs = std::filesystem;

class RepairCommand : public CommandLine {
 protected:
  json repaired() {
    const Answer answer = in_cache({"repair", "--yes", "--json"});
    EXPECT_EQ(answer.status, 0) << answer.out << answer.err;
    const auto lines = answer.objects();
    EXPECT_FALSE(lines.empty()) << answer.err;
    if (lines.empty()) return {};
    EXPECT_EQ(lines.back().at("kind"), "repair");
    EXPECT_EQ(lines.back().at("sound"), true);
    EXPECT_EQ(in_cache({"verify"}).status, 0);
    return lines.back();
  }

  /// Every entry as `ls` lists it, but for its age.
  std::map<std::string, json> listed() {
    std::map<std::string, json> entries;
    for (json& line : in_cache({"ls", "-e", "--json"}).objects()) {
      line.erase("age_seconds");
      entries[line.at("digest")] = line;
    }
    return entries;
  }

  /// Calls with numbers, in two functions, some with value files.
  void fill(int from, int to) {
    for (int i = from; i < to; ++i) {
      put("cachier:a.f(x)", i, text(std::string(1'000, 'x') + std::to_string(i)));
      if (i % 20 == 0) put("cachier:b.big(x)", i, big(static_cast<char>('a' + i / 20)));
    }
  }

  /// As the end of all programs leaves it, all of it in the database.
  void settle() {
    close();
    move_log_into(file("c1.db"));
  }
};

TEST_F(RepairCommand, DoesNothingWhereNothingIs) {
  const Answer answer = in_cache({"repair", "-y"});
  EXPECT_EQ(answer.status, 0) << answer.err;
  EXPECT_THAT(answer.out, StartsWith("Nothing "));
  EXPECT_FALSE(fs::exists(directory()));
}

TEST_F(RepairCommand, DoesNotRepairWithoutBeingAsked) {
  const std::string digest = put("cachier:f", 1, text("x"));
  run_sql_in(file("c1.db"), "UPDATE entries SET size = 7");
  for (const auto& words : {std::vector<std::string>{"repair"}, {"repair", "--json"}}) {
    const Answer answer = in_cache(words);
    EXPECT_EQ(answer.status, 2);
    EXPECT_THAT(answer.err, HasSubstr("--yes"));
  }
  EXPECT_EQ(in_cache({"verify"}).status, 1);
}

TEST_F(RepairCommand, LeavesWhatIsSoundAlone) {
  fill(0, 40);
  const auto before = listed();
  const Answer answer = in_cache({"repair", "-y"});
  EXPECT_EQ(answer.status, 0) << answer.err;
  EXPECT_THAT(answer.out, StartsWith("There is nothing to repair"));
  EXPECT_EQ(repaired().at("removed_entries"), 0);
  EXPECT_EQ(listed(), before);
}

TEST_F(RepairCommand, RemovesDamagedEntriesAndNoOthers) {
  fill(0, 300);
  run_sql_in(file("c1.db"),
             "UPDATE entries SET size = size + 1 WHERE id IN (SELECT id FROM entries "
             "WHERE flags = 0 LIMIT 250)");
  run_sql_in(file("c1.db"),
             "UPDATE entries SET version = 'text' WHERE id = (SELECT max(id) FROM "
             "entries WHERE id >> 44 = 1)");
  const auto files = value_files(file("c1.values"));
  ASSERT_EQ(files.size(), 15U);
  fs::remove(files[0]);
  fs::resize_file(files[1], 5'000);
  fs::copy_file(files[2],
                files[2].parent_path() /
                    (files[2].filename().string().substr(0, 17) + "0123456789abcdef"));
  const json done = repaired();
  EXPECT_EQ(done.at("removed_entries"), 250 + 1 + 2);
  EXPECT_EQ(done.at("removed_orphans"), 1);
  EXPECT_EQ(done.at("database_set_aside"), false);
  EXPECT_EQ(entries(), 315U - 253U);
  EXPECT_EQ(value_files(file("c1.values")).size(), 13U);
}

TEST_F(RepairCommand, LetsWhoComputesADamagedEntryStoreIt) {
  put("cachier:f(x)", 1, text("damaged"));
  run_sql_in(file("c1.db"), "UPDATE entries SET stored_at = stored_at + 1");
  cbor::Writer key;
  encode_call(key, 1);
  const Function& function = Function::intern("cachier:f(x)");
  const Id id{.function = &function,
              .digest = digest_of(function, key.view()),
              .key = key.view(),
              .hashed = false};
  // Not out of what it remembers.
  close();
  const auto look = store().look(id, {}, soon());
  ASSERT_TRUE(look);
  ASSERT_EQ(look->claim, Look::Claim::granted);
  EXPECT_TRUE(look->damaged);

  EXPECT_EQ(repaired().at("removed_entries"), 1);
  Change change;
  change.value = text("computed");
  change.token = look->token;
  const auto stored = store().commit(id, change, soon());
  EXPECT_TRUE(stored) << stored.error().message();
  EXPECT_EQ(entries(), 1U);
}

TEST_F(RepairCommand, ProgramsSeeAtOnceThatAnEntryIsGone) {
  put("cachier:f(x)", 1, text("damaged"));
  cbor::Writer key;
  encode_call(key, 1);
  const Function& function = Function::intern("cachier:f(x)");
  const Id id{.function = &function,
              .digest = digest_of(function, key.view()),
              .key = key.view(),
              .hashed = false};
  ASSERT_TRUE(store().look(id, {}, soon())->entry) << "remembered from here on";
  run_sql_in(file("c1.db"), "UPDATE entries SET stored_at = stored_at + 1");
  EXPECT_EQ(repaired().at("removed_entries"), 1);
  EXPECT_FALSE(store().look(id, {}, soon())->entry);
}

TEST_F(RepairCommand, SavesWhatADamagedPageLeavesOfADatabase) {
  fill(0, 600);
  const auto before = listed();
  settle();
  const auto pages = fs::file_size(file("c1.db")) / 4096;
  ASSERT_GT(pages, 100U);
  flip(file("c1.db"), pages / 2 * 4096, 4096);
  ASSERT_EQ(in_cache({"verify"}).status, 1);

  const json done = repaired();
  EXPECT_EQ(done.at("database_set_aside"), true);
  EXPECT_EQ(done.at("rescued_from"), file("c1.db"));
  EXPECT_GE(done.at("saved_entries").get<std::uint64_t>(), before.size() - 20);
  EXPECT_FALSE(fs::exists(file("c1.db")));
  EXPECT_FALSE(fs::exists(file("c1.values")));
  const auto after = listed();
  EXPECT_EQ(after.size(), done.at("saved_entries"));
  for (const auto& [digest, entry] : after) {
    ASSERT_TRUE(before.contains(digest));
    EXPECT_EQ(entry, before.at(digest)) << "with its time and its key";
  }
  EXPECT_THAT(in_cache({"show", "b.big", "--json"}).err, HasSubstr("it has 30"));
  // Nothing is saved twice.
  EXPECT_TRUE(repaired().at("rescued_from").is_null());
}

TEST_F(RepairCommand, KilledAtAnyMomentItCanBeDoneAgain) {
  fill(0, 400);
  const auto before = listed();
  settle();
  flip(file("c1.db"), fs::file_size(file("c1.db")) / 4096 / 2 * 4096, 4096);
  const fs::path damaged = scratch_ / "damaged";
  fs::copy(directory(), damaged, fs::copy_options::recursive);
  for (int round = 0; round < 6; ++round) {
    fs::remove_all(directory());
    fs::copy(damaged, directory(), fs::copy_options::recursive);
    run({"repair", "--yes", "--dir", directory()}, nullptr,
        std::chrono::milliseconds(4 + 8 * round));
    repaired();
    const auto after = listed();
    EXPECT_GE(after.size() + 20, before.size()) << round;
    for (const auto& [digest, entry] : after) EXPECT_EQ(entry, before.at(digest));
    const auto stats = in_cache({"stats", "--json"}).objects();
    EXPECT_EQ(stats.front().at("entries"), after.size()) << round;
  }
}

TEST_F(RepairCommand, SavesWhatIsBetweenDamagedPages) {
  fill(0, 2'000);
  const auto before = listed();
  settle();
  const auto pages = fs::file_size(file("c1.db")) / 4096;
  for (const auto at : {pages / 4, pages / 2, pages / 4 * 3})
    flip(file("c1.db"), at * 4096, 4096);
  const json done = repaired();
  EXPECT_EQ(done.at("read_completely"), false);
  EXPECT_GE(done.at("saved_entries").get<std::uint64_t>(), before.size() - 60);
}

TEST_F(RepairCommand, SavesWhatIsBeforeRowsInDisorder) {
  fill(0, 600);
  const auto before = listed();
  settle();
  disorder_last_rows(file("c1.db"));
  const Answer seen = in_cache({"verify"});
  ASSERT_EQ(seen.status, 1) << "it ends";
  EXPECT_THAT(seen.out, HasSubstr("order"));
  const json done = repaired();
  EXPECT_EQ(done.at("database_set_aside"), true);
  EXPECT_GE(done.at("saved_entries").get<std::uint64_t>(), before.size() - 30);
  for (const auto& [digest, entry] : listed()) EXPECT_EQ(entry, before.at(digest));
}

TEST_F(RepairCommand, SavesWhatWasSetAsideByAProgram) {
  fill(0, 600);
  const auto before = listed();
  settle();
  flip(file("c1.db"), fs::file_size(file("c1.db")) / 4096 / 2 * 4096, 4096);
  // Whoever finds it sets it aside, and goes on with an empty one.
  ASSERT_TRUE(eventually([&, i = 0]() mutable {
    put("cachier:a.f(x)", i++ % 600, text("anew"));
    return fs::exists(file("c2.db"));
  }));
  const auto anew = listed();

  const json done = repaired();
  EXPECT_EQ(done.at("database_set_aside"), false);
  EXPECT_EQ(done.at("rescued_from"), file("c1.db"));
  EXPECT_GE(done.at("saved_entries").get<std::uint64_t>() + anew.size(),
            before.size() - 20);
  const auto after = listed();
  for (const auto& [digest, entry] : anew)
    EXPECT_EQ(after.at(digest), entry) << "what is newer stays";
}

/// A database that was set aside by a program, which goes on with another.
class RepairAfterwards : public RepairCommand {
 protected:
  void SetUp() override {
    put("cachier:f(x)", 1, text("one"));
    put("cachier:f(x)", 2, text("two"));
    put("cachier:g(x)", 1, text("three"));
    // What the set-aside database has, page by page, once it is another's.
    fill(0, 100);
    settle();
    const auto size = fs::file_size(file("c1.db"));
    const auto half = size / 2 / 4096 * 4096;
    flip(file("c1.db"), half, size - half);
    // Mending is not tried at once again where it failed, on a busy disk for one.
    ASSERT_TRUE(eventually([&, i = 0]() mutable {
      put("cachier:h(x)", i++ % 200, text("h"));
      return fs::exists(file("c2.db"));
    }));
  }

  std::uint64_t entries_of(const std::string& function) {
    return in_cache({"ls", function, "--json"}).objects().size();
  }
};

TEST_F(RepairAfterwards, WhatWasNotClearedIsSaved) {
  repaired();
  EXPECT_EQ(entries_of("cachier:f(x)"), 2U);
  EXPECT_EQ(entries_of("cachier:g(x)"), 1U);
}

TEST_F(RepairAfterwards, WhatWasClearedSinceIsNotSaved) {
  ASSERT_EQ(in_cache({"clear", "cachier:f(x)", "-y"}).status, 0);
  EXPECT_GE(repaired().at("cleared_since"), 2);
  EXPECT_EQ(entries_of("cachier:f(x)"), 0U);
  EXPECT_EQ(entries_of("cachier:g(x)"), 1U);
}

TEST_F(RepairAfterwards, WhatWasAllClearedSinceIsNotSaved) {
  ASSERT_EQ(in_cache({"clear", "-y"}).status, 0);
  EXPECT_EQ(repaired().at("saved_entries"), 0);
  EXPECT_EQ(entries(), 0U);
}

TEST_F(RepairAfterwards, WhatWasErasedSinceIsNotSaved) {
  cbor::Writer key;
  encode_call(key, 1);
  const Function& function = Function::intern("cachier:f(x)");
  const Id id{.function = &function,
              .digest = digest_of(function, key.view()),
              .key = key.view(),
              .hashed = false};
  Change erase;
  erase.kind = Change::Kind::erase;
  ASSERT_TRUE(store().commit(id, erase, soon()));
  EXPECT_EQ(repaired().at("replaced_since"), 1);
  EXPECT_EQ(entries_of("cachier:f(x)"), 1U);
}

TEST_F(RepairCommand, SaysThatNothingCouldBeSaved) {
  put("cachier:f", 1, text("x"));
  settle();
  flip(file("c1.db"), 0, 4096);
  const Answer answer = in_cache({"repair", "-y"});
  EXPECT_EQ(answer.status, 0) << answer.err;
  EXPECT_THAT(answer.out, AllOf(HasSubstr("Set the damaged database aside"),
                                HasSubstr("Nothing could be saved of " + file("c1.db")),
                                HasSubstr("It is sound now.")));
  EXPECT_TRUE(fs::exists(file("c1.db"))) << "others may read more of it";
}

TEST_F(RepairCommand, MakesADamagedTableAnew) {
  fill(0, 40);
  const auto before = listed();
  close();
  {
    std::fstream table(file("table"), std::ios::binary | std::ios::in | std::ios::out);
    table.seekp(64);
    table.put(9);
  }
  EXPECT_EQ(repaired().at("table_replaced"), true);
  EXPECT_EQ(listed(), before);
  fs::resize_file(file("table"), 100);
  EXPECT_EQ(repaired().at("table_replaced"), true);
  EXPECT_EQ(listed(), before);
}

TEST_F(RepairCommand, MakesATableAnewWhereThereIsAFifo) {
  fill(0, 3);
  settle();
  fs::remove(file("table"));
  ASSERT_EQ(::mkfifo(file("table").c_str(), 0600), 0);
  EXPECT_EQ(in_cache({"verify"}).status, 1);
  EXPECT_EQ(repaired().at("table_replaced"), true);
}

TEST_F(RepairCommand, NobodyWaitsForAFifoInPlaceOfTheDatabase) {
  fill(0, 3);
  settle();
  fs::remove(file("c1.db"));
  ASSERT_EQ(::mkfifo(file("c1.db").c_str(), 0600), 0);
  for (const char* command : {"ls", "stats", "verify"}) {
    const Answer answer = in_cache({command});
    EXPECT_EQ(answer.status, 1) << command;
    EXPECT_THAT(answer.out + answer.err, HasSubstr("it is not a regular file"));
  }
  EXPECT_EQ(in_cache({"repair", "--yes"}).status, 1);
}

TEST_F(RepairCommand, RebuildsADamagedIndex) {
  fill(0, 40);
  settle();
  const auto before = listed();
  // The one index, of functions' names: another letter there than in the table.
  const auto root = run_sql_in(
      file("c1.db"), "SELECT rootpage FROM sqlite_schema WHERE type = 'index'");
  std::string page =
      contents(file("c1.db")).substr(static_cast<std::size_t>(root - 1) * 4096, 4096);
  const std::size_t at = page.find("cachier:b.big");
  ASSERT_NE(at, std::string::npos);
  flip(file("c1.db"), static_cast<std::size_t>(root - 1) * 4096 + at + 8, 1);
  EXPECT_EQ(in_cache({"verify"}).status, 1);
  repaired();
  EXPECT_EQ(listed(), before);
}

TEST_F(RepairCommand, ProgramsGoOnMeanwhile) {
  fill(0, 300);
  settle();
  flip(file("c1.db"), fs::file_size(file("c1.db")) / 4096 / 2 * 4096, 4096);
  std::atomic<bool> enough = false;
  std::thread program([&] {
    for (int i = 0; !enough; ++i) {
      put("cachier:c.own(x)", i % 100, text(std::to_string(i)));
      put("cachier:b.big(x)", i % 3 * 20, big('z'));
    }
  });
  const Answer answer = in_cache({"repair", "--yes"});
  enough = true;
  program.join();
  EXPECT_EQ(answer.status, 0) << answer.out << answer.err;
  EXPECT_EQ(in_cache({"verify"}).status, 0);
}

TEST_F(RepairCommand, ADryRunSaysWhatItWouldDoAndChangesNothing) {
  fill(0, 40);
  const Answer sound = in_cache({"repair", "--dry-run"});
  EXPECT_EQ(sound.status, 0) << sound.err;
  EXPECT_THAT(sound.out, StartsWith("There is nothing to repair"));

  run_sql_in(file("c1.db"), "UPDATE entries SET size = size + 1 WHERE flags = 0");
  const Answer answer = in_cache({"repair", "--dry-run"});
  EXPECT_EQ(answer.status, 1);
  EXPECT_THAT(answer.out, AllOf(HasSubstr("Would do, in " + directory() + ": "),
                                HasSubstr("Remove 40 damaged entries.")));
  const json plan = in_cache({"repair", "-n", "--json"}).objects().back();
  EXPECT_EQ(plan.at("kind"), "plan");
  EXPECT_EQ(plan.at("sound"), false);
  EXPECT_EQ(plan.at("remove_entries"), 40);
  EXPECT_EQ(plan.at("set_database_aside"), false);
  EXPECT_EQ(entries(), 42U);
  EXPECT_EQ(in_cache({"verify"}).status, 1);
}

TEST_F(RepairCommand, DiscardThrowsAwayWhatIsSetAsideOnceItIsRead) {
  fill(0, 600);
  const auto before = listed();
  settle();
  flip(file("c1.db"), fs::file_size(file("c1.db")) / 4096 / 2 * 4096, 4096);
  const Answer answer = in_cache({"repair", "--yes", "--discard"});
  EXPECT_EQ(answer.status, 0) << answer.err;
  EXPECT_GE(entries(), before.size() - 20);
  EXPECT_FALSE(fs::exists(file("c1.db")));

  close();
  move_log_into(file("c2.db"));
  flip(file("c2.db"), 0, 4096);
  const json plan =
      in_cache({"repair", "--dry-run", "--discard", "--json"}).objects().back();
  EXPECT_EQ(plan.at("discard"), true);
  ASSERT_EQ(in_cache({"repair", "--yes"}).status, 0);
  ASSERT_TRUE(fs::exists(file("c2.db"))) << "nothing of it could be saved";
  ASSERT_TRUE(fs::exists(file("c2.values")));
  const auto lines = in_cache({"repair", "--yes", "--discard", "--json"}).objects();
  EXPECT_EQ(lines.back().at("discarded_databases"), 1);
  EXPECT_GT(lines.back().at("discarded_bytes"), kBig);
  EXPECT_FALSE(fs::exists(file("c2.db")));
  EXPECT_FALSE(fs::exists(file("c2.values")));
  EXPECT_TRUE(fs::exists(file("c3.db")));
  put("cachier:f", 1, text("x"));
  EXPECT_EQ(entries(), 1U);
}

/// Entries in files of their own.
class FilesCommand : public RepairCommand {
 protected:
  FilesCommand() { separate_files_ = true; }

  /// The files of entries, sorted.
  std::vector<fs::path> files() {
    auto all = value_files(directory() + "/v1-files/f");
    std::erase_if(
        all, [](const fs::path& one) { return one.parent_path().filename() != "e"; });
    return all;
  }
  void fill_files(int count) {
    for (int i = 0; i < count; ++i)
      put("cachier:a.f(x)", i, text(std::string(300, 'x')));
  }
};

TEST_F(FilesCommand, SoundEntriesAreCounted) {
  fill_files(5);
  separate_files_ = false;
  put("cachier:b", 1, text("in the database"));
  const Answer answer = in_cache({"verify"});
  EXPECT_EQ(answer.status, 0) << answer.out;
  EXPECT_THAT(answer.out, HasSubstr("6 sound entries, 5 with a file of its own"));
  const json summary = in_cache({"verify", "--json"}).objects().back();
  EXPECT_EQ(summary.at("kind"), "summary");
  EXPECT_EQ(summary.at("entries"), 6);
  EXPECT_EQ(summary.at("separate_files"), 5);
}

TEST_F(FilesCommand, ATombstoneIsNoDamage) {
  fill_files(2);
  cbor::Writer key;
  encode_call(key, 1);
  const Function& function = Function::intern("cachier:a.f(x)");
  const Id id{.function = &function,
              .digest = digest_of(function, key.view()),
              .key = key.view(),
              .hashed = false};
  Change erase;
  erase.kind = Change::Kind::erase;
  ASSERT_TRUE(store().commit(id, erase, soon()));
  const json summary = in_cache({"verify", "--json"}).objects().back();
  EXPECT_EQ(summary.at("entries"), 1);
  EXPECT_EQ(summary.at("erased_marks"), 1);
}

TEST_F(FilesCommand, EveryKindOfDamageIsToldAndRemoved) {
  fill_files(12);
  put("cachier:other", 1, text("sound"));
  auto all = files();
  std::erase_if(all, [](const fs::path& one) {
    return one.string().find("other") != std::string::npos;
  });
  ASSERT_EQ(all.size(), 12U);
  const auto size = fs::file_size(all[0]);
  flip(all[0], 0, 1);         // its head
  flip(all[1], 10, 1);        // the time, which the checksum covers
  flip(all[2], size - 5, 1);  // its value
  fs::resize_file(all[3], size - 1);
  fs::resize_file(all[4], 0);
  fs::rename(all[5], all[6]);  // under the name of another
  fs::permissions(all[7], fs::perms::others_write, fs::perm_options::add);
  fs::remove(all[8]);
  fs::create_symlink(all[9], all[8]);
  // In the folder of another function.
  for (const auto& one : files()) {
    if (one.string().find("other") == std::string::npos) continue;
    fs::rename(all[10], one.parent_path() / all[10].filename());
    break;
  }
  const std::string state = all[0].parent_path().parent_path() / "state";
  std::ofstream(state) << "damaged";

  const Answer answer = in_cache({"verify", "--json"});
  EXPECT_EQ(answer.status, 1);
  const json summary = answer.objects().back();
  EXPECT_EQ(summary.at("damaged_entries"), 9);
  EXPECT_EQ(summary.at("state_faults"), 1);
  EXPECT_EQ(summary.at("entries"), 3) << "9, 11, and that of the other function";
  for (const json& line : answer.objects()) {
    if (line.at("kind") != "damage" || line.at("what") != "entry") continue;
    EXPECT_FALSE(line.at("why").get<std::string>().empty());
    EXPECT_EQ(line.at("digest"),
              fs::path(line.at("file").get<std::string>()).filename().string());
  }

  const json done = repaired();
  EXPECT_EQ(done.at("removed_entries"), 9);
  EXPECT_EQ(done.at("removed_states"), 1);
  EXPECT_EQ(entries(), 3U);
  EXPECT_EQ(files().size(), 3U);
}

TEST_F(FilesCommand, WhatWasLeftHalfWrittenIsAnOrphanAfterAnHour) {
  fill_files(1);
  const fs::path old = directory() + "/v1-files/aside/0123456789abcdef.new";
  const fs::path young = directory() + "/v1-files/aside/fedcba9876543210.new";
  std::ofstream(old) << "half";
  std::ofstream(young) << "half";
  fs::last_write_time(old, fs::last_write_time(old) - std::chrono::hours(2));
  const json summary = in_cache({"verify", "--json"}).objects().back();
  EXPECT_EQ(summary.at("orphans"), 1);
  EXPECT_EQ(repaired().at("removed_orphans"), 1);
  EXPECT_FALSE(fs::exists(old));
  EXPECT_TRUE(fs::exists(young));
}

TEST_F(FilesCommand, WhoComputesADamagedEntryStoresIt) {
  fill_files(1);
  flip(files().front(), 10, 1);
  cbor::Writer key;
  encode_call(key, 0);
  const Function& function = Function::intern("cachier:a.f(x)");
  const Id id{.function = &function,
              .digest = digest_of(function, key.view()),
              .key = key.view(),
              .hashed = false};
  close();
  const auto look = store().look(id, {}, soon());
  ASSERT_TRUE(look);
  ASSERT_EQ(look->claim, Look::Claim::granted);
  const Answer answer = in_cache({"repair", "--yes"});
  EXPECT_EQ(answer.status, 1) << "it is left to whoever computes it: " << answer.out;
  Change change;
  change.value = text("computed");
  change.token = look->token;
  const auto stored = store().commit(id, change, soon());
  EXPECT_TRUE(stored) << stored.error().message();
  EXPECT_EQ(in_cache({"verify"}).status, 0);
}

TEST_F(FilesCommand, LookingMakesNothing) {
  EXPECT_EQ(in_cache({"verify"}).status, 0);
  EXPECT_EQ(in_cache({"repair", "--yes"}).status, 0);
  EXPECT_FALSE(fs::exists(directory()));
}

TEST_F(FilesCommand, ProgramsThatReplaceEntriesCauseNoFindings) {
  std::atomic<bool> enough = false;
  put("cachier:c.own(x)", 0, text("first"));
  std::thread program([&] {
    for (int i = 0; !enough; ++i)
      put("cachier:c.own(x)", i % 10, text(std::string(5'000, 'x')));
  });
  for (int i = 0; i < 10; ++i) EXPECT_EQ(in_cache({"verify"}).status, 0);
  enough = true;
  program.join();
}

}  // namespace
}  // namespace cachier::test
