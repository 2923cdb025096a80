#include "cli/catalog.hpp"

#include "cli/text.hpp"

#include <cachier/backend.hpp>
#include <cachier/key.hpp>

#include <fnmatch.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

namespace cachier::cli {
namespace {

constexpr std::string_view kUsualPrefix = "cachier";

bool nothing_there(const std::string& directory) {
  std::error_code error;
  const auto first = std::filesystem::directory_iterator(directory, error);
  if (error) return error == std::errc::no_such_file_or_directory;
  return first == std::filesystem::directory_iterator();
}

}  // namespace

bool FunctionPattern::matches(std::string_view function_id) const {
  if (word_.empty() || word_ == function_id) return true;
  const std::string id(function_id);
  const std::string shown = shown_function(id);
  const auto parts = parse_function_id(id);
  const std::string& name = parts ? parts->name : id;
  if (is_pattern()) {
    const auto fits = [&](const std::string& text) {
      return ::fnmatch(word_.c_str(), text.c_str(), FNM_NOESCAPE) == 0;
    };
    return fits(id) || fits(shown) || fits(name);
  }
  return word_ == shown || word_ == name || name.ends_with("." + word_);
}

std::string shown_function(const std::string& id) {
  const auto parts = parse_function_id(id);
  if (!parts) return printable(id);
  std::string text;
  if (parts->key_prefix != kUsualPrefix) text = parts->key_prefix + ":";
  text += parts->name;
  if (!parts->code.empty()) text += "#" + parts->code;
  if (parts->parameters) text += "(" + *parts->parameters + ")";
  if (!parts->version.empty()) text += "@" + parts->version;
  return printable(text);
}

std::string shown_call(const Header& entry, std::size_t limit) {
  const auto parts = parse_function_id(entry.function);
  std::string text = printable(parts ? parts->name : entry.function);
  if (parts && !parts->version.empty()) text += printable("@" + parts->version);
  text += '(';
  if (entry.hashed) {
    text += "sha256 " + hexadecimal(as_bytes(entry.key)).substr(0, 16) + "…";
  } else {
    const std::string parameters = parts ? parts->parameters.value_or("") : "";
    text += printable(display_key(as_bytes(entry.key), parameters, limit));
  }
  return text + ")";
}

std::string_view shown_codec(Codec codec) noexcept {
  switch (codec) {
    case Codec::live:
      return "live";
    case Codec::cbor:
      return "cbor";
    case Codec::pickle:
      return "pickle";
  }
  return "unknown";
}

std::string location_of(const std::string& directory) {
  return std::filesystem::absolute(directory.empty() ? default_cache_dir() : directory)
      .lexically_normal();
}

Catalog::Catalog(const std::string& directory) : location_(location_of(directory)) {
  if (nothing_there(location_)) return;
  // The folders of the formats: what is not there is not to be made.
  std::error_code ignored;
  const auto is_there = [&](const char* folder) {
    return std::filesystem::exists(std::filesystem::path(location_) / folder, ignored);
  };
  const bool files = is_there("v1-files");
  if (is_there("v1") || !files)
    stores_.push_back(open_store({.backend = "local", .cache_dir = location_}).value());
  if (!files) return;
  auto store =
      open_store({.backend = "local", .cache_dir = location_, .separate_files = true});
  // On a network file system it is what "local" is already.
  if (stores_.empty() || store.value() != stores_.front())
    stores_.push_back(std::move(*store));
}

void Catalog::scan(const FunctionPattern& pattern,
                   const std::function<void(const Header&)>& each) const {
  for (const auto& store : stores_) {
    Cursor at;
    do {
      const Page page = store->scan({}, at, soon()).value();
      for (const Header& entry : page.entries) {
        if (pattern.everything() || pattern.matches(entry.function)) each(entry);
      }
      at = page.next;
    } while (!at.empty());
  }
}

std::vector<FunctionSummary> Catalog::functions(const FunctionPattern& pattern) const {
  std::map<std::string, FunctionSummary> found;
  scan(pattern, [&](const Header& entry) {
    FunctionSummary& function = found[entry.function];
    if (function.entries == 0) {
      function.id = entry.function;
      function.oldest = function.newest = entry.stored_at;
    }
    ++function.entries;
    function.bytes += entry.size;
    function.oldest = std::min(function.oldest, entry.stored_at);
    function.newest = std::max(function.newest, entry.stored_at);
  });
  std::vector<FunctionSummary> functions;
  functions.reserve(found.size());
  for (auto& [id, function] : found) functions.push_back(std::move(function));
  return functions;
}

std::vector<Header> Catalog::by_digest(std::string_view prefix,
                                       std::size_t most) const {
  std::vector<Header> found;
  scan(FunctionPattern(""), [&](const Header& entry) {
    const bool known =
        std::any_of(found.begin(), found.end(),
                    [&](const Header& other) { return same_call(entry, other); });
    if (!known && found.size() < most && to_string(entry.digest).starts_with(prefix)) {
      found.push_back(entry);
    }
  });
  return found;
}

bool same_call(const Header& a, const Header& b) noexcept {
  return a.digest == b.digest && a.function == b.function && a.hashed == b.hashed &&
         a.key == b.key;
}

bool like_digest(std::string_view word) noexcept {
  return word.size() >= 4 && word.size() <= 32 &&
         word.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

Time now() noexcept {
  return std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now());
}

Deadline soon() noexcept {
  return std::chrono::steady_clock::now() + std::chrono::seconds(30);
}

}  // namespace cachier::cli
