/// Arbitrary bytes as a key and as a function's id, shown to people.

#include <cachier/key.hpp>

#include <cstdint>
#include <cstdlib>

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cachier;
  const Bytes input = std::as_bytes(std::span(data, size));
  const std::string_view text = as_text(input);

  const std::size_t limit = size == 0 ? 0 : data[0];
  const std::string shown = display_key(input, "path,n,*rest,**more", limit);
  require(shown.size() <= limit + 3);  // the ellipsis alone may be longer
  require(cbor::valid_text(shown));
  for (const char character : shown) {
    require(static_cast<unsigned char>(character) >= 0x20 && character != 0x7f);
  }
  (void)display_key(input, text);

  if (const auto parts = parse_function_id(text)) {
    require(function_id(*parts) == text);
  }
  const FunctionIdParts parts{std::string(text.substr(0, size / 3)),
                              std::string(text.substr(size / 3)), "", std::nullopt,
                              std::string(text.substr(size / 2))};
  const std::string id = function_id(parts);
  require(cbor::valid_text(id));
  require(parse_function_id(id) == parts);
  return 0;
}
