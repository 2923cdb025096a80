#pragma once

/// What a verification has found, for people and programs.

#include "backends/files/inspect.hpp"
#include "backends/local/inspect.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace cachier::cli {

using shared::Finding;

/// How it shows on a terminal how far it has come: a line that begins with `verb`.
[[nodiscard]] shared::OnProgress progress_line(const char* verb);

/// What there is in a cache directory, either way.
struct Inspection {
  std::optional<local::Report> database;
  std::optional<files::Report> files;

  /// Whether nothing is cached there.
  [[nodiscard]] bool absent() const noexcept { return !database && !files; }
  [[nodiscard]] bool sound() const noexcept {
    return (!database || database->sound()) && (!files || files->sound());
  }
  [[nodiscard]] std::uint64_t count(Finding::Kind kind) const noexcept {
    return (database ? database->count(kind) : 0) + (files ? files->count(kind) : 0);
  }
};
[[nodiscard]] Inspection inspect(const std::string& location);

/// A line for each finding, on stdout.
void print_findings(const Inspection& inspection, bool json);

}  // namespace cachier::cli
