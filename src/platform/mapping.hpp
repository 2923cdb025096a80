#pragma once

#include "platform/file.hpp"

#include <cstddef>
#include <utility>

namespace cachier::platform {

/// Memory that is shared: with all who map the same file, or with forked children.
class Mapping {
 public:
  Mapping() = default;
  Mapping(Mapping&& other) noexcept
      : start_(std::exchange(other.start_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        guarded_(std::exchange(other.guarded_, false)) {}
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(start_, other.start_);
    std::swap(size_, other.size_);
    std::swap(guarded_, other.guarded_);
    return *this;
  }
  ~Mapping();

  /// The first `size` bytes of a file that is open for reading and writing. Not mapped
  /// on failure, and errno says why. Where somebody shortens the file, all of it
  /// becomes zeros (`sigbus.hpp`).
  static Mapping of_file(const File& file, std::size_t size) noexcept;
  /// Zeros that belong to no file.
  static Mapping anonymous(std::size_t size) noexcept;

  [[nodiscard]] explicit operator bool() const noexcept { return start_ != nullptr; }
  [[nodiscard]] std::byte* start() const noexcept { return start_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  Mapping(void* start, std::size_t size) noexcept;

  std::byte* start_ = nullptr;
  std::size_t size_ = 0;
  bool guarded_ = false;
};

}  // namespace cachier::platform
