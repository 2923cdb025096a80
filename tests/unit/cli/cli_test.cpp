/// The command line as a process, over a cache that the library filled.

#include "command_line.hpp"

namespace cachier::test {
namespace {

TEST_F(CommandLine, SaysItsVersion) {
  const Answer answer = run({"--version"});
  EXPECT_EQ(answer.status, 0);
  EXPECT_EQ(answer.out, "cachier " CACHIER_VERSION "\n");
}

TEST_F(CommandLine, ExplainsItself) {
  const Answer answer = run({"--help"});
  EXPECT_EQ(answer.status, 0);
  for (const char* command : {"ls", "show", "clear", "stats", "verify", "backends"}) {
    EXPECT_THAT(answer.out, HasSubstr(command));
    EXPECT_EQ(run({command, "--help"}).status, 0);
  }
}

TEST_F(CommandLine, TellsWrongUsageFromFailure) {
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{},
        {"nosuch"},
        {"ls", "--sort", "colour"},
        {"show"},
        {"clear", "--older-than", "7"},
        {"clear", "--nosuch"},
        {"clear", "--claims", "--older-than", "7d", "--yes"}}) {
    const Answer answer = run(words);
    EXPECT_EQ(answer.status, 2) << answer.err;
    EXPECT_THAT(answer.out, IsEmpty());
    EXPECT_THAT(answer.err, Not(IsEmpty()));
  }
}

TEST_F(CommandLine, NamesACommandThatThereIsNot) {
  const Answer answer = run({"nosuch", "--dir", "somewhere"});
  EXPECT_EQ(answer.status, 2);
  EXPECT_THAT(answer.err, StartsWith("cachier: there is no command 'nosuch'\n"));
}

TEST_F(CommandLine, ListsNothingWhereNothingIsAndMakesNothing) {
  for (const char* command : {"ls", "clear"}) {
    const Answer answer =
        in_cache({command, command == std::string("ls") ? "-e" : "-y"});
    EXPECT_EQ(answer.status, 0) << answer.err;
    EXPECT_THAT(answer.out, AllOf(StartsWith("Nothing "), HasSubstr(directory())));
    EXPECT_FALSE(std::filesystem::exists(directory()));
  }
  EXPECT_EQ(in_cache({"ls", "--json"}).out, "");
  EXPECT_EQ(in_cache({"show", "abcd"}).status, 1);
  EXPECT_FALSE(std::filesystem::exists(directory()));
}

TEST_F(CommandLine, LeavesAnEmptyDirectoryEmpty) {
  std::filesystem::create_directory(directory());
  EXPECT_EQ(in_cache({"ls"}).status, 0);
  EXPECT_TRUE(std::filesystem::is_empty(directory()));
}

TEST_F(CommandLine, LooksWhereTheLibraryDoes) {
  ::setenv("XDG_CACHE_HOME", scratch_.string().c_str(), 1);
  EXPECT_THAT(run({"ls"}).out, HasSubstr((scratch_ / "cachier").string()));
  ::unsetenv("XDG_CACHE_HOME");
}

TEST_F(CommandLine, ListsFunctionsForPrograms) {
  put("cachier:weather.run(model)", std::string("gfs"), text("sunny"));
  put("cachier:weather.run(model)", std::string("ecmwf"), text("rain"));
  put("cachier:other", 1, text("x"));

  const auto lines = in_cache({"ls", "--json"}).objects();
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0].at("function"), "cachier:other");
  EXPECT_EQ(lines[1].at("function"), "cachier:weather.run(model)");
  EXPECT_EQ(lines[1].at("entries"), 2);
  EXPECT_EQ(lines[1].at("bytes"), 6 + 5);
  EXPECT_LE(lines[1].at("oldest"), lines[1].at("newest"));
}

TEST_F(CommandLine, ListsFunctionsForPeople) {
  put("cachier:weather.run(model)", std::string("gfs"), text("sunny"));
  const Answer answer = in_cache({"ls"});
  EXPECT_EQ(answer.status, 0);
  EXPECT_THAT(answer.out, AllOf(StartsWith("FUNCTION"), HasSubstr("weather.run(model)"),
                                HasSubstr("6 B"), HasSubstr("1 function, 1 entry")));
  EXPECT_THAT(answer.out, Not(HasSubstr("\x1b"))) << "colours, but no terminal";
}

