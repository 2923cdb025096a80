#include "conformance/history.hpp"

#include <algorithm>
#include <limits>
#include <map>

namespace cachier::conformance {

void History::add(const History& other) {
  writes_.insert(writes_.end(), other.writes_.begin(), other.writes_.end());
  reads_.insert(reads_.end(), other.reads_.begin(), other.reads_.end());
}

std::string History::unexplained() const {
  std::vector<Write> by_end = writes_;
  by_end.push_back({0, 0, 0});  // in the beginning there was nothing
  std::sort(by_end.begin(), by_end.end(),
            [](const Write& a, const Write& b) { return a.ended < b.ended; });
  // The latest beginning among the first n to end.
  std::vector<std::uint64_t> latest{0};
  for (const Write& write : by_end) {
    latest.push_back(std::max(latest.back(), write.began));
  }
  std::map<Written, std::vector<Write>> by_value;
  for (const Write& write : by_end) by_value[write.value].push_back(write);

  for (const Read& read : reads_) {
    const auto finished = std::lower_bound(
        by_end.begin(), by_end.end(), read.began,
        [](const Write& write, std::uint64_t time) { return write.ended < time; });
    const std::uint64_t overwritten =
        latest[static_cast<std::size_t>(finished - by_end.begin())];
    const auto candidates = by_value.find(read.value);
    const bool explained =
        candidates != by_value.end() &&
        std::any_of(candidates->second.begin(), candidates->second.end(),
                    [&](const Write& write) {
                      return write.began < read.ended && write.ended >= overwritten;
                    });
    if (!explained) {
      return "a read from " + std::to_string(read.began) + " to " +
             std::to_string(read.ended) + " saw " + std::to_string(read.value) +
             (candidates == by_value.end() ? ", which was never written"
                                           : ", which had been replaced by a write "
                                             "that began at " +
                                                 std::to_string(overwritten));
    }
  }
  return {};
}

}  // namespace cachier::conformance
