#include <cachier/key.hpp>

#include <algorithm>

namespace cachier {
namespace {

constexpr std::string_view kHexDigits = "0123456789ABCDEF";
constexpr std::string_view kReserved = "%:#()@";

/// The valid UTF-8 sequence at the front has this many bytes; 0: there is none.
std::size_t sound_length(std::string_view text) {
  for (std::size_t length = 1; length <= std::min<std::size_t>(4, text.size());
       ++length) {
    if (cbor::valid_text(text.substr(0, length))) return length;
  }
  return 0;
}

void append_escaped(std::string& id, std::string_view part) {
  while (!part.empty()) {
    const auto first = static_cast<unsigned char>(part.front());
    std::size_t length = sound_length(part);
    const bool reserved = first < 0x20 || first == 0x7f ||
                          kReserved.find(part.front()) != std::string_view::npos;
    if (length == 0 || reserved) {
      length = 1;
      id.push_back('%');
      id.push_back(kHexDigits[first >> 4]);
      id.push_back(kHexDigits[first & 15]);
    } else {
      id.append(part.substr(0, length));
    }
    part.remove_prefix(length);
  }
}

std::optional<std::string> unescaped(std::string_view part) {
  std::string text;
  for (std::size_t i = 0; i < part.size(); ++i) {
    if (part[i] != '%') {
      text.push_back(part[i]);
      continue;
    }
    if (part.size() - i < 3) return std::nullopt;
    const auto high = kHexDigits.find(part[i + 1]);
    const auto low = kHexDigits.find(part[i + 2]);
    if (high == std::string_view::npos || low == std::string_view::npos) {
      return std::nullopt;
    }
    text.push_back(static_cast<char>(high << 4 | low));
    i += 2;
  }
  return text;
}

/// Cuts off the front of `id` up to the first of `ends`, which is left.
std::string_view cut(std::string_view& id, std::string_view ends) {
  const std::size_t at = std::min(id.find_first_of(ends), id.size());
  const std::string_view part = id.substr(0, at);
  id.remove_prefix(at);
  return part;
}

/// Goes past `mark` if it is next.
bool skip(std::string_view& id, char mark) {
  if (id.empty() || id.front() != mark) return false;
  id.remove_prefix(1);
  return true;
}

}  // namespace

std::string function_id(const FunctionIdParts& parts) {
  std::string id;
  append_escaped(id, parts.key_prefix);
  id.push_back(':');
  append_escaped(id, parts.name);
  if (!parts.code.empty()) {
    id.push_back('#');
    append_escaped(id, parts.code);
  }
  if (parts.parameters) {
    id.push_back('(');
    append_escaped(id, *parts.parameters);
    id.push_back(')');
  }
  if (!parts.version.empty()) {
    id.push_back('@');
    append_escaped(id, parts.version);
  }
  return id;
}

std::string function_id(std::string_view key_prefix, std::string_view name,
                        std::string_view version) {
  return function_id(FunctionIdParts{std::string(key_prefix), std::string(name), "",
                                     std::nullopt, std::string(version)});
}

std::optional<FunctionIdParts> parse_function_id(std::string_view id) {
  const std::string_view all = id;
  FunctionIdParts parts;
  bool sound = true;
  const auto take = [&](std::string_view ends) {
    const auto text = unescaped(cut(id, ends));
    sound = sound && text.has_value();
    return text.value_or("");
  };
  parts.key_prefix = take(":#()@");
  if (!skip(id, ':')) return std::nullopt;
  parts.name = take(":#()@");
  if (skip(id, '#')) parts.code = take(":#()@");
  if (skip(id, '(')) {
    parts.parameters = take(":#()@");
    if (!skip(id, ')')) return std::nullopt;
  }
  if (skip(id, '@')) parts.version = take(":#()@");
  // Only what `function_id` writes: other spellings of the same parts are not ids.
  if (!sound || !id.empty() || function_id(parts) != all) return std::nullopt;
  return parts;
}

}  // namespace cachier
