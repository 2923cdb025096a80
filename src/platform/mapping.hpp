#pragma once

#include "platform/file.hpp"

#include <cstddef>
#include <utility>

namespace cachier::platform {

/// Memory that a file or nobody is behind.
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

  /// The first `size` bytes of a file that is open for reading and writing, shared with
  /// all who map it. Not mapped
  /// on failure, and errno says why. Where somebody shortens the file, all of it
  /// becomes zeros (`sigbus.hpp`).
  static Mapping of_file(const File& file, std::size_t size) noexcept;
  /// The first `size` bytes of a file that is open for reading, to be read only. Zeros
  /// where somebody shortens it, as above.
  static Mapping to_read(const File& file, std::size_t size) noexcept;
  /// The same bytes, to be changed by this process alone, without the file: a page is
  /// copied when it is first written to. Where somebody shortens the file, using what
  /// is gone is a SIGBUS.
  static Mapping private_copy(const File& file, std::size_t size) noexcept;
  /// Zeros that belong to no file. Shared with forked children.
  static Mapping anonymous(std::size_t size) noexcept;

  [[nodiscard]] explicit operator bool() const noexcept { return start_ != nullptr; }
  [[nodiscard]] std::byte* start() const noexcept { return start_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  Mapping(void* start, std::size_t size) noexcept;
  Mapping&& guarded() && noexcept;

  std::byte* start_ = nullptr;
  std::size_t size_ = 0;
  bool guarded_ = false;
};

}  // namespace cachier::platform
