#pragma once

/// Runs the command line as a process, over a cache that the library fills.

#include "support/temp_directory.hpp"

#include <cachier/backend.hpp>
#include <cachier/key.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

extern char** environ;

namespace cachier::test {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

inline std::string contents(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

struct Answer {
  int status = -1;  ///< of the exit; 128 and the signal that ended it
  std::string out;
  std::string err;

  /// Its lines as JSON.
  [[nodiscard]] std::vector<json> objects() const {
    std::vector<json> objects;
    std::istringstream lines(out);
    for (std::string line; std::getline(lines, line);) {
      objects.push_back(json::parse(line));
    }
    return objects;
  }
};

class CommandLine : public testing::Test {
 protected:
  /// Runs `cachier` with these words and nothing on stdin.
  /// `life`: how long it has before it is killed. `terminal`: where stderr goes.
  Answer run(std::vector<std::string> words, const char* to = nullptr,
             std::optional<std::chrono::microseconds> life = {},
             const char* terminal = nullptr) {
    const std::string out = to != nullptr ? to : (scratch_ / "out").string();
    const std::string err =
        terminal != nullptr ? terminal : (scratch_ / "err").string();
    words.insert(words.begin(), CACHIER_CLI);
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);

    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_addopen(&actions, 1, out.c_str(),
                                       O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ::posix_spawn_file_actions_addopen(&actions, 2, err.c_str(),
                                       O_WRONLY | O_CREAT | O_TRUNC | O_NOCTTY, 0600);
    pid_t child = 0;
    const int failed = ::posix_spawn(&child, CACHIER_CLI, &actions, nullptr,
                                     arguments.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    EXPECT_EQ(failed, 0);
    if (life) {
      std::this_thread::sleep_for(*life);
      ::kill(child, SIGKILL);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
            to != nullptr ? "" : contents(out),
            terminal != nullptr ? "" : contents(err)};
  }

  Answer in_cache(std::vector<std::string> words) {
    words.insert(words.end(), {"--dir", directory()});
    return run(std::move(words));
  }

  [[nodiscard]] std::string directory() const { return (scratch_ / "cache").string(); }

  Store& store() {
    auto& store = separate_files_ ? files_ : store_;
    if (!store) {
      store = open_store({.backend = "local",
                          .cache_dir = directory(),
                          .separate_files = separate_files_})
                  .value();
    }
    return *store;
  }

  /// Stores the result of a call of a function of one argument.
  template <class T>
  std::string put(const std::string& function, const T& argument, Value value,
                  bool hide = false) {
    cbor::Writer key;
    encode_call(key, argument);
    const Function& interned = Function::intern(function);
    const Digest digest = digest_of(interned, key.view());
    const KeptKey kept(key.view(), hide);
    const Id id{.function = &interned,
                .digest = digest,
                .key = kept.bytes(),
                .hashed = kept.hashed()};
    Change change;
    change.value = std::move(value);
    const auto done = store().commit(id, change, soon());
    EXPECT_TRUE(done) << done.error().message();
    return to_string(digest);
  }

  static Value text(const std::string& value) {
    cbor::Writer writer;
    writer.text(value);
    return Value::of_bytes(Codec::cbor, writer.take());
  }

  static Deadline soon() {
    return std::chrono::steady_clock::now() + std::chrono::seconds(20);
  }

  /// Closes the store, as the end of a program does; the next use opens it anew.
  /// Returns when housekeeping has let go of it, too.
  void close() {
    for (std::shared_ptr<Store>* const store : {&store_, &files_}) {
      const std::weak_ptr<Store> held = std::exchange(*store, nullptr);
      while (!held.expired()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

  /// A file of the store's own folder.
  [[nodiscard]] std::string file(const std::string& name) const {
    return directory() + "/v1/" + name;
  }

  std::uint64_t entries() {
    std::uint64_t count = 0;
    for (const json& line : in_cache({"ls", "--json"}).objects()) {
      count += line.at("entries").get<std::uint64_t>();
    }
    return count;
  }

  TempDirectory scratch_;
  bool separate_files_ = false;  ///< where `put` puts it

 private:
  std::shared_ptr<Store> store_;
  std::shared_ptr<Store> files_;
};

}  // namespace cachier::test
