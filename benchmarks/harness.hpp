#pragma once

/// Measures two things side by side, and writes a row of results.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <fstream>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace cachier::bench {

/// Keeps the compiler from leaving out what made `value`.
template <class T>
void keep(const T& value) {
  asm volatile("" : : "g"(&value) : "memory");
}

/// Seconds that one of `count` calls of `work` takes.
inline double seconds_of(const std::function<void(std::size_t)>& work,
                         std::size_t count) {
  const auto begin = std::chrono::steady_clock::now();
  work(count);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  return took.count() / static_cast<double>(count);
}

inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// Rows as `make bench` writes them: JSON objects, one a line.
class Report {
 public:
  explicit Report(const std::string& path, std::string filter)
      : file_(path, std::ios::app), filter_(std::move(filter)) {}

  [[nodiscard]] bool wants(const std::string& name) const {
    return name.find(filter_) != std::string::npos;
  }

  /// Runs both in turn, `rounds` times, each for `count` calls, and reports the
  /// medians. `work(n)` does its work n times. `reach`: what the ratio should not
  /// exceed.
  void compare(const std::string& name, std::size_t count,
               const std::function<void(std::size_t)>& ours, const std::string& against,
               const std::function<void(std::size_t)>& theirs, double reach,
               int rounds = 9) {
    if (!wants(name)) return;
    ours(count / 10 + 1);
    theirs(count / 10 + 1);
    std::vector<double> our_times;
    std::vector<double> their_times;
    for (int round = 0; round < rounds; ++round) {
      our_times.push_back(seconds_of(ours, count));
      their_times.push_back(seconds_of(theirs, count));
    }
    write(name, median(our_times), against, median(their_times), reach);
  }

  /// A figure that is to stay below a fixed number of seconds.
  void below(const std::string& name, double ours, double reach) {
    write(name, ours, "s, absolute", 1.0, reach);
  }

  /// Memory, in bytes.
  void memory(const std::string& name, double ours, const std::string& against,
              double theirs, double reach) {
    write(name, ours, against, theirs, reach, R"("unit": "bytes", )");
  }

 private:
  void write(const std::string& name, double ours, const std::string& against,
             double theirs, double reach, const std::string& unit = "") {
    const double ratio = ours / theirs;
    char line[512];
    std::snprintf(line, sizeof line,
                  R"({"name": "%s", "ours": %.4g, "against": "%s", "theirs": %.4g, )"
                  R"(%s"ratio": %.4g, "reach": %.4g, "ok": %s})",
                  name.c_str(), ours, against.c_str(), theirs, unit.c_str(), ratio,
                  reach, ratio <= reach ? "true" : "false");
    file_ << line << std::endl;
  }

  std::ofstream file_;
  std::string filter_;
};

}  // namespace cachier::bench
