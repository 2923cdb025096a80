#include "cli/catalog.hpp"
#include "cli/commands.hpp"
#include "cli/terminal.hpp"
#include "cli/text.hpp"

#include <cachier/backend.hpp>
#include <cachier/key.hpp>

#include <algorithm>
#include <iostream>

namespace cachier::cli {
namespace {

/// Shortest beginning of a digest in listings: one in 2^48 entries shares it by chance.
constexpr std::size_t kShownDigest = 12;

std::uint64_t seconds_of(Duration age) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(age).count();
  return seconds < 0 ? 0 : static_cast<std::uint64_t>(seconds);
}

void print_nothing(const Catalog& catalog, const FunctionPattern& pattern) {
  if (catalog.absent()) {
    std::cout << "Nothing is cached in " << printable(catalog.location()) << " yet.\n";
  } else if (pattern.everything()) {
    std::cout << "The cache in " << printable(catalog.location()) << " is empty.\n";
  } else {
    std::cout << "Nothing is cached for '" << printable(pattern.word()) << "' in "
              << printable(catalog.location()) << ".\n";
  }
}

std::string entry_json(const Header& entry, Time time) {
  return JsonObject()
      .text("function", entry.function)
      .text("digest", to_string(entry.digest))
      .text("call", shown_call(entry))
      .text("key", hexadecimal(as_bytes(entry.key)))
      .boolean("key_is_hash", entry.hashed)
      .text("stored_at", iso_time(entry.stored_at))
      .number("age_seconds", seconds_of(time - entry.stored_at))
      .number("size", entry.size)
      .text("codec", shown_codec(entry.codec))
      .take();
}

void sort_entries(std::vector<Header>& entries, ListOptions::Sort by) {
  using Sort = ListOptions::Sort;
  std::sort(entries.begin(), entries.end(), [&](const Header& a, const Header& b) {
    if (by == Sort::size && a.size != b.size) return a.size > b.size;
    if (by != Sort::size && by != Sort::age && a.function != b.function) {
      return a.function < b.function;
    }
    if (by != Sort::name && a.stored_at != b.stored_at) {
      return a.stored_at > b.stored_at;
    }
    if (a.function != b.function) return a.function < b.function;
    return a.key != b.key ? a.key < b.key : a.digest < b.digest;
  });
}

int list_entries(const Catalog& catalog, const FunctionPattern& pattern,
                 const ListOptions& options) {
  const Time time = now();
  if (options.json && options.sort == ListOptions::Sort::none) {
    catalog.scan(pattern, [&](const Header& entry) {
      std::cout << entry_json(entry, time) << '\n';
    });
    return kDone;
  }
  std::vector<Header> entries;
  std::uint64_t bytes = 0;
  catalog.scan(pattern, [&](const Header& entry) {
    bytes += entry.size;
    entries.push_back(entry);
  });
  sort_entries(entries, options.sort);
  if (options.json) {
    for (const Header& entry : entries) std::cout << entry_json(entry, time) << '\n';
    return kDone;
  }
  if (entries.empty()) {
    print_nothing(catalog, pattern);
    return kDone;
  }
  Table table({{.title = "DIGEST"},
               {.title = "CALL", .flexible = true},
               {.title = "AGE", .align = Table::Align::right},
               {.title = "SIZE", .align = Table::Align::right},
               {.title = "CODEC"}});
  for (const Header& entry : entries) {
    table.row({to_string(entry.digest).substr(0, kShownDigest), shown_call(entry),
               human_age(time - entry.stored_at), human_size(entry.size),
               std::string(shown_codec(entry.codec))});
  }
  table.print();
  std::cout << faint(plural(entries.size(), "entry, ", "entries, ") +
                     human_size(bytes) + " in " + printable(catalog.location()))
            << '\n';
  return kDone;
}

void sort_functions(std::vector<FunctionSummary>& functions, ListOptions::Sort by) {
  using Sort = ListOptions::Sort;
  std::stable_sort(functions.begin(), functions.end(),
                   [&](const FunctionSummary& a, const FunctionSummary& b) {
                     if (by == Sort::size) return a.bytes > b.bytes;
                     if (by == Sort::age) return a.newest > b.newest;
                     return false;
                   });
}

int list_functions(const Catalog& catalog, const FunctionPattern& pattern,
                   const ListOptions& options) {
  const Time time = now();
  auto functions = catalog.functions(pattern);
  sort_functions(functions, options.sort);
  if (options.json) {
    for (const FunctionSummary& function : functions) {
      std::cout << JsonObject()
                       .text("function", function.id)
                       .number("entries", function.entries)
                       .number("bytes", function.bytes)
                       .text("oldest", iso_time(function.oldest))
                       .text("newest", iso_time(function.newest))
                       .take()
                << '\n';
    }
    return kDone;
  }
  if (functions.empty()) {
    print_nothing(catalog, pattern);
    return kDone;
  }
  Table table({{.title = "FUNCTION", .flexible = true},
               {.title = "ENTRIES", .align = Table::Align::right},
               {.title = "SIZE", .align = Table::Align::right},
               {.title = "NEWEST", .align = Table::Align::right},
               {.title = "OLDEST", .align = Table::Align::right}});
  std::uint64_t entries = 0;
  std::uint64_t bytes = 0;
  for (const FunctionSummary& function : functions) {
    entries += function.entries;
    bytes += function.bytes;
    table.row({shown_function(function.id), std::to_string(function.entries),
               human_size(function.bytes), human_age(time - function.newest),
               human_age(time - function.oldest)});
  }
  table.print();
  std::cout << faint(plural(functions.size(), "function, ", "functions, ") +
                     plural(entries, "entry, ", "entries, ") + human_size(bytes) +
                     " in " + printable(catalog.location()))
            << '\n';
  return kDone;
}

}  // namespace

int list(const ListOptions& options) {
  const Catalog catalog(options.directory);
  const FunctionPattern pattern(options.function);
  if (catalog.absent()) {
    if (!options.json) print_nothing(catalog, pattern);
    return kDone;
  }
  if (options.entries || !pattern.everything()) {
    return list_entries(catalog, pattern, options);
  }
  return list_functions(catalog, pattern, options);
}

int list_backends(bool json) {
  const auto all = backends();
  if (json) {
    for (const BackendInfo& info : all) {
      std::cout << JsonObject()
                       .text("name", info.name)
                       .boolean("ready", info.ready)
                       .text("detail", info.detail)
                       .take()
                << '\n';
    }
    return kDone;
  }
  Table table({{.title = "BACKEND"}, {.title = "READY"}, {.title = "WHAT IT IS"}});
  for (const BackendInfo& info : all) {
    table.row({info.name, info.ready ? "yes" : "no", info.detail});
  }
  table.print();
  return kDone;
}

}  // namespace cachier::cli
