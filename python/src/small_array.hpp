#pragma once

/// Scratch space for the few items that a call usually has.

#include <cstddef>
#include <memory>

namespace cachier::python {

/// `size` items of a plain type, on the stack if there are at most `kInline`; zeroed.
template <class T, std::size_t kInline>
class SmallArray {
 public:
  explicit SmallArray(std::size_t size) : size_(size) {
    if (size > kInline) {
      heap_ = std::make_unique<T[]>(size);
      data_ = heap_.get();
    } else {
      data_ = inline_;
      for (std::size_t at = 0; at < size; ++at) inline_[at] = T{};
    }
  }
  SmallArray(const SmallArray&) = delete;
  SmallArray& operator=(const SmallArray&) = delete;

  [[nodiscard]] T& operator[](std::size_t at) noexcept { return data_[at]; }
  [[nodiscard]] const T& operator[](std::size_t at) const noexcept { return data_[at]; }
  [[nodiscard]] T* data() noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  T* data_ = nullptr;
  std::size_t size_;
  std::unique_ptr<T[]> heap_;
  T inline_[kInline];
};

}  // namespace cachier::python
