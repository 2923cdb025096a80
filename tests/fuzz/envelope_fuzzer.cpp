/// Arbitrary bytes as an envelope, and envelopes of arbitrary content, also damaged.

#include <cachier/envelope.hpp>
#include <cachier/key.hpp>
#include <cachier/signing.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include "support/checksum.hpp"

namespace {

using namespace cachier;

void require(bool holds) {
  if (!holds) std::abort();
}

const Function& function() {
  static const Function& kFunction = Function::intern("cachier:fuzz");
  return kFunction;
}

/// One whose entries are signed.
const Function& signing_function() {
  static const Function& kFunction = [&]() -> const Function& {
    const Function& made = Function::intern("cachier:fuzz.signed");
    const std::string keys[] = {"a key that nobody fuzzes"};
    made.sign_with(Keyring::of(keys).value());
    return made;
  }();
  return kFunction;
}

/// Whatever is written by somebody without keys is not taken.
void open_with_keys(Bytes input, Bytes key) {
  const Function& function = signing_function();
  const Id id{&function, digest_of(function, key), key, false};
  require(!envelope::open(input, nullptr, id, Time(), Version()));
  const Id unsigned_id{&::function(), id.digest, key, false};
  const Value value(Codec::cbor, input, nullptr);
  const std::string sealed = envelope::seal(unsigned_id, value, Time(), Version());
  require(!envelope::open(as_bytes(sealed), nullptr, id, Time(), Version()));
  std::string ours = envelope::seal(id, value, Time(), Version());
  const auto back = envelope::open(as_bytes(ours), nullptr, id, Time(), Version());
  require(back && back->has_value() && as_text((**back).bytes()) == as_text(input));
  if (input.empty()) return;
  const std::size_t at = static_cast<std::size_t>(input[0]) % ours.size();
  ours[at] = static_cast<char>(ours[at] ^ 1);
  require(!envelope::open(as_bytes(ours), nullptr, id, Time(), Version()));
}

/// Bytes that pass the checksum reach the parser behind it.
void open_with_right_checksum(Bytes input, const Id& id) {
  constexpr std::size_t kBody = 11;
  if (input.size() < kBody) return;
  std::string bytes(as_text(input));
  bytes[1] = 0;
  bytes[2] = 0x48;
  test::write_checksum(bytes, id.function->seed(), Time(), Version());
  const auto opened = envelope::open(as_bytes(bytes), nullptr, id, Time(), Version());
  if (!opened) {
    require(opened.error() == ErrorCode::corrupt ||
            opened.error() == ErrorCode::version_mismatch);
  } else if (opened->has_value()) {
    const Bytes value = (**opened).bytes();
    require(value.data() + value.size() == as_bytes(bytes).data() + bytes.size());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes input = std::as_bytes(std::span(data, size));
  const std::size_t key_size = size == 0 ? 0 : std::min<std::size_t>(data[0], size - 1);
  const Bytes key = size == 0 ? input : input.subspan(1, key_size);
  const Id id{&function(), digest_of(function(), key), key, false};

  const auto parts = envelope::inspect(input, size);
  if (parts) require(parts->value_offset + parts->value_size == size);
  (void)envelope::open(input, nullptr, id, Time(), Version());
  open_with_right_checksum(input, id);
  open_with_keys(input, key);

  Value value(size % 2 == 0 ? Codec::cbor : Codec::pickle, input, nullptr);
  value.set_none(size % 3 == 0);
  value.set_fingerprint(size % 5);
  const Version version{{size, key_size, 0}};
  std::string sealed = envelope::seal(id, value, Time(Duration(5)), version);
  const auto back =
      envelope::open(as_bytes(sealed), nullptr, id, Time(Duration(5)), version);
  require(back && back->has_value());
  require(as_text((**back).bytes()) == as_text(input));
  require((**back).codec() == value.codec() && (**back).is_none() == value.is_none() &&
          (**back).fingerprint() == value.fingerprint());

  if (size > 1) {
    const std::size_t at = (data[size - 1] * 257u + data[0]) % sealed.size();
    sealed[at] = static_cast<char>(sealed[at] ^ (data[size / 2] | 1));
    require(!envelope::open(as_bytes(sealed), nullptr, id, Time(Duration(5)), version));
  }
  return 0;
}
