#pragma once

/// What a verification has found, for people and programs.

#include "backends/local/inspect.hpp"

namespace cachier::cli {

/// How a verification shows on a terminal how far it has come.
[[nodiscard]] local::OnProgress progress_line();

/// A line for each finding, on stdout.
void print_findings(const local::Report& report, bool json);

}  // namespace cachier::cli
