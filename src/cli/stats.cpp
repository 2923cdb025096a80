#include "backends/local/inspect.hpp"
#include "cli/catalog.hpp"
#include "cli/commands.hpp"
#include "cli/terminal.hpp"
#include "cli/text.hpp"

#include <algorithm>
#include <iostream>
#include <string>
#include <string_view>

namespace cachier::cli {
namespace {

using local::Entries;
using local::Files;
using local::FunctionStats;
using local::Stats;

void print_line(std::string_view name, const std::string& text) {
  std::string padded(name);
  padded.resize(14, ' ');
  std::cout << bold(padded) << "  " << text << '\n';
}

std::string shown_files(const Files& files) {
  return human_size(files.bytes) + " in " + plural(files.count, "file", "files");
}

void print_store(const Stats& stats, const std::string& location) {
  const Entries& all = stats.entries;
  const Time time = now();
  print_line("cache", printable(location));
  print_line("functions", std::to_string(stats.functions.size()));
  print_line("entries", std::to_string(all.count));
  if (all.count > 0) {
    print_line("newest", human_age(time - all.newest));
    print_line("oldest", human_age(time - all.oldest));
  }
  print_line("values", human_size(all.bytes()) + ": " + human_size(all.in_database) +
                           " in the database, " + human_size(all.in_files) +
                           " in files");
  print_line("cleared",
             plural(stats.waiting, "row waits", "rows wait") + " to be removed");
  print_line("erased", plural(stats.tombstones, "mark", "marks"));
  print_line("evicted", plural(stats.evictions, "entry", "entries") + " so far");
  std::cout << '\n';
  print_line("database", human_size(stats.database.bytes) + ", generation " +
                             std::to_string(stats.generation));
  print_line("log", human_size(stats.log.bytes));
  print_line("value files", shown_files(stats.value_files));
  print_line("others", shown_files(stats.others));
  print_line("set aside", plural(stats.databases_set_aside, "damaged database, ",
                                 "damaged databases, ") +
                              human_size(stats.set_aside.bytes));
}

void print_functions(const std::vector<FunctionStats>& functions) {
  Table table({{.title = "FUNCTION", .flexible = true},
               {.title = "ENTRIES", .align = Table::Align::right},
               {.title = "IN DATABASE", .align = Table::Align::right},
               {.title = "IN FILES", .align = Table::Align::right},
               {.title = "NEWEST", .align = Table::Align::right},
               {.title = "OLDEST", .align = Table::Align::right}});
  const Time time = now();
  for (const FunctionStats& function : functions) {
    const Entries& entries = function.entries;
    table.row({shown_function(function.id), std::to_string(entries.count),
               human_size(entries.in_database), human_size(entries.in_files),
               human_age(time - entries.newest), human_age(time - entries.oldest)});
  }
  table.print();
}

void add_entries(JsonObject& object, const Entries& entries) {
  object.number("entries", entries.count)
      .number("bytes", entries.bytes())
      .number("bytes_in_database", entries.in_database)
      .number("bytes_in_files", entries.in_files);
  if (entries.count == 0) {
    object.null("oldest").null("newest");
  } else {
    object.text("oldest", iso_time(entries.oldest))
        .text("newest", iso_time(entries.newest));
  }
}

void print_json(const Stats& stats, const std::string& location) {
  JsonObject object;
  object.text("kind", "store").text("directory", location);
  object.number("functions", stats.functions.size());
  add_entries(object, stats.entries);
  object.number("cleared_rows", stats.waiting)
      .number("erased_marks", stats.tombstones)
      .number("evicted", stats.evictions)
      .number("generation", stats.generation)
      .number("database_bytes", stats.database.bytes)
      .number("log_bytes", stats.log.bytes)
      .number("value_files", stats.value_files.count)
      .number("value_files_bytes", stats.value_files.bytes)
      .number("other_bytes", stats.others.bytes)
      .number("set_aside_databases", stats.databases_set_aside)
      .number("set_aside_bytes", stats.set_aside.bytes);
  std::cout << object.take() << '\n';
}

void print_json(const FunctionStats& function) {
  JsonObject object;
  object.text("kind", "function").text("function", function.id);
  add_entries(object, function.entries);
  std::cout << object.take() << '\n';
}

}  // namespace

int stats(const StatsOptions& options) {
  const std::string location = location_of(options.directory);
  const FunctionPattern pattern(options.function);
  auto stats = local::stats(location).value();
  if (!stats) {
    if (!options.json)
      std::cout << "Nothing is cached in " << printable(location) << " yet.\n";
    return kDone;
  }
  auto chosen = stats->functions;
  chosen.erase(std::remove_if(chosen.begin(), chosen.end(),
                              [&](const FunctionStats& function) {
                                return !pattern.matches(function.id);
                              }),
               chosen.end());
  if (options.json) {
    if (pattern.everything()) print_json(*stats, location);
    for (const FunctionStats& function : chosen) print_json(function);
    return kDone;
  }
  if (pattern.everything()) print_store(*stats, location);
  if (pattern.everything() && !chosen.empty()) std::cout << '\n';
  if (!chosen.empty()) {
    print_functions(chosen);
  } else if (!pattern.everything()) {
    std::cout << "Nothing is cached for '" << printable(pattern.word()) << "' in "
              << printable(location) << ".\n";
  }
  return kDone;
}

}  // namespace cachier::cli