TEST_F(CommandLine, ListsEntriesWithTheirCalls) {
  const std::string digest =
      put("cachier:weather.run(model)", std::string("gfs"), text("sunny"));
  put("cachier:other", 1, text("x"));
  const Answer answer = in_cache({"ls", "run"});
  EXPECT_THAT(answer.out,
              AllOf(HasSubstr(digest.substr(0, 12)),
                    HasSubstr("weather.run(model='gfs')"), HasSubstr("cbor")));
  EXPECT_THAT(answer.out, Not(HasSubstr("other")));
  EXPECT_THAT(in_cache({"ls", "--entries"}).out, HasSubstr("other(1)"));
  EXPECT_THAT(in_cache({"ls", "nosuch"}).out, StartsWith("Nothing is cached for"));
}

TEST_F(CommandLine, ListsEntriesForPrograms) {
  const std::string digest = put("cachier:f(x)", 7, text("seven"));
  const auto lines = in_cache({"ls", "-e", "--json"}).objects();
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0].at("function"), "cachier:f(x)");
  EXPECT_EQ(lines[0].at("digest"), digest);
  EXPECT_EQ(lines[0].at("call"), "f(x=7)");
  EXPECT_EQ(lines[0].at("key"), "8107");
  EXPECT_EQ(lines[0].at("key_is_hash"), false);
  EXPECT_EQ(lines[0].at("size"), 6);
  EXPECT_EQ(lines[0].at("codec"), "cbor");
  EXPECT_THAT(lines[0].at("stored_at"), StartsWith("20"));
  EXPECT_GE(lines[0].at("age_seconds"), 0);
}

TEST_F(CommandLine, SortsAsToldTo) {
  put("cachier:a", 1, text("x"));
  put("cachier:b", 1, text(std::string(5000, 'x')));
  put("cachier:c", 1, text("xx"));
  const auto order = [this](const char* by) {
    std::string names;
    for (const json& line : in_cache({"ls", "-e", "--json", "--sort", by}).objects()) {
      names += line.at("function").get<std::string>().back();
    }
    return names;
  };
  EXPECT_EQ(order("name"), "abc");
  EXPECT_EQ(order("size"), "bca");
  EXPECT_EQ(order("age"), "cba");
}

TEST_F(CommandLine, ListsThousands) {
  for (int i = 0; i < 2500; ++i) put("cachier:f", i, text("x"));
  EXPECT_EQ(in_cache({"ls", "f", "--json"}).objects().size(), 2500U);
  EXPECT_EQ(entries(), 2500U);
}

TEST_F(CommandLine, EndsWithItsReader) {
  for (int i = 0; i < 2500; ++i) put("cachier:f", i, text("x"));
  const std::string command = std::string("'") + CACHIER_CLI +
                              "' ls -e --json --dir '" + directory() +
                              "' | head -n 1 | wc -l";
  FILE* const pipe = ::popen(command.c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  int lines = 0;
  EXPECT_EQ(std::fscanf(pipe, "%d", &lines), 1);
  EXPECT_EQ(::pclose(pipe), 0);
  EXPECT_EQ(lines, 1);
}

TEST_F(CommandLine, SaysThatItCannotWrite) {
  const Answer answer = run({"backends"}, "/dev/full");
  EXPECT_EQ(answer.status, 1);
  EXPECT_THAT(answer.err, HasSubstr("cannot write"));
}

TEST_F(CommandLine, ShowsAnEntryByTheBeginningOfItsDigest) {
  const std::string digest = put("cachier:f(x)", 7, text("seven"));
  const Answer answer = in_cache({"show", digest.substr(0, 8)});
  EXPECT_EQ(answer.status, 0) << answer.err;
  EXPECT_THAT(answer.out,
              AllOf(HasSubstr("cachier:f(x)"), HasSubstr("f(x=7)"), HasSubstr(digest),
                    HasSubstr("8107"), HasSubstr("6 bytes"), HasSubstr("'seven'")));
}

TEST_F(CommandLine, ShowsTheOneEntryOfAFunction) {
  put("cachier:f(x)", 7, text("seven"));
  EXPECT_THAT(in_cache({"show", "f"}).out, HasSubstr("'seven'"));
  put("cachier:f(x)", 8, text("eight"));
  const Answer answer = in_cache({"show", "f"});
  EXPECT_EQ(answer.status, 1);
  EXPECT_THAT(answer.err, AllOf(HasSubstr("it has 2"), HasSubstr("cachier ls 'f'")));
}

TEST_F(CommandLine, ShowsAnEntryToPrograms) {
  put("cachier:f(x)", 7, text("seven"));
  const auto lines = in_cache({"show", "f", "--json"}).objects();
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0].at("call"), "f(x=7)");
  EXPECT_EQ(lines[0].at("value"), "'seven'");
  EXPECT_EQ(lines[0].at("empty"), false);
  EXPECT_EQ(lines[0].at("exception"), false);
}

