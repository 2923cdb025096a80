// A type of your own as argument and result: say which of its parts are its key, and
// how it is written and read.

#include <cachier/cached.hpp>

#include <cstdint>
#include <iostream>

struct Point {
  int x = 0;
  int y = 0;
};

template <>
struct cachier::key_encoder<Point> {
  static void encode(cbor::Writer& writer, const Point& point) {
    writer.array(2);
    encode_key(writer, point.x);
    encode_key(writer, point.y);
  }
};

template <>
struct cachier::value_codec<Point> {
  static void encode(cbor::Writer& writer, const Point& point) {
    writer.array(2);
    store_value(writer, point.x);
    store_value(writer, point.y);
  }
  static bool decode(cbor::Reader& reader, Point& point) {
    std::uint64_t parts = 0;
    return reader.array(parts) && (parts == 2 || reader.refuse("two parts")) &&
           load_value(reader, point.x) && load_value(reader, point.y);
  }
};

int main() {
  const auto turn = [](const Point& point) {
    std::cout << "computing\n";
    return Point{-point.y, point.x};
  };
  auto turned = cachier::cached("example.turned", turn);
  for (int call = 0; call < 2; ++call) {
    const Point point = turned(Point{3, 4});
    std::cout << point.x << ' ' << point.y << '\n';
  }
}
