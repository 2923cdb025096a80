/// A database with bytes overwritten: each entry is right, missing or an error,
/// whatever the bytes; a clear, a listing and a put end.
///
/// The input is a list of patches, five bytes each: where (four bytes) and what.

#include "backends/local/local.hpp"

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

namespace {

namespace fs = std::filesystem;
using namespace cachier;

constexpr int kEntries = 40;

Deadline soon() { return std::chrono::steady_clock::now() + std::chrono::seconds(5); }

Id id_of(const std::string& key) {
  static const Function& function = Function::intern("fuzz");
  const auto number = static_cast<std::uint64_t>(std::stoi(key));
  return {&function,
          {number * 0x9e3779b97f4a7c15, number * 0xbf58476d1ce4e5b9},
          as_bytes(key)};
}

std::string value_of(int number) {
  return "value " + std::to_string(number) +
         std::string(static_cast<std::size_t>(number * 37 % 700), 'v');
}

/// A sound database, made once.
struct Original {
  Original() {
    std::string name = (fs::temp_directory_path() / "cachier-fuzz-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    directory = name;
    {
      auto store = open_local_store(directory);
      if (!store) std::abort();
      for (int number = 0; number < kEntries; ++number) {
        Change change;
        change.value = Value::of_bytes(Codec::cbor, value_of(number));
        if (!(*store)->commit(id_of(std::to_string(number)), change, soon()))
          std::abort();
      }
    }
    std::ifstream file(path(), std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(file), {});
    // What is not yet in the database is in its log.
    std::ifstream log(path() + "-wal", std::ios::binary);
    log_bytes.assign(std::istreambuf_iterator<char>(log), {});
  }
  [[nodiscard]] std::string path() const { return directory + "/v1/c1.db"; }

  std::string directory;
  std::string bytes;
  std::string log_bytes;
};

void write(const std::string& path, const std::string& bytes) {
  fs::remove(path);
  std::ofstream(path, std::ios::binary) << bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto* const original = new Original;
  std::string bytes = original->bytes;
  std::string log = original->log_bytes;
  for (; size >= 5; data += 5, size -= 5) {
    std::uint32_t where = 0;
    std::memcpy(&where, data, sizeof where);
    const std::size_t at = where % (bytes.size() + log.size());
    (at < bytes.size() ? bytes[at] : log[at - bytes.size()]) =
        static_cast<char>(data[4]);
  }
  write(original->path(), bytes);
  write(original->path() + "-wal", log);
  fs::remove(original->path() + "-shm");

  const auto store = open_local_store(original->directory);
  if (!store) std::abort();
  for (int number = 0; number < kEntries; ++number) {
    Ask ask;
    ask.claim = false;
    const auto look = (*store)->look(id_of(std::to_string(number)), ask, soon());
    if (look && look->entry && as_text(look->entry->value.bytes()) != value_of(number))
      std::abort();
  }
  Cursor cursor;
  for (int pages = 0; pages < 10; ++pages) {
    const auto page = (*store)->scan({}, cursor, soon());
    if (!page || page->next.empty()) break;
    cursor = page->next;
  }
  Change change;
  change.value = Value::of_bytes(Codec::cbor, "new");
  (void)(*store)->commit(id_of("7"), change, soon());
  (void)(*store)->clear({}, Clear::entries, soon());
  return 0;
}
