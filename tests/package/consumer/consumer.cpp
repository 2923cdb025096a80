// A program that has nothing but the installed package.

#include <cachier/backend.hpp>
#include <cachier/cbor.hpp>
#include <cachier/options.hpp>
#include <cachier/store.hpp>

#include <cstdio>
#include <cstdlib>

int main() {
  const auto store = cachier::open_store({.backend = "memory", .cache_dir = {}});
  if (!store) {
    std::fprintf(stderr, "%s\n", store.error().message().c_str());
    return 1;
  }
  const cachier::Id id{.function = &cachier::Function::intern("cachier:consumer"),
                       .digest = {1, 2},
                       .key = cachier::as_bytes("\x80"),
                       .hashed = false};
  const auto soon = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  cachier::Change put;
  put.value = cachier::Value::of_bytes(cachier::Codec::cbor, "\x18\x2a");
  if (!(*store)->commit(id, put, soon)) return 1;
  const auto look = (*store)->look(id, {}, soon);
  if (!look || !look->entry) return 1;
  if (cachier::as_text(look->entry->value.bytes()) != "\x18\x2a") return 1;
  std::printf("linked by %s\n", std::getenv("CACHIER_PROGRAM"));
  return 0;
}
