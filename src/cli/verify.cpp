#include "cli/catalog.hpp"
#include "cli/commands.hpp"
#include "cli/findings.hpp"
#include "cli/text.hpp"

#include <iostream>
#include <string>

namespace cachier::cli {
namespace {

/// Both reports in one, where they say the same of one store and of the other.
struct Sums {
  explicit Sums(const Inspection& inspection)
      : database(inspection.database.value_or(local::Report{})),
        files(inspection.files.value_or(files::Report{})) {}

  local::Report database;
  files::Report files;

  [[nodiscard]] std::uint64_t entries() const noexcept {
    return database.entries + files.entries;
  }
  [[nodiscard]] std::uint64_t newer() const noexcept {
    return database.newer + files.newer;
  }
  [[nodiscard]] std::uint64_t tombstones() const noexcept {
    return database.tombstones + files.tombstones;
  }
};

void print_json(const Inspection& inspection) {
  const Sums sums(inspection);
  const auto faults = [&](Finding::Kind kind) { return inspection.count(kind); };
  std::cout << JsonObject()
                   .text("kind", "summary")
                   .boolean("sound", inspection.sound())
                   .number("entries", sums.entries())
                   .number("newer_entries", sums.newer())
                   .number("entries_in_files", sums.database.in_files)
                   .number("separate_files", sums.files.entries + sums.files.newer)
                   .number("erased_marks", sums.tombstones())
                   .number("cleared_rows", sums.database.waiting)
                   .number("generation", sums.database.generation)
                   .number("set_aside_databases", sums.database.databases_set_aside)
                   .number("set_aside_bytes", sums.database.set_aside.bytes)
                   .number("database_faults", faults(Finding::Kind::database))
                   .number("table_faults", faults(Finding::Kind::table))
                   .number("state_faults", faults(Finding::Kind::state))
                   .number("damaged_entries", faults(Finding::Kind::entry))
                   .number("unreadable_entries", faults(Finding::Kind::unreadable))
                   .number("orphans", faults(Finding::Kind::orphan))
                   .take()
            << '\n';
}

/// A line of the summary, where there is something to say.
void print_count(std::uint64_t count, std::string_view one, std::string_view many) {
  if (count > 0) std::cout << "  " << plural(count, one, many) << '\n';
}

void print_summary(const Inspection& inspection, const std::string& location) {
  const Sums sums(inspection);
  const auto faults = [&](Finding::Kind kind) { return inspection.count(kind); };
  std::cout << "In " << printable(location) << ":\n  "
            << plural(sums.entries(), "sound entry", "sound entries");
  const auto apart = sums.database.in_files + sums.files.entries + sums.files.newer;
  if (apart > 0) std::cout << ", " << apart << " with a file of its own";
  std::cout << '\n';
  print_count(sums.newer(), "entry of a newer form", "entries of a newer form");
  print_count(sums.tombstones(), "mark of an erased entry", "marks of erased entries");
  print_count(sums.database.waiting, "cleared row, yet to be removed",
              "cleared rows, yet to be removed");
  print_count(sums.database.databases_set_aside,
              "database that was damaged and set aside",
              "databases that were damaged and set aside");
  print_count(faults(Finding::Kind::database), "fault of the database",
              "faults of the database");
  print_count(faults(Finding::Kind::table), "damaged table", "damaged tables");
  print_count(faults(Finding::Kind::state), "damaged state", "damaged states");
  print_count(faults(Finding::Kind::entry), "damaged entry", "damaged entries");
  print_count(faults(Finding::Kind::unreadable), "entry that cannot be read",
              "entries that cannot be read");
  print_count(faults(Finding::Kind::orphan), "file that no entry has",
              "files that no entry has");
  std::cout << (inspection.sound() ? "It is sound.\n"
                                   : "It is damaged: `cachier repair` mends it.\n");
}

}  // namespace

int verify(const VerifyOptions& options) {
  const std::string location = location_of(options.directory);
  const Inspection inspection = inspect(location);
  if (inspection.absent()) {
    if (!options.json)
      std::cout << "Nothing is cached in " << printable(location) << " yet.\n";
    return kDone;
  }
  print_findings(inspection, options.json);
  if (options.json) {
    print_json(inspection);
  } else {
    print_summary(inspection, location);
  }
  return inspection.sound() ? kDone : kFailed;
}

}  // namespace cachier::cli
