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

using local::Finding;
using local::Repaired;
using local::Report;
using local::Rescue;

/// What there is to do, as a question asks for it.
std::string plan_of(const Report& report) {
  std::vector<std::string> steps;
  if (report.count(Finding::Kind::table) > 0)
    steps.emplace_back("make the table that processes share anew");
  if (report.count(Finding::Kind::database) > 0) {
    steps.emplace_back(
        "set the damaged database aside and carry over what can be read of it");
  } else if (report.databases_set_aside > 0) {
    steps.emplace_back(
        "carry over what can be read of the database that was set aside");
  }
  if (const auto entries = report.count(Finding::Kind::entry); entries > 0)
    steps.push_back("remove " + plural(entries, "damaged entry", "damaged entries"));
  if (const auto files = report.count(Finding::Kind::orphan); files > 0)
    steps.push_back("remove " + plural(files, "value file that no entry has",
                                       "value files that no entry has"));
  std::string plan;
  for (const std::string& step : steps) plan += (plan.empty() ? "" : ", ") + step;
  if (!plan.empty()) plan.front() = static_cast<char>(plan.front() - 'a' + 'A');
  return plan;
}

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
  if (done.table_replaced) std::cout << "Made the table anew.\n";
  if (done.database_set_aside)
    std::cout << "Set the damaged database aside, and began another.\n";
  print(done.rescue);
  if (done.removed_entries > 0)
    std::cout << "Removed "
              << plural(done.removed_entries, "damaged entry.\n", "damaged entries.\n");
  if (done.removed_files > 0)
    std::cout << "Removed "
              << plural(done.removed_files, "value file that no entry had.\n",
                        "value files that no entry had.\n");
}

void print_json(const Repaired& done, bool sound) {
  JsonObject object;
  object.text("kind", "repair")
      .boolean("sound", sound)
      .number("removed_entries", done.removed_entries)
      .number("removed_orphans", done.removed_files)
      .boolean("table_replaced", done.table_replaced)
      .boolean("database_set_aside", done.database_set_aside);
  const Rescue& rescue = done.rescue;
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

}  // namespace

int repair(const RepairOptions& options) {
  if (!options.yes && (options.json || !input_is_terminal())) {
    std::cerr << "cachier: cannot ask whether to repair\n  cause: "
              << (options.json ? "the output is for programs"
                               : "stdin is not a terminal")
              << "\n  fix:   add --yes\n";
    return kUsage;
  }
  const std::string location = location_of(options.directory);
  const auto report = local::verify(location, progress_line()).value();
  if (!report) {
    if (!options.json)
      std::cout << "Nothing is cached in " << printable(location) << " yet.\n";
    return kDone;
  }
  print_findings(*report, options.json);
  const std::string plan = plan_of(*report);
  if (plan.empty() && !options.json) {
    std::cout << (report->sound() ? "There is nothing to repair in "
                                  : "There is nothing that can be repaired in ")
              << printable(location) << ".\n";
    return report->sound() ? kDone : kFailed;
  }
  if (!options.yes && !confirmed(plan + ", in " + printable(location) + "?")) {
    std::cout << "Left as it was.\n";
    return kFailed;
  }
  const auto done = local::repair(location, *report, progress_line()).value();
  // What was done is told also where this fails.
  if (!options.json) print(done);
  const auto after = local::verify(location, progress_line()).value();
  const bool sound = !after || after->sound();
  if (options.json) {
    print_json(done, sound);
  } else {
    std::cout << (sound ? "It is sound now.\n"
                        : "It is still damaged: see `cachier verify`.\n");
  }
  return sound ? kDone : kFailed;
}

}  // namespace cachier::cli
