#include <cachier/cbor.hpp>

#include <algorithm>
#include <memory>
#include <numeric>

namespace cachier::cbor {

void Writer::grow(std::size_t more) {
  const std::size_t used = size();
  const auto capacity = static_cast<std::size_t>(end_ - begin_);
  const std::size_t wanted = std::max(used + more, 2 * capacity);
  auto* const larger = new unsigned char[wanted];
  std::memcpy(larger, begin_, used);
  if (begin_ != inline_) delete[] begin_;
  begin_ = larger;
  at_ = larger + used;
  end_ = larger + wanted;
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

  const std::size_t from = start(0);
  std::string ordered;
  ordered.reserve(written.size() - from);
  for (const std::size_t index : indices) ordered.append(as_text(item(index)));
  writer_.truncate(from);
  writer_.raw(as_bytes(ordered));
}

}  // namespace cachier::cbor
