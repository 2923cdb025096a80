/// The rows of the C++ door, beside their floors: cpp_rows RESULTS.jsonl [FILTER]

#include <cachier/cached.hpp>

#include <malloc.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "bare.hpp"
#include "harness.hpp"

namespace cachier::bench {
namespace {

namespace fs = std::filesystem;

struct Small {
  int a = 0;
  double b = 0;
};

}  // namespace
}  // namespace cachier::bench

template <>
struct cachier::value_codec<cachier::bench::Small> {
  static void encode(cbor::Writer& writer, const bench::Small& small) {
    writer.array(2);
    store_value(writer, small.a);
    store_value(writer, small.b);
  }
  static bool decode(cbor::Reader& reader, bench::Small& small) {
    std::uint64_t parts = 0;
    return reader.array(parts) && (parts == 2 || reader.refuse("two parts")) &&
           load_value(reader, small.a) && load_value(reader, small.b);
  }
};

namespace cachier::bench {
namespace {

void memory_rows(Report& report) {
  constexpr int kEntries = 100;
  auto ours = cached("small",
                     [](int n) {
                       return Small{n, 0.5};
                     },
                     {.backend = "memory"});
  BareMap<Small> map;
  const auto key_of = [](int n, std::array<char, 4>& bytes) {
    std::memcpy(bytes.data(), &n, sizeof n);
    return std::string_view(bytes.data(), bytes.size());
  };
  std::array<char, 4> bytes{};
  for (int n = 0; n < kEntries; ++n) {
    (void)ours(n);
    map.put(key_of(n, bytes), Small{n, 0.5});
  }
  report.compare(
      "cpp_memory_hit", 400'000,
      [&](std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) keep(ours(static_cast<int>(i % 100)));
      },
      "flat table in 64 shards under locks",
      [&](std::size_t count) {
        Small small;
        for (std::size_t i = 0; i < count; ++i) {
          keep(map.get(key_of(static_cast<int>(i % 100), bytes), small));
          keep(small);
        }
      },
      2.0);

  int next = 1'000;
  report.compare(
      "cpp_memory_first_call", 20'000,
      [&](std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) keep(ours(next++));
      },
      "2 us",
      [](std::size_t count) {
        const auto end = std::chrono::steady_clock::now() +
                         std::chrono::microseconds(2) * static_cast<int>(count);
        while (std::chrono::steady_clock::now() < end) {
        }
      },
      1.0);
}

Options local_options(const fs::path& folder) {
  return {.backend = "local", .cache_dir = folder.string()};
}

/// First reads of a process at `entries` entries, in an order that no cache foresees:
/// nothing is remembered of those before.
void read_rows(Report& report, const fs::path& scratch, std::size_t entries) {
  const std::string name = "cpp_local_first_" + std::to_string(entries);
  if (!report.wants(name)) return;
  const fs::path folder = scratch / name;
  auto ours = cached("small", [](int n) { return std::string(40, char('a' + n % 26)); },
                     {.backend = "local",
                      .cache_dir = (folder / "ours").string(),
                      .near_cache_bytes = 0});
  fs::create_directories(folder);
  BareSqlite bare((folder / "bare.db").string());
  bare.run("BEGIN");
  const std::string value(120, 'x');  // an envelope's size
  for (std::size_t n = 0; n < entries; ++n) {
    keep(ours(static_cast<int>(n)));
    bare.put(static_cast<std::int64_t>(XXH3_64bits(&n, sizeof n) >> 1U), value);
  }
  bare.run("COMMIT");
  std::minstd_rand one(1);
  std::minstd_rand other(1);
  report.compare(
      name, std::max<std::size_t>(2'000, std::min<std::size_t>(entries, 20'000)),
      [&](std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) {
          keep(ours(static_cast<int>(one() % entries)));
        }
      },
      "bare prepared SQLite select",
      [&](std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) {
          const std::size_t n = other() % entries;
          keep(bare.get(static_cast<std::int64_t>(XXH3_64bits(&n, sizeof n) >> 1U)));
        }
      },
      1.5);
  int next = 2'000'000;
  std::int64_t bare_next = 2'000'000;
  report.compare(
      "cpp_local_first_call_" + std::to_string(entries), 2'000,
      [&](std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) keep(ours(next++));
      },
      "bare SQLite put",
      [&](std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) bare.put(bare_next++, value);
      },
      3.6);
}

