#pragma once

/// Results as bytes and back (`docs/formats/value.md`).

#include "python.hpp"

#include <cachier/entry.hpp>
#include <cachier/error.hpp>

#include <cstdint>
#include <optional>

namespace cachier::python {

/// Whether values are pickled and unpickled, which may run any code.
enum class Pickles : std::uint8_t { taken, refused };

/// The stored form of `object`: CBOR where that gives back exactly what pickle would,
/// else pickle. `too_large`: over `size_limit` bytes. `unsupported`, with an exception
/// set: it does not pickle, or has no other form.
[[nodiscard]] Result<Value> encode_value(PyObject* object, std::uint64_t size_limit,
                                         Pickles pickles);

/// What the large buffers of a pickle that lies in a mapped file become. Either way
/// they are writable and the caller's own.
enum class Buffers : std::uint8_t {
  mapped,  ///< mapped by themselves, a page copied when it is written to
  copied,
};

/// The object again. Null with an exception set: not readable. May run any code, unless
/// pickles are refused.
[[nodiscard]] Ref decode_value(const Value& value, Buffers buffers, Pickles pickles);

}  // namespace cachier::python
