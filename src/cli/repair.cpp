#include "backends/files/repair.hpp"
#include "backends/local/repair.hpp"
#include "cli/catalog.hpp"
#include "cli/commands.hpp"
#include "cli/findings.hpp"
#include "cli/terminal.hpp"
#include "cli/text.hpp"

#include <iostream>
#include <string>
#include <vector>

namespace cachier::cli {
namespace {

using local::Rescue;

/// What there is to do.
struct Plan {
  Plan(const Inspection& inspection, bool discards)
      : table(inspection.count(Finding::Kind::table) > 0),
        database(inspection.count(Finding::Kind::database) > 0),
        set_aside(inspection.database ? inspection.database->databases_set_aside : 0),
        entries(inspection.count(Finding::Kind::entry)),
        files(inspection.count(Finding::Kind::orphan)),
        states(inspection.count(Finding::Kind::state)),
        discard(discards && (database || set_aside > 0)) {}

  bool table;
  bool database;
  std::uint64_t set_aside;
  std::uint64_t entries;
  std::uint64_t files;
  std::uint64_t states;
  bool discard;
};

/// As a question asks for it; empty: there is nothing to do.
std::string shown(const Plan& plan) {
  std::vector<std::string> steps;
  if (plan.table) steps.emplace_back("make the table that processes share anew");
  if (plan.database) {
    steps.emplace_back(
        "set the damaged database aside and carry over what can be read of it");
  } else if (plan.set_aside > 0) {
    steps.emplace_back(
        "carry over what can be read of the database that was set aside");
  }
  if (plan.entries > 0)
    steps.push_back("remove " +
                    plural(plan.entries, "damaged entry", "damaged entries"));
  if (plan.states > 0)
    steps.push_back("remove " + plural(plan.states, "damaged state", "damaged states"));
  if (plan.files > 0)
    steps.push_back("remove " + plural(plan.files, "file that no entry has",
                                       "files that no entry has"));
  if (plan.discard) steps.emplace_back("throw away what is set aside, readable or not");
  std::string text;
  for (const std::string& step : steps) text += (text.empty() ? "" : ", ") + step;
  if (!text.empty()) text.front() = static_cast<char>(text.front() - 'a' + 'A');
  return text;
}

void print_json(const Plan& plan, bool sound) {
  std::cout << JsonObject()
                   .text("kind", "plan")
                   .boolean("sound", sound)
                   .number("remove_entries", plan.entries)
                   .number("remove_orphans", plan.files)
                   .number("remove_states", plan.states)
                   .boolean("replace_table", plan.table)
                   .boolean("set_database_aside", plan.database)
                   .boolean("rescue_entries", plan.database || plan.set_aside > 0)
                   .boolean("discard", plan.discard)
                   .take()
            << '\n';
}

/// What was done to either store.
struct Repaired {
  local::Repaired database;
  files::Repaired files;
  std::uint64_t discarded_databases = 0;
  local::Files discarded;