/// The same call again, which this process has read before.
template <class Make>
void again_row(Report& report, const fs::path& scratch, const std::string& name,
               const Make& make, double reach) {
  constexpr int kEntries = 100;
  auto ours = cached(name, make, local_options(scratch / name));
  BareMap<decltype(make(1))> map;
  const auto key_of = [](int n, std::array<char, 4>& bytes) {
    std::memcpy(bytes.data(), &n, sizeof n);
    return std::string_view(bytes.data(), bytes.size());
  };
  std::array<char, 4> bytes{};
  for (int n = 0; n < kEntries; ++n) {
    for (int times = 0; times < 3; ++times) (void)ours(n);
    map.put(key_of(n, bytes), make(n));
  }
  report.compare(
      name, 100'000,
      [&](std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) keep(ours(static_cast<int>(i % 100)));
      },
      "flat table in 64 shards under locks",
      [&](std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) {
          decltype(make(1)) value;
          keep(map.get(key_of(static_cast<int>(i % 100), bytes), value));
          keep(value);
        }
      },
      reach);
}

/// Memory that an entry takes, keys and values of ten bytes each, beside the standard
/// map of as many.
void entry_rows(Report& report, const fs::path& scratch) {
  if (!report.wants("cpp_near_cache_entry") && !report.wants("cpp_memory_entry"))
    return;
  constexpr int kEntries = 200'000;
  const auto in_use = [] {
    const auto heap = ::mallinfo2();
    return static_cast<double>(heap.uordblks + heap.hblkhd);
  };
  const auto text_of = [](int n) {
    std::string text = std::to_string(n);
    return std::string(10 - text.size(), '0') + text;
  };
  // What `fill` adds to the heap, for each entry.
  const auto measure = [&](const auto& fill) {
    const double before = in_use();
    fill();
    return (in_use() - before) / kEntries;
  };
  std::unordered_map<std::string, std::string> map;
  const double bare = measure([&] {
    for (int n = 0; n < kEntries; ++n) map.emplace(text_of(n), text_of(n));
  });
  const char* const against = "std::unordered_map of strings";
  const auto echo = [](const std::string& text) { return text; };
  {
    auto ours = cached("entries", echo, {.backend = "memory"});
    (void)ours(text_of(0));
    report.memory("cpp_memory_entry", measure([&] {
                    for (int n = 0; n < kEntries; ++n) (void)ours(text_of(n));
                  }),
                  against, bare, 1.5);
  }
  Options options = local_options(scratch / "entries");
  options.near_cache_bytes = std::size_t{1} << 30;
  auto ours = cached("entries", echo, options);
  for (int n = 0; n < kEntries; ++n) (void)ours(text_of(n));
  report.memory("cpp_near_cache_entry", measure([&] {
                  for (int n = 0; n < kEntries; ++n) (void)ours(text_of(n));
                }),
                against, bare, 1.5);
}

void local_rows(Report& report, const fs::path& scratch) {
  again_row(
      report, scratch, "cpp_local_again",
      [](int n) {
        return Small{n, 0.5};
      },
      4.0);
  again_row(
      report, scratch, "cpp_local_again_string",
      [](int n) { return std::string(40, char('a' + n % 26)); }, 4.0);
  again_row(
      report, scratch, "cpp_local_again_map",
      [](int n) {
        std::map<std::string, double> map;
        for (int i = 0; i < 10; ++i) map["column " + std::to_string(i)] = n + i;
        return map;
      },
      4.0);

  std::vector<double> openings;
  for (int round = 0; round < 15; ++round) {
    const fs::path there = scratch / ("open" + std::to_string(round));
    const auto open_and_look = [&](std::size_t) {
      auto store = open_store({.backend = "local", .cache_dir = there.string()});
      const Id id{&Function::intern("bench:open"), {}, {}, false};
      keep(store.value()->look(id, {.claim = false}, Deadline::max()));
    };
    open_and_look(1);  // makes it
    openings.push_back(seconds_of(open_and_look, 1));
  }
  if (report.wants("cpp_local_open")) {
    report.below("cpp_local_open_and_first_look", median(openings), 1e-3);
  }
}

}  // namespace
}  // namespace cachier::bench

int main(int count, char** arguments) try {
  using namespace cachier::bench;
  if (count < 2) {
    std::cerr << "usage: cpp_rows RESULTS.jsonl [FILTER]\n";
    return 2;
  }
  Report report(arguments[1], count > 2 ? arguments[2] : "");
  std::string name = (fs::temp_directory_path() / "cachier-bench-XXXXXX").string();
  const fs::path scratch = ::mkdtemp(name.data());
  memory_rows(report);
  local_rows(report, scratch);
  entry_rows(report, scratch);
  for (const std::size_t entries : {1U, 1'000U, 1'000'000U}) {
    read_rows(report, scratch, entries);
  }
  fs::remove_all(scratch);
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
