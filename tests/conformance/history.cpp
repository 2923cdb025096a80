#include "conformance/history.hpp"

#include <algorithm>
#include <map>
#include <utility>

namespace cachier::conformance {

void History::add(const History& other) {
  writes_.insert(writes_.end(), other.writes_.begin(), other.writes_.end());
  reads_.insert(reads_.end(), other.reads_.begin(), other.reads_.end());
}

namespace {

/// The writes of one value, for the question whether one of those that began before
/// some time ended after another.
class Candidates {
 public:
  explicit Candidates(std::vector<History::Write> writes) : writes_(std::move(writes)) {
    std::sort(writes_.begin(), writes_.end(),
              [](const auto& a, const auto& b) { return a.began < b.began; });
    std::uint64_t latest = 0;
    for (const History::Write& write : writes_) {
      latest_.push_back(latest = std::max(latest, write.ended));
    }
  }

  [[nodiscard]] bool explain(const History::Read& read,
                             std::uint64_t overwritten) const {
    const auto later = std::partition_point(
        writes_.begin(), writes_.end(),
        [&](const History::Write& write) { return write.began < read.ended; });
    if (later == writes_.begin()) return false;
    return latest_[static_cast<std::size_t>(later - writes_.begin()) - 1] >=
           overwritten;
  }

 private:
  std::vector<History::Write> writes_;
  std::vector<std::uint64_t> latest_;  ///< the latest end among the first n + 1
};

}  // namespace

std::string History::unexplained() const {
  std::vector<Write> by_end = writes_;
  by_end.push_back({0, 0, 0});  // in the beginning there was nothing
  std::sort(by_end.begin(), by_end.end(),
            [](const Write& a, const Write& b) { return a.ended < b.ended; });
  // The latest beginning among the first n to end.
  std::vector<std::uint64_t> latest{0};
  std::map<Written, std::vector<Write>> by_value;
  for (const Write& write : by_end) {
    latest.push_back(std::max(latest.back(), write.began));
    by_value[write.value].push_back(write);
  }
  std::map<Written, Candidates> candidates;
  for (auto& [value, writes] : by_value) {
    candidates.emplace(value, Candidates(std::move(writes)));
  }

  for (const Read& read : reads_) {
    const auto finished = std::partition_point(
        by_end.begin(), by_end.end(),
        [&](const Write& write) { return write.ended < read.began; });
    const std::uint64_t overwritten =
        latest[static_cast<std::size_t>(finished - by_end.begin())];
    const auto written = candidates.find(read.value);
    if (written != candidates.end() && written->second.explain(read, overwritten)) {
      continue;
    }
    return "a read from " + std::to_string(read.began) + " to " +
           std::to_string(read.ended) + " saw " + std::to_string(read.value) +
           (written == candidates.end()
                ? ", which was never written"
                : ", which a write had replaced that began at " +
                      std::to_string(overwritten));
  }
  return {};
}

}  // namespace cachier::conformance