  [[nodiscard]] std::uint64_t removed_entries() const noexcept {
    return database.removed_entries + files.removed_entries;
  }
  [[nodiscard]] std::uint64_t removed_files() const noexcept {
    return database.removed_files + files.removed_files;
  }
};

/// A line, where there is something to say.
void print_count(std::uint64_t count, std::string_view one, std::string_view many) {
  if (count > 0) std::cout << plural(count, one, many) << '\n';
}

void print(const Rescue& rescue) {
  if (rescue.database.empty()) return;
  const std::string name = printable(rescue.database);
  if (!rescue.why.empty()) {
    std::cout << "Nothing could be saved of " << name << ": " << printable(rescue.why)
              << "\n";
    return;
  }
  std::cout << "Saved " << plural(rescue.saved, "entry", "entries") << " of " << name
            << ", which is removed now.\n";
  print_count(rescue.replaced, "entry there was stored or erased anew since.",
              "entries there were stored or erased anew since.");
  print_count(rescue.cleared, "entry there is of a function that was cleared since.",
              "entries there are of functions that were cleared since.");
  print_count(rescue.damaged, "entry there was damaged.",
              "entries there were damaged.");
  if (!rescue.complete) std::cout << "Not all of it could be read.\n";
}

void print(const Repaired& done) {
  if (done.database.table_replaced) std::cout << "Made the table anew.\n";
  if (done.database.database_set_aside)
    std::cout << "Set the damaged database aside, and began another.\n";
  print(done.database.rescue);
  const auto print_removed = [](std::uint64_t count, std::string_view one,
                                std::string_view many) {
    if (count > 0) std::cout << "Removed " << plural(count, one, many) << ".\n";
  };
  print_removed(done.removed_entries(), "damaged entry", "damaged entries");
  print_removed(done.files.removed_states, "damaged state", "damaged states");
  print_removed(done.removed_files(), "file that no entry had",
                "files that no entry had");
  if (done.discarded_databases > 0)
    std::cout << "Threw away "
              << plural(done.discarded_databases, "database", "databases")
              << " that had been set aside, " << human_size(done.discarded.bytes)
              << ".\n";
}

void print_json(const Repaired& done, bool sound) {
  JsonObject object;
  object.text("kind", "repair")
      .boolean("sound", sound)
      .number("removed_entries", done.removed_entries())
      .number("removed_orphans", done.removed_files())
      .number("removed_states", done.files.removed_states)
      .boolean("table_replaced", done.database.table_replaced)
      .boolean("database_set_aside", done.database.database_set_aside)
      .number("discarded_databases", done.discarded_databases)
      .number("discarded_bytes", done.discarded.bytes);
  const Rescue& rescue = done.database.rescue;
  if (rescue.database.empty()) {
    object.null("rescued_from");
  } else {
    object.text("rescued_from", rescue.database);
  }
  object.number("saved_entries", rescue.saved)
      .number("replaced_since", rescue.replaced)
      .number("cleared_since", rescue.cleared)
      .number("lost_entries", rescue.damaged)
      .boolean("read_completely", rescue.complete && rescue.why.empty());
  std::cout << object.take() << '\n';
}

Repaired repair(const std::string& location, const Inspection& inspection,
                bool discards) {
  const auto progress = progress_line("Repairing");
  Repaired done;
  if (inspection.database) {
    done.database = local::repair(location, *inspection.database, progress).value();
    // Only now: what can be read of them has been carried over.
    if (discards)
      done.discarded = local::discard(location, done.discarded_databases).value();
  }
  if (inspection.files)
    done.files = files::repair(location, *inspection.files, progress).value();
  return done;
}

}  // namespace

int repair(const RepairOptions& options) {
  if (!options.yes && !options.dry_run && (options.json || !input_is_terminal())) {
    std::cerr << "cachier: cannot ask whether to repair\n  cause: "
              << (options.json ? "the output is for programs"
                               : "stdin is not a terminal")
              << "\n  fix:   add --yes\n";
    return kUsage;
  }
  const std::string location = location_of(options.directory);
  const Inspection before = inspect(location);
  if (before.absent()) {
    if (!options.json)
      std::cout << "Nothing is cached in " << printable(location) << " yet.\n";
    return kDone;
  }
  print_findings(before, options.json);
  const Plan plan(before, options.discard);
  const std::string steps = shown(plan);
  if (steps.empty() && !options.json) {
    std::cout << (before.sound() ? "There is nothing to repair in "
                                 : "There is nothing that can be repaired in ")
              << printable(location) << ".\n";
    return before.sound() ? kDone : kFailed;
  }
  if (options.dry_run) {
    if (options.json) {
      print_json(plan, before.sound());
    } else {
      std::cout << "Would do, in " << printable(location) << ": " << steps << ".\n";
    }
    return before.sound() ? kDone : kFailed;
  }
  if (!options.yes && !confirmed(steps + ", in " + printable(location) + "?")) {
    std::cout << "Left as it was.\n";
    return kFailed;
  }
  const Repaired done = repair(location, before, options.discard);
  // What was done is told also where this fails.
  if (!options.json) print(done);
  const bool sound = inspect(location).sound();
  if (options.json) {
    print_json(done, sound);
  } else {
    std::cout << (sound ? "It is sound now.\n"
                        : "It is still damaged: see `cachier verify`.\n");
  }
  return sound ? kDone : kFailed;
}

}  // namespace cachier::cli
