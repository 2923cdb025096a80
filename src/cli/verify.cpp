#include "backends/local/inspect.hpp"
#include "cli/catalog.hpp"
#include "cli/commands.hpp"
#include "cli/findings.hpp"
#include "cli/text.hpp"

#include <iostream>
#include <string>

namespace cachier::cli {
namespace {

using local::Finding;
using local::Report;

void print_json(const Report& report) {
  std::cout << JsonObject()
                   .text("kind", "summary")
                   .boolean("sound", report.sound())
                   .number("entries", report.entries)
                   .number("newer_entries", report.newer)
                   .number("entries_in_files", report.in_files)
                   .number("erased_marks", report.tombstones)
                   .number("cleared_rows", report.waiting)
                   .number("generation", report.generation)
                   .number("set_aside_databases", report.databases_set_aside)
                   .number("set_aside_bytes", report.set_aside.bytes)
                   .number("database_faults", report.count(Finding::Kind::database))
                   .number("table_faults", report.count(Finding::Kind::table))
                   .number("damaged_entries", report.count(Finding::Kind::entry))
                   .number("unreadable_entries",
                           report.count(Finding::Kind::unreadable))
                   .number("orphans", report.count(Finding::Kind::orphan))
                   .take()
            << '\n';
}

/// A line of the summary, where there is something to say.
void print_count(std::uint64_t count, std::string_view one, std::string_view many) {
  if (count > 0) std::cout << "  " << plural(count, one, many) << '\n';
}

void print_summary(const Report& report, const std::string& location) {
  std::cout << "In " << printable(location) << ":\n  "
            << plural(report.entries, "sound entry", "sound entries");
  if (report.in_files > 0)
    std::cout << ", " << report.in_files << " with a file of its own";
  std::cout << '\n';
  print_count(report.newer, "entry of a newer form", "entries of a newer form");
  print_count(report.tombstones, "mark of an erased entry", "marks of erased entries");
  print_count(report.waiting, "cleared row, yet to be removed",
              "cleared rows, yet to be removed");
  print_count(report.databases_set_aside, "database that was damaged and set aside",
              "databases that were damaged and set aside");
  print_count(report.count(Finding::Kind::database), "fault of the database",
              "faults of the database");
  print_count(report.count(Finding::Kind::table), "damaged table", "damaged tables");
  print_count(report.count(Finding::Kind::entry), "damaged entry", "damaged entries");
  print_count(report.count(Finding::Kind::unreadable), "entry that cannot be read",
              "entries that cannot be read");
  print_count(report.count(Finding::Kind::orphan), "value file that no entry has",
              "value files that no entry has");
  std::cout << (report.sound() ? "It is sound.\n"
                               : "It is damaged: `cachier repair` mends it.\n");
}

}  // namespace

int verify(const VerifyOptions& options) {
  const std::string location = location_of(options.directory);
  const auto report = local::verify(location, progress_line()).value();
  if (!report) {
    if (!options.json)
      std::cout << "Nothing is cached in " << printable(location) << " yet.\n";
    return kDone;
  }
  print_findings(*report, options.json);
  if (options.json) {
    print_json(*report);
  } else {
    print_summary(*report, location);
  }
  return report->sound() ? kDone : kFailed;
}

}  // namespace cachier::cli
