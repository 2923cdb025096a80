#include <cachier/key.hpp>

struct Logger {};

void encode(cachier::cbor::Writer& writer, const Logger& logger) {
#ifdef WRONG
  cachier::encode_call(writer, 1, logger);
#else
  cachier::encode_call(writer, 1, cachier::ignored(logger));
#endif
}