TEST_F(CommandLine, GivesTheStoredBytesAsTheyAre) {
  const std::string bytes("\x80\x05\x00\xff\n", 5);
  put("cachier:f", 7, Value::of_bytes(Codec::pickle, bytes));
  EXPECT_EQ(in_cache({"show", "f", "--raw"}).out, bytes);
}

TEST_F(CommandLine, LeavesPicklesToPython) {
  put("cachier:f", 7, Value::of_bytes(Codec::pickle, "whatever"));
  EXPECT_THAT(in_cache({"show", "f"}).out, HasSubstr("only Python"));
  EXPECT_TRUE(in_cache({"show", "f", "--json"}).objects().at(0).at("value").is_null());
}

TEST_F(CommandLine, CutsLongValuesUnlessAsked) {
  put("cachier:f", 7, text(std::string(100'000, 'v')));
  EXPECT_LT(in_cache({"show", "f"}).out.size(), 10'000U);
  EXPECT_GT(in_cache({"show", "f", "--full"}).out.size(), 100'000U);
}

TEST_F(CommandLine, ShowsEmptyAnswers) {
  Value none = Value::of_bytes(Codec::cbor, "\xf6");
  none.set_none(true);
  put("cachier:f", 7, none);
  EXPECT_THAT(in_cache({"show", "f"}).out,
              AllOf(HasSubstr("None"), HasSubstr("allow_none")));
}

TEST_F(CommandLine, HidesKeysThatAreHashes) {
  put("cachier:login(password)", std::string("hunter2"), text("ok"), true);
  const Answer list = in_cache({"ls", "-e"});
  const Answer show = in_cache({"show", "login"});
  EXPECT_THAT(list.out, AllOf(HasSubstr("sha256"), Not(HasSubstr("hunter2"))));
  EXPECT_THAT(show.out, AllOf(HasSubstr("SHA-256"), HasSubstr("'ok'")));
}

TEST_F(CommandLine, DoesNotLetStoredTextSteerTheTerminal) {
  put("cachier:evil%1B[31m", std::string("\x1b]0;title\x07"), text("\x1b[2J"));
  for (const Answer& answer :
       {in_cache({"ls"}), in_cache({"ls", "-e"}), in_cache({"show", "evil*"})}) {
    EXPECT_EQ(answer.status, 0) << answer.err;
    EXPECT_THAT(answer.out, Not(HasSubstr("\x1b")));
    EXPECT_THAT(answer.out, Not(HasSubstr("\x07")));
  }
}

TEST_F(CommandLine, DoesNotClearWithoutBeingAsked) {
  put("cachier:f", 7, text("x"));
  const Answer answer = in_cache({"clear"});
  EXPECT_EQ(answer.status, 2);
  EXPECT_THAT(answer.err, HasSubstr("--yes"));
  EXPECT_EQ(entries(), 1U);
}

TEST_F(CommandLine, ClearsOneFunction) {
  put("cachier:a.f", 7, text("x"));
  put("cachier:a.f", 8, text("x"));
  put("cachier:a.g", 7, text("x"));
  const Answer answer = in_cache({"clear", "f", "--yes"});
  EXPECT_EQ(answer.status, 0) << answer.err;
  EXPECT_EQ(answer.out, "Removed 2 entries.\n");
  EXPECT_EQ(entries(), 1U);
}

TEST_F(CommandLine, ClearsNothingWhereAWordMeansTwoFunctions) {
  put("cachier:a.f", 7, text("x"));
  put("cachier:b.f", 7, text("x"));
  const Answer answer = in_cache({"clear", "f", "--yes"});
  EXPECT_EQ(answer.status, 1);
  EXPECT_THAT(answer.err, AllOf(HasSubstr("a.f, b.f"), HasSubstr("'*f*'")));
  EXPECT_EQ(entries(), 2U);
  EXPECT_EQ(in_cache({"clear", "*.f", "--yes"}).status, 0);
  EXPECT_EQ(entries(), 0U);
}

TEST_F(CommandLine, ClearsAll) {
  put("cachier:f", 7, text("x"));
  put("cachier:g", 7, text("x"));
  EXPECT_EQ(in_cache({"clear", "-y"}).out, "Removed 2 entries.\n");
  EXPECT_EQ(entries(), 0U);
  EXPECT_THAT(in_cache({"ls"}).out, HasSubstr("is empty"));
}

TEST_F(CommandLine, ClearsOnlyWhatIsOld) {
  put("cachier:f", 7, text("x"));
  EXPECT_EQ(in_cache({"clear", "--older-than", "1h", "-y"}).out,
            "Removed 0 entries.\n");
  EXPECT_EQ(entries(), 1U);
  EXPECT_EQ(in_cache({"clear", "--older-than", "0s", "-y"}).out, "Removed 1 entry.\n");
  EXPECT_EQ(entries(), 0U);
}

TEST_F(CommandLine, FreesClaimsAndKeepsEntries) {
  put("cachier:f", 7, text("x"));
  const Id id{.function = &Function::intern("cachier:f"),
              .digest = {1, 2},
              .key = as_bytes("\x80"),
              .hashed = false};
  const auto first = store().look(id, {}, soon());
  ASSERT_TRUE(first);
  ASSERT_EQ(first->claim, Look::Claim::granted);
  ASSERT_EQ(store().look(id, {}, soon())->claim, Look::Claim::busy);

  const Answer answer = in_cache({"clear", "f", "--claims", "--yes"});
  EXPECT_EQ(answer.status, 0) << answer.err;
  EXPECT_EQ(store().look(id, {}, soon())->claim, Look::Claim::granted);
  EXPECT_EQ(entries(), 1U);
}

TEST_F(CommandLine, SaysWhatIsWrongWithADirectory) {
  std::ofstream(directory()) << "a file";
  const Answer answer = in_cache({"ls"});
  EXPECT_EQ(answer.status, 1);
  EXPECT_THAT(answer.err, AllOf(StartsWith("cachier: "), HasSubstr(directory()),
                                HasSubstr("cause:"), HasSubstr("fix:")));
}

TEST_F(CommandLine, KnowsEntriesInFilesOfTheirOwn) {
  separate_files_ = true;
  const std::string digest = put("cachier:pkg.f(x)", 3, text("in a file"));
  EXPECT_EQ(entries(), 1U);
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "cache/v1")) << "looking makes none";
  EXPECT_THAT(in_cache({"ls", "f"}).out, HasSubstr("pkg.f(x=3)"));
  EXPECT_THAT(in_cache({"show", digest.substr(0, 8)}).out, HasSubstr("in a file"));

  // Of both kinds, one of the same call.
  separate_files_ = false;
  put("cachier:pkg.f(x)", 3, text("newer, in the database"));
  put("cachier:pkg.g(x)", 4, text("other"));
  EXPECT_EQ(entries(), 3U);
  EXPECT_THAT(in_cache({"show", digest.substr(0, 8)}).out, HasSubstr("newer"));
  EXPECT_THAT(in_cache({"show", "f"}).out, HasSubstr("newer"));
  EXPECT_THAT(in_cache({"clear", "f", "--yes"}).out, HasSubstr("Removed 2 entries"));
  EXPECT_THAT(in_cache({"clear", "--yes"}).out, HasSubstr("Removed 1 entry"));
  EXPECT_EQ(entries(), 0U);
}

TEST_F(CommandLine, ListsBackends) {
  EXPECT_THAT(run({"backends"}).out, AllOf(HasSubstr("local"), HasSubstr("redis")));
  const auto lines = run({"backends", "--json"}).objects();
  ASSERT_FALSE(lines.empty());
  EXPECT_EQ(lines[0].at("name"), "local");
  EXPECT_EQ(lines[0].at("ready"), true);
}

}  // namespace
}  // namespace cachier::test
