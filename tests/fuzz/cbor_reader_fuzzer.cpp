/// Arbitrary bytes through the reader, the check of deterministic form, and the codecs
/// of values.

#include <cachier/cbor.hpp>
#include <cachier/value.hpp>

#include <cstdint>
#include <cstdlib>

namespace {

using cachier::Bytes;
namespace cbor = cachier::cbor;

void require(bool holds) {
  if (!holds) std::abort();
}

/// Reads to the end and writes again what was read; the shortest form of floats.
bool copy(Bytes input, cbor::Writer& writer) {
  cbor::Reader reader(input);
  cbor::Item item;
  while (!reader.at_end()) {
    if (!reader.next(item)) break;
    require(reader.depth() <= cbor::kMaxDepth);
    switch (item.kind) {
      case cbor::Kind::unsigned_int:
        writer.unsigned_int(item.number);
        break;
      case cbor::Kind::negative:
        writer.negative(item.number);
        break;
      case cbor::Kind::bytes:
        writer.bytes(item.view);
        break;
      case cbor::Kind::text:
        require(cbor::is_utf8(item.text()));
        writer.text(item.text());
        break;
      case cbor::Kind::array:
        writer.array(item.number);
        break;
      case cbor::Kind::map:
        writer.map(item.number);
        break;
      case cbor::Kind::tag:
        writer.tag(item.number);
        break;
      case cbor::Kind::simple:
        writer.simple(static_cast<std::uint8_t>(item.number));
        break;
      case cbor::Kind::real:
        writer.real(item.real);
        break;
    }
  }
  const bool sound = reader.finish();
  if (!sound) require(!reader.error().message().empty());
  return sound;
}

template <class T>
void decode(Bytes input) {
  const auto value = cachier::decode_value<T>(input);
  if (!value) return;
  const std::string again = cachier::encode_value(*value);
  const auto back = cachier::decode_value<T>(cachier::as_bytes(again));
  require(back.has_value() && cachier::encode_value(*back).size() == again.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes input = std::as_bytes(std::span(data, size));

  cbor::Writer again;
  const bool sound = copy(input, again);
  const bool deterministic = cbor::check_deterministic(input).has_value();
  require(sound || !deterministic);
  if (sound) {
    // What was written is no longer than what was read, and reads the same.
    require(again.size() <= size);
    cbor::Writer twice;
    require(copy(again.view(), twice));
    require(cachier::as_text(twice.view()) == cachier::as_text(again.view()));
  }
  if (deterministic) {
    require(cachier::as_text(again.view()) == cachier::as_text(input));
  }

  cbor::Reader skipping(input);
  bool skipped = true;
  while (skipped && !skipping.at_end()) skipped = skipping.skip();
  require((skipped && skipping.finish()) == sound);

  decode<std::map<std::string, std::vector<std::optional<std::int32_t>>>>(input);
  decode<std::tuple<double, std::string, std::set<std::uint64_t>>>(input);
  decode<std::variant<bool, float, std::vector<std::byte>, std::filesystem::path>>(
      input);
  decode<std::pair<std::chrono::sys_time<std::chrono::nanoseconds>,
                   std::chrono::milliseconds>>(input);
  decode<std::chrono::year_month_day>(input);
  return 0;
}
