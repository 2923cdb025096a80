#include "cli/findings.hpp"

#include "cli/catalog.hpp"
#include "cli/terminal.hpp"
#include "cli/text.hpp"

#include <cachier/key.hpp>

#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace cachier::cli {
namespace {

/// Digits of a digest, as in listings.
constexpr std::size_t kShownDigest = 12;

std::string_view name_of(Finding::Kind kind) noexcept {
  switch (kind) {
    case Finding::Kind::database:
      return "database";
    case Finding::Kind::table:
      return "table";
    case Finding::Kind::state:
      return "state";
    case Finding::Kind::entry:
      return "entry";
    case Finding::Kind::unreadable:
      return "unreadable";
    case Finding::Kind::orphan:
      return "orphan";
  }
  return "unknown";
}

/// The call of an entry, as far as it can be read.
std::string call_of(const Finding& finding) {
  if (finding.function.empty()) return "an unknown function";
  if (finding.key.empty()) return shown_function(finding.function);
  Header header;
  header.function = finding.function;
  header.key = finding.key;
  header.hashed = finding.hashed;
  return shown_call(header);
}

void print_json(const Finding& finding) {
  JsonObject object;
  object.text("kind", "damage").text("what", name_of(finding.kind));
  if (finding.kind == Finding::Kind::entry ||
      finding.kind == Finding::Kind::unreadable) {
    object.text("function", finding.function);
    if (finding.digest) {
      object.text("digest", to_string(*finding.digest));
    } else {
      object.null("digest");
    }
    object.text("call", call_of(finding));
  }
  object.text("file", finding.place).text("why", finding.why);
  std::cout << object.take() << '\n';
}

void print(const Finding& finding) {
  std::cout << name_of(finding.kind) << ' ';
  if (finding.kind == Finding::Kind::entry ||
      finding.kind == Finding::Kind::unreadable) {
    if (finding.digest)
      std::cout << to_string(*finding.digest).substr(0, kShownDigest) << ' ';
    std::cout << call_of(finding);
  } else {
    std::cout << printable(finding.place);
  }
  std::cout << ": " << printable(finding.why) << '\n';
}

}  // namespace

shared::OnProgress progress_line(const char* verb) {
  if (!shows_progress()) return {};
  auto line = std::make_shared<ProgressLine>();
  return [line, verb](const shared::Progress& progress) {
    if (!line->is_due()) return;
    std::string text = std::string(verb) + ": " + progress.what;
    if (progress.done > 0) text += " " + std::to_string(progress.done);
    if (progress.total > 0) text += " of " + std::to_string(progress.total);
    line->show(text);
  };
}

Inspection inspect(const std::string& location) {
  const auto progress = progress_line("Reading");
  Inspection inspection;
  inspection.database = local::verify(location, progress).value();
  inspection.files = files::verify(location, progress).value();
  return inspection;
}

void print_findings(const Inspection& inspection, bool json) {
  const auto print_all = [json](const std::vector<Finding>& findings) {
    for (const Finding& finding : findings) {
      if (json) {
        print_json(finding);
      } else {
        print(finding);
      }
    }
  };
  if (inspection.database) print_all(inspection.database->findings);
  if (inspection.files) print_all(inspection.files->findings);
}

}  // namespace cachier::cli
