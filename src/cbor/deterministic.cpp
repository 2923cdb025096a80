#include <cachier/cbor.hpp>

#include <algorithm>

namespace cachier::cbor {
namespace {

/// An array, map or tag that is being read.
struct Level {
  std::uint64_t left = 0;
  bool map = false;
  std::size_t key_begin = 0;
  std::string_view previous_key;
};

Error refusal(std::size_t offset, const char* found) {
  return {ErrorCode::corrupt,
          "not in deterministic form at byte " + std::to_string(offset), found};
}

/// The head, or the whole of what has no content, as the writer writes it.
void write_again(Writer& writer, const Item& item) {
  switch (item.kind) {
    case Kind::unsigned_int:
      return writer.unsigned_int(item.number);
    case Kind::negative:
      return writer.negative(item.number);
    case Kind::bytes:
      return writer.bytes(item.view);
    case Kind::text:
      return writer.text(item.text());
    case Kind::array:
      return writer.array(item.number);
    case Kind::map:
      return writer.map(item.number);
    case Kind::tag:
      return writer.tag(item.number);
    case Kind::simple:
      return writer.simple(static_cast<std::uint8_t>(item.number));
    case Kind::real:
      return writer.real(item.real);
  }
}

bool is_bignum_of_need(const Item& content) {
  return content.kind == Kind::bytes && content.view.size() > 8 &&
         content.view.front() != std::byte{0};
}

}  // namespace

Result<Done> check_deterministic(Bytes input) {
  const std::string_view all = as_text(input);
  Reader reader(input);
  Writer again;
  std::vector<Level> levels;
  bool in_bignum = false;

  while (true) {
    // Whatever ended with the item before, ended here.
    const std::size_t here = reader.offset();
    while (!levels.empty() && levels.back().left == 0) levels.pop_back();
    if (levels.empty() && reader.at_end()) break;
    if (!levels.empty()) {
      Level& level = levels.back();
      if (level.map && level.left % 2 == 0) level.key_begin = here;
      if (level.map && level.left % 2 == 1) {
        const auto key = all.substr(level.key_begin, here - level.key_begin);
        if (key == level.previous_key) return refusal(level.key_begin, "repeated key");
        if (key < level.previous_key) return refusal(level.key_begin, "unsorted key");
        level.previous_key = key;
      }
      --level.left;
    }

    Item item;
    if (!reader.next(item)) return reader.error();
    again.clear();
    write_again(again, item);
    if (as_text(again.view()) != all.substr(here, reader.offset() - here)) {
      return refusal(here, "a longer form than needed");
    }
    if (in_bignum && !is_bignum_of_need(item)) {
      return refusal(here, "a big integer that needs none");
    }
    in_bignum = item.kind == Kind::tag && (item.number == 2 || item.number == 3);

    if (item.kind == Kind::array) levels.push_back({item.number, false, 0, {}});
    if (item.kind == Kind::map) levels.push_back({2 * item.number, true, 0, {}});
    if (item.kind == Kind::tag) levels.push_back({1, false, 0, {}});
  }
  return Done{};
}

}  // namespace cachier::cbor
