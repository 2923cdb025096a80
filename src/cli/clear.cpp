#include "cli/catalog.hpp"
#include "cli/commands.hpp"
#include "cli/terminal.hpp"
#include "cli/text.hpp"

#include <cachier/key.hpp>

#include <iostream>
#include <string>
#include <utility>

namespace cachier::cli {
namespace {

/// The functions to clear, by id. A plain word must mean one function; a pattern may
/// mean several. An id may be given of which nothing is stored yet.
std::vector<std::string> chosen(const Catalog& catalog,
                                const FunctionPattern& pattern) {
  std::vector<std::string> ids;
  for (const FunctionSummary& function : catalog.functions(pattern)) {
    if (function.id == pattern.word()) return {function.id};
    ids.push_back(function.id);
  }
  if (ids.empty() && parse_function_id(pattern.word())) return {pattern.word()};
  if (ids.size() > 1 && !pattern.is_pattern()) {
    std::string listed;
    for (const std::string& id : ids) {
      if (!listed.empty()) listed += ", ";
      listed += shown_function(id);
    }
    throw Exception(
        {ErrorCode::invalid_argument,
         "cannot clear '" + printable(pattern.word()) + "'",
         "it means several functions: " + listed,
         "say which, or use a pattern like '*" + printable(pattern.word()) + "*'"});
  }
  return ids;
}

std::string object_of(const ClearOptions& options,
                      const std::vector<std::string>& ids) {
  std::string what = options.claims ? "all claims" : "all entries";
  if (options.older_than) what += " older than " + human_age(*options.older_than);
  if (options.function.empty()) return what + " of all functions";
  if (ids.size() == 1) return what + " of " + shown_function(ids.front());
  return what + " of " + std::to_string(ids.size()) + " functions";
}

}  // namespace

int clear(const ClearOptions& options) {
  if (!options.yes && !input_is_terminal()) {
    std::cerr << "cachier: cannot ask whether to clear\n"
                 "  cause: stdin is not a terminal\n"
                 "  fix:   add --yes\n";
    return kUsage;
  }
  const Catalog catalog(options.directory);
  const FunctionPattern pattern(options.function);
  std::vector<std::string> ids;
  if (!catalog.absent() && !pattern.everything()) ids = chosen(catalog, pattern);
  if (catalog.absent() || (ids.empty() && !pattern.everything())) {
    std::cout << "Nothing to clear: nothing is cached"
              << (pattern.everything() ? std::string()
                                       : " for '" + printable(pattern.word()) + "'")
              << " in " << printable(catalog.location()) << ".\n";
    return kDone;
  }
  const std::string what = object_of(options, ids);
  const std::string place = " in " + printable(catalog.location());
  const std::string verb = options.claims ? "Free " : "Remove ";
  if (!options.yes && !confirmed(verb + what + place + "?")) {
    std::cout << "Left as it was.\n";
    return kFailed;
  }

  Clear mode = Clear::entries;
  Filter filter;
  if (options.claims) {
    mode = Clear::claims;
  } else if (options.older_than) {
    mode = Clear::stale;
    filter.stored_before = now() - *options.older_than;
  }
  std::uint64_t removed = 0;
  const auto clear_in = [&](Store& store, const std::string& of) {
    const Meanwhile telling((options.claims ? "Freeing claims" : "Removing entries") +
                            of);
    removed += store.clear(filter, mode, soon()).value();
  };
  for (const auto& store : catalog.stores()) {
    filter.function = nullptr;
    if (pattern.everything()) clear_in(*store, " of all functions");
    for (const std::string& id : ids) {
      filter.function = &Function::intern(id);
      clear_in(*store, " of " + shown_function(id));
    }
  }
  if (options.claims) {
    std::cout << "Freed " << what << ".\n";
  } else {
    std::cout << "Removed " << removed << (removed == 1 ? " entry.\n" : " entries.\n");
  }
  return kDone;
}

}  // namespace cachier::cli
