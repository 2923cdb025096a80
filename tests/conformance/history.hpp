#pragma once

/// Whether what readers saw can be explained by what writers did.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace cachier::conformance {

/// Numbers for values; 0 is "nothing is stored".
using Written = std::uint64_t;

/// What happened to one entry, by one logical clock.
class History {
 public:
  /// A change that took effect between its two times.
  struct Write {
    std::uint64_t began;
    std::uint64_t ended;
    Written value;
  };
  struct Read {
    std::uint64_t began;
    std::uint64_t ended;
    Written value;
  };

  void add(const Write& write) { writes_.push_back(write); }
  void add(const Read& read) { reads_.push_back(read); }
  /// Takes over what another thread has noted of the same entry.
  void add(const History& other);

  /// Says which read saw something that was never there, or was already gone when the
  /// read began: some write began after the one it saw had ended, and itself ended
  /// before the read began. Empty: every read is explained.
  [[nodiscard]] std::string unexplained() const;

 private:
  std::vector<Write> writes_;
  std::vector<Read> reads_;
};

}  // namespace cachier::conformance
