#include <cachier/cbor.hpp>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <numeric>
#include <string>
#include <vector>

namespace cachier::cbor {

void Writer::grow(std::size_t more) {
  const std::size_t used = size();
  const auto capacity = static_cast<std::size_t>(end_ - begin_);
  const std::size_t wanted = std::max(used + more, 2 * capacity);
  const bool was_inline = begin_ == inline_;
  // What is large is moved by moving its pages, not their content.
  void* const larger = std::realloc(was_inline ? nullptr : begin_, wanted);
  if (larger == nullptr) throw std::bad_alloc();
  if (was_inline) std::memcpy(larger, begin_, used);
  begin_ = static_cast<unsigned char*>(larger);
  at_ = begin_ + used;
  end_ = begin_ + wanted;
}

void Sorter::order() {
  const Bytes written = writer_.view();
  const auto item = [&](std::size_t index) {
    const std::size_t from = start(index);
    const std::size_t to = index + 1 < count_ ? start(index + 1) : written.size();
    return written.subspan(from, to - from);
  };
  // Encodings are prefix-free, so comparing pairs whole compares their keys first.
  const auto less = [&](std::size_t left, std::size_t right) {
    return as_text(item(left)) < as_text(item(right));
  };

  std::vector<std::size_t> indices(count_);
  std::iota(indices.begin(), indices.end(), std::size_t{0});
  if (std::is_sorted(indices.begin(), indices.end(), less)) return;
  std::sort(indices.begin(), indices.end(), less);

  // What is in its place at either end stays there: it may be megabytes.
  std::size_t first = 0;
  std::size_t last = count_;
  while (indices[first] == first) ++first;
  while (indices[last - 1] == last - 1) --last;
  std::string ordered;
  for (std::size_t at = first; at < last; ++at) {
    ordered.append(as_text(item(indices[at])));
  }
  writer_.overwrite(start(first), as_bytes(ordered));
}

}  // namespace cachier::cbor
