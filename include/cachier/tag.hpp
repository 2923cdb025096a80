#pragma once

/// The CBOR tags of our formats.

#include <cstdint>

namespace cachier {

/// Our CBOR tags (`docs/formats/key.md` says what is in them). Only those that C++
/// writes or shows; the block is 51904 to 51967.
enum class Tag : std::uint64_t {
  positive_bignum = 2,
  negative_bignum = 3,
  decimal_fraction = 4,
  rational = 30,
  uuid = 37,
  set = 258,
  tuple = 51904,
  frozenset = 51905,
  pairs = 51906,
  other_text = 51907,  ///< text that is not UTF-8
  bytearray = 51908,
  complex = 51909,
  datetime = 51910,
  date = 51911,
  time = 51912,
  timedelta = 51913,
  timezone = 51914,
  decimal = 51915,
  path = 51916,
  enum_member = 51917,
  range = 51918,
  slice = 51919,
  hash_func = 51920,
  subclass = 51921,
  dataclass = 51922,
  named_tuple = 51923,
  numpy_dtype = 51924,
  numpy_scalar = 51925,
  numpy_array = 51926,
  class_ = 51929,
  function = 51930,
  bound_method = 51931,
  partial = 51932,
  module = 51933,
  own_key = 51934,
  reduced = 51935,
};

}  // namespace cachier
