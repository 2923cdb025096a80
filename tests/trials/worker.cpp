/// One process of a trial, by the C++ door; `worker.py` is the same by the Python door.
///
///     trials_worker TRIAL [ARGUMENT...]
///
/// Started by `run.py`. It tells what happened in lines of JSON, the first of which is
/// `{"ready": true}`; then it begins at a line of its input.

#include <cachier/cached.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <barrier>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <functional>
#include <initializer_list>
#include <iostream>
#include <map>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace {

using Arguments = std::vector<std::string>;
using Key = std::int64_t;

// -- Talking to run.py.

std::string setting(const char* name, const char* otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : otherwise;
}

/// Seconds of the clock that all processes share.
std::string now() {
  const std::chrono::duration<double> since =
      std::chrono::steady_clock::now().time_since_epoch();
  char text[32];
  std::snprintf(text, sizeof text, "%.6f", since.count());
  return text;
}

void write_line(int fd, std::string line) {
  line += '\n';
  if (::write(fd, line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
    std::cerr << "cannot write: " << std::strerror(errno) << '\n';
    std::_Exit(1);
  }
}

/// Tells the trial something, in one piece.
void tell(std::initializer_list<std::string> members) {
  std::string line;
  for (const std::string& member : members)
    line += (line.empty() ? "{" : ", ") + member;
  write_line(1, line + "}");
}

/// A member of what is told: a text, and a number or truth.
std::string text(const std::string& name, const std::string& value) {
  return "\"" + name + "\": \"" + value + "\"";
}
std::string item(const std::string& name, const std::string& value) {
  return "\"" + name + "\": " + value;
}
std::string item(const std::string& name, std::int64_t value) {
  return item(name, std::to_string(value));
}
std::string item(const std::string& name, bool value) {
  return item(name, std::string(value ? "true" : "false"));
}

void wait_for_line() {
  std::string line;
  std::getline(std::cin, line);
}

/// Says that a function begins to run.
void note_run() {
  const int notes = ::open(setting("TRIAL_RUNS", "").c_str(), O_WRONLY | O_CLOEXEC);
  write_line(notes, std::to_string(::getpid()) + " " + now());
  ::close(notes);
}

void work() {
  std::this_thread::sleep_for(
      std::chrono::duration<double>(std::stod(setting("TRIAL_WORK", "1.0"))));
}

// -- What is cached: the same functions as in Python, under the same names.

cachier::Options options() {
  cachier::Options options;
  options.backend = setting("TRIAL_BACKEND", "local");
  options.separate_files = setting("TRIAL_SEPARATE_FILES", "0") == "1";
  return options;
}

std::string run_slow(Key key) {
  note_run();
  work();
  return std::to_string(key) + " " + std::to_string(::getpid()) + " " + now();
}
const auto& slow() {
  static const auto cached = cachier::cached("trial.slow", run_slow, options());
  return cached;
}

std::string run_unstorable(Key key) {
  note_run();
  work();
  std::string result = std::to_string(key) + " ";
  for (int part = 0; part < 10; ++part) result += "too large ";
  return result;
}
const auto& unstorable() {
  static const auto cached = [] {
    cachier::Options small = options();
    small.entry_size_limit = 10;
    return cachier::cached("trial.unstorable", run_unstorable, small);
  }();
  return cached;
}

std::string run_throws(Key key) {
  note_run();
  work();
  throw std::out_of_range("no " + std::to_string(key));
}
const auto& throws() {
  static const auto cached = cachier::cached("trial.throws", run_throws, options());
  return cached;
}

/// What can be checked; some values need pages of their own.
std::string value_of(Key key) {
  std::string value;
  for (int part = key % 16 == 0 ? 4000 : 20; part > 0; --part) {
    value += std::to_string(key) + ",";
  }
  return value;
}

std::atomic<std::int64_t> ran = 0;

std::string run_insert(Key key) {
  ++ran;
  return value_of(key);
}
const auto& insert() {
  static const auto cached = cachier::cached("trial.insert", run_insert, options());
  return cached;
}

Key depth_of(Key n);
Key run_depth(Key n) {
  thread_local bool five = false;
  if (n == 5 && !std::exchange(five, true)) return depth_of(5) + 1;
  return n == 0 ? 0 : depth_of(n - 1) + 1;
}
Key depth_of(Key n) {
  static const auto cached = cachier::cached("trial.depth", run_depth, options());
  return cached(n);
}

/// Two that call each other, but not for ever; the first calls begin together.
std::atomic<bool> ping_began = false;
std::atomic<bool> pong_began = false;

void begin_with(std::atomic<bool>& mine, const std::atomic<bool>& other) {
  mine = true;
  mine.notify_all();
  other.wait(false);
}

Key ping(Key n);
Key pong(Key n);
Key run_ping(Key n) {
  thread_local bool within = false;
  if (std::exchange(within, true)) return 1;
  begin_with(ping_began, pong_began);
  const Key result = pong(n) + 1;
  within = false;
  return result;
}
Key run_pong(Key n) {
  thread_local bool within = false;
  if (std::exchange(within, true)) return 1;
  begin_with(pong_began, ping_began);
  const Key result = ping(n) + 1;
  within = false;
  return result;
}
Key ping(Key n) {
  static const auto cached = cachier::cached("trial.ping", run_ping, options());
  return cached(n);
}
Key pong(Key n) {
  static const auto cached = cachier::cached("trial.pong", run_pong, options());
  return cached(n);
}

/// Starts a child in the middle, which outlives it.
std::string run_forking(Key key, const std::string& how) {
  note_run();
  if (::fork() == 0) {
    const int null = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
    ::dup2(null, 1);
    ::dup2(null, 2);
    if (how == "exec") {
      ::execlp("cat", "cat", nullptr);
      std::_Exit(1);
    }
    char byte = 0;
    while (::read(0, &byte, 1) > 0) {
    }
    std::_Exit(0);
  }
  tell({item("forked", true)});
  work();
  return std::to_string(key) + " " + how;
}

/// Returns twice: here, and in a child.
std::string run_split(Key key) {
  note_run();
  if (::fork() < 0) throw std::runtime_error("no fork");
  return "split " + std::to_string(key);
}

// -- What a worker does.

void in_threads(std::size_t count, const std::function<void()>& task) {
  std::vector<std::jthread> threads;
  for (std::size_t thread = 0; thread < count; ++thread) threads.emplace_back(task);
}

/// Makes the same call from several threads at once, and tells how each fared.
void at_once(const std::string& threads, const std::function<std::string()>& call) {
  wait_for_line();
  const std::size_t count = std::stoul(threads);
  std::barrier begin(static_cast<std::ptrdiff_t>(count));
  in_threads(count, [&] {
    begin.arrive_and_wait();
    const std::string began = now();
    std::string result;
    try {
      result = call();
    } catch (const std::out_of_range& error) {
      result = std::string("raised ") + error.what();
    }
    tell({text("result", result), item("began", began), item("ended", now())});
  });
}

/// Asks for one key that takes a while.
void cold(const Arguments& given) {
  at_once(given[1], [key = std::stoll(given[0])] { return slow()(key); });
}

/// Asks for what cannot be stored.
void too_large(const Arguments& given) {
  at_once(given[1], [key = std::stoll(given[0])] { return unstorable()(key); });
}

/// Asks for what throws.
void failing(const Arguments& given) {
  at_once(given[1], [key = std::stoll(given[0])] { return throws()(key); });
}

/// Asks for each key that comes in.
void serve(const Arguments&) {
  for (std::string line; std::getline(std::cin, line);) {
    const std::string began = now();
    const std::string result = slow()(std::stoll(line));
    tell({text("result", result), item("began", began), item("ended", now())});
  }
}

/// Stores many entries, and tells of each once it is stored.
void inserts(const Arguments& given) {
  wait_for_line();
  const Key first = std::stoll(given[0]);
  for (Key key = first; key < first + std::stoll(given[1]); ++key) {
    insert()(key);
    tell({item("stored", key)});
  }
}

/// Says of each list of keys how many were not there, and how many not right.
void check(const Arguments&) {
  for (std::string line; std::getline(std::cin, line);) {
    const auto before = ran.load();
    std::int64_t wrong = 0;
    std::string raised;
    std::istringstream keys(line);
    for (Key key = 0; keys >> key;) {
      try {
        if (insert()(key) != value_of(key)) ++wrong;
      } catch (const std::exception& error) {
        raised = error.what();
        std::replace(raised.begin(), raised.end(), '\n', ' ');
        std::replace(raised.begin(), raised.end(), '"', '\'');
      }
    }
    tell({item("ran", ran - before), item("wrong", wrong), text("raised", raised)});
  }
}

/// Asks for a key; Ctrl-C may come.
void asks(const Arguments& given) {
  wait_for_line();
  tell({item("asks", true)});
  tell({text("result", slow()(std::stoll(given[0])))});
}

/// Recurs on other arguments, and on the same.
void recursion(const Arguments&) {
  wait_for_line();
  const Key result = depth_of(10);
  tell({item("right", result == 11 && depth_of(10) == 11)});
}

/// Lets two functions call each other from two threads.
void circles(const Arguments& given) {
  wait_for_line();
  std::int64_t right = 0;
  for (Key n = 0; n < std::stoll(given[0]); ++n) {
    ping_began = false;
    pong_began = false;
    Key from_ping = 0;
    Key from_pong = 0;
    {
      std::jthread one([&] { from_ping = ping(n); });
      std::jthread other([&] { from_pong = pong(n); });
    }
    const auto came = std::pair(from_ping, from_pong);
    if (came == std::pair<Key, Key>(4, 3) || came == std::pair<Key, Key>(3, 4) ||
        came == std::pair<Key, Key>(3, 3)) {
      ++right;
    }
  }
  tell({item("right", right)});
}

/// Ends while a refresh runs in the background.
void refresh_at_exit(const Arguments& given) {
  wait_for_line();
  slow()(1);
  cachier::CallOptions refresh;
  refresh.stale_after = cachier::Duration::zero();
  refresh.next_time = true;
  slow().call(refresh, 1);
  tell({item("done", true)});
  if (given[0] == "shutdown") cachier::shutdown();
}

/// Forks while threads use the store, which is open; the children use it too.
void forks(const Arguments& given) {
  wait_for_line();
  insert()(0);
  const Key rounds = std::stoll(given[0]);
  std::int64_t good = 0;
  {
    std::vector<std::jthread> threads;
    for (Key thread = 0; thread < 4; ++thread) {
      threads.emplace_back([thread](const std::stop_token& stop) {
        for (Key n = thread; !stop.stop_requested(); n += 7) insert()(n % 500);
      });
    }
    for (Key n = 0; n < rounds; ++n) {
      const pid_t child = ::fork();
      if (child == 0) {
        const bool right = insert()(1000 + n) == value_of(1000 + n) &&
                           insert()(n % 500) == value_of(n % 500);
        std::_Exit(right ? 0 : 1);
      }
      int status = -1;
      if (::waitpid(child, &status, 0) == child && status == 0) ++good;
    }
  }
  const auto before = ran.load();
  bool right = true;
  for (Key n = 1000; n < 1000 + rounds; ++n) right &= insert()(n) == value_of(n);
  tell({item("good", good), item("right", right),
        item("found", rounds - (ran - before))});
}

/// Computes what starts a child in the middle.
void fork_outlives(const Arguments& given) {
  const auto forking = cachier::cached("trial.forking", run_forking, options());
  wait_for_line();
  const std::string result = forking(std::stoll(given[0]), given[1]);
  tell({text("result", result), item("ended", now())});
}

/// Computes what returns twice.
void fork_inside(const Arguments& given) {
  const auto split = cachier::cached("trial.split", run_split, options());
  wait_for_line();
  const Key key = std::stoll(given[0]);
  const pid_t parent = ::getpid();
  const std::string result = split(key);
  if (::getpid() != parent) {
    tell({text("child", result), text("again", split(key))});
    std::_Exit(0);
  }
  ::wait(nullptr);
  tell({text("parent", result), text("again", split(key))});
}

// -- What is done to a directory beside it: `damage.py` has the same in Python.

/// A directory that is used while its files are damaged.
class Used {
 public:
  Used(const std::string& directory, const std::string& store)
      : value_(cachier::cached("damage", Nothing{}, options_of(directory, store))) {}

  /// Asks for every entry. Whether all are there.
  bool ask() {
    bool all = true;
    for (std::size_t key = 0; key < kSizes.size(); ++key) {
      const bool there = attempt([&] {
        const auto got = value_(static_cast<Key>(key));
        const bool right = got == value_of(key);
        if (got && !right) ++wrong_;
        return right;
      });
      if (there) ++found_;
      all = all && there;
    }
    return all;
  }

  void store() {
    for (std::size_t key = 0; key < kSizes.size(); ++key)
      attempt([&] {
        value_.precache(value_of(key), static_cast<Key>(key));
        return true;
      });
  }

  void tell(bool stored) const {
    ::tell({item("found", found_), item("wrong", wrong_), item("raised", raised_),
            item("stored", stored), item("recovered", now())});
  }

 private:
  using Value = std::optional<std::string>;
  struct Nothing {
    Value operator()(Key) const { return std::nullopt; }
  };
  /// In the database, in a file, mapped.
  static constexpr std::array<std::size_t, 4> kSizes{5, 3'000, 70'000, 1'100'000};

  static cachier::Options options_of(const std::string& directory,
                                     const std::string& store) {
    cachier::Options options;
    options.cache_dir = directory;
    options.separate_files = store == "files";
    return options;
  }
  static Value value_of(std::size_t key) {
    return std::string(kSizes[key], static_cast<char>('a' + key));
  }
  template <class Do>
  bool attempt(const Do& what) {
    try {
      return what();
    } catch (const std::exception& error) {
      std::cerr << error.what() << '\n';
      raised_.insert(raised_.size() - 1, raised_ == "[]" ? "1" : ", 1");
      return false;
    }
  }

  std::int64_t found_ = 0;
  std::int64_t wrong_ = 0;
  std::string raised_ = "[]";  ///< a list of as many ones
  decltype(cachier::cached("damage", Nothing{}, {})) value_;
};

/// Uses the directories that come in, and says how each of them fared.
void uses(const Arguments&) {
  constexpr unsigned kWatchdog = 20;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string begin;
    std::string directory;
    std::string store;
    words >> begin >> directory >> store;
    ::alarm(kWatchdog);
    Used used(directory, store);
    used.ask();
    used.tell(false);
    for (pollfd input{0, POLLIN, 0}; ::poll(&input, 1, 0) == 0;) used.ask();
    wait_for_line();
    used.ask();
    bool stored = false;
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    while (!stored && std::chrono::steady_clock::now() < end) {
      used.store();
      stored = used.ask();
    }
    ::alarm(0);
    used.tell(stored);
  }
}

using Trial = void (*)(const Arguments&);
const std::map<std::string_view, std::pair<std::size_t, Trial>> kTrials = {
    {"cold", {2, cold}},
    {"too_large", {2, too_large}},
    {"failing", {2, failing}},
    {"serve", {0, serve}},
    {"inserts", {2, inserts}},
    {"check", {0, check}},
    {"asks", {2, asks}},
    {"recursion", {0, recursion}},
    {"circles", {1, circles}},
    {"refresh_at_exit", {1, refresh_at_exit}},
    {"forks", {1, forks}},
    {"fork_outlives", {2, fork_outlives}},
    {"fork_inside", {1, fork_inside}},
    {"uses", {0, uses}},
};

}  // namespace

int main(int count, char** arguments) try {
  const Arguments given(arguments + std::min(count, 2), arguments + count);
  const auto trial = kTrials.find(count > 1 ? arguments[1] : "");
  if (trial == kTrials.end() || given.size() != trial->second.first) {
    std::cerr << "usage: trials_worker TRIAL [ARGUMENT...]\n";
    return 2;
  }
  tell({item("ready", true)});
  trial->second.second(given);
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
