/// What people see on a terminal while they wait.

#include "command_line.hpp"

#include <fcntl.h>

#include <cstdlib>
#include <string_view>

namespace cachier::test {
namespace {

constexpr std::string_view kEnd = "(end)";

class Progress : public CommandLine {
 protected:
  /// What `cachier` writes to stderr where that is a terminal of this kind.
  std::string on_terminal(std::vector<std::string> words, const char* kind = "xterm") {
    const int master = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    EXPECT_GE(master, 0);
    EXPECT_EQ(::grantpt(master), 0);
    EXPECT_EQ(::unlockpt(master), 0);
    const std::string terminal = ::ptsname(master);
    // Held open, or what was written could be gone when the child is.
    const int slave = ::open(terminal.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC);
    EXPECT_GE(slave, 0);
    ::setenv("TERM", kind, 1);
    words.insert(words.end(), {"--dir", directory()});
    const Answer answer = run(std::move(words), nullptr, {}, terminal.c_str());
    EXPECT_EQ(answer.status, 0) << answer.out;
    // What was written reaches the other side later, but in order: read up to a mark.
    EXPECT_EQ(::write(slave, kEnd.data(), kEnd.size()),
              static_cast<ssize_t>(kEnd.size()));
    std::string seen;
    while (!seen.ends_with(kEnd)) {
      char bytes[4096];
      const ssize_t got = ::read(master, bytes, sizeof bytes);
      if (got <= 0) {
        ADD_FAILURE() << "the terminal ended after " << testing::PrintToString(seen);
        break;
      }
      seen.append(bytes, static_cast<std::size_t>(got));
    }
    if (seen.ends_with(kEnd)) seen.resize(seen.size() - kEnd.size());
    ::close(slave);
    ::close(master);
    return seen;
  }
};

constexpr char kErased[] = "\r\x1b[K";

TEST_F(Progress, ClearingIsTold) {
  put("cachier:weather.run(step)", 1, text("x"));

  const std::string seen = on_terminal({"clear", "run", "--yes"});

  EXPECT_THAT(seen, HasSubstr("Removing entries of weather.run"));
  EXPECT_THAT(seen, testing::EndsWith(kErased)) << "the line is gone at the end";
}

TEST_F(Progress, VerifyingIsTold) {
  put("cachier:weather.run(step)", 1, text("x"));

  const std::string seen = on_terminal({"verify"});

  EXPECT_THAT(seen, HasSubstr("Reading: "));
  EXPECT_THAT(seen, testing::EndsWith(kErased));
}

TEST_F(Progress, ATerminalThatCannotRewriteALineIsToldNothing) {
  put("cachier:weather.run(step)", 1, text("x"));

  EXPECT_EQ(on_terminal({"clear", "run", "--yes"}, "dumb"), "");
}

}  // namespace
}  // namespace cachier::test
