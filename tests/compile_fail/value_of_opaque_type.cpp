#include <cachier/value.hpp>

struct Socket {};

#ifndef WRONG
template <>
struct cachier::value_codec<Socket> {
  static void encode(cbor::Writer& writer, const Socket&) { writer.null(); }
  static bool decode(cbor::Reader& reader, Socket&) { return reader.null(); }
};
#endif

void store(cachier::cbor::Writer& writer, const Socket& socket) {
  cachier::store_value(writer, socket);
}
