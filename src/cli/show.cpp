#include "cli/catalog.hpp"
#include "cli/commands.hpp"
#include "cli/terminal.hpp"
#include "cli/text.hpp"

#include <cachier/key.hpp>

#include <iostream>
#include <limits>
#include <optional>

namespace cachier::cli {
namespace {

/// Bytes of a value's text, unless all of it is asked for.
constexpr std::size_t kShownValue = 4'000;

Error not_found(const Catalog& catalog, const std::string& what) {
  return {ErrorCode::invalid_argument, "cannot show '" + printable(what) + "'",
          "no entry's digest begins so, and no function of this name has entries in " +
              printable(catalog.location()),
          "`cachier ls --entries` lists what there is"};
}

/// The one entry that is meant.
Header find(const Catalog& catalog, const std::string& what) {
  std::vector<Header> found;
  if (like_digest(what)) found = catalog.by_digest(what, 2);
  if (found.size() > 1) {
    throw Exception({ErrorCode::invalid_argument, "cannot show '" + what + "'",
                     "the digests of several entries begin so", "give more digits"});
  }
  if (!found.empty()) return found.front();
  std::uint64_t count = 0;
  catalog.scan(FunctionPattern(what), [&](const Header& entry) {
    if (!found.empty() && same_call(found.front(), entry)) return;
    if (++count == 1) found.push_back(entry);
  });
  if (count == 0) throw Exception(not_found(catalog, what));
  if (count > 1) {
    throw Exception({ErrorCode::invalid_argument,
                     "cannot show '" + printable(what) + "' as one entry",
                     "it has " + std::to_string(count),
                     "give a digest that `cachier ls '" + printable(what) +
                         "'` lists, or its beginning"});
  }
  return found.front();
}

/// What a value reads like; nothing where only its own language can tell.
std::string value_text(const Value& value, std::size_t limit) {
  if (value.codec() != Codec::cbor) return {};
  // A value has the form of an argument, so it reads like a call with that one.
  std::string call("\x81");
  call += as_text(value.bytes());
  return display_key(as_bytes(call), {}, limit);
}

void print_field(std::string_view name, const std::string& text) {
  std::string padded(name);
  padded.resize(10, ' ');
  std::cout << bold(padded) << "  " << text << '\n';
}

void print_entry(const Header& header, const Entry& entry, bool full) {
  const Value& value = entry.value;
  const Time time = now();
  print_field("function", printable(header.function));
  print_field("call", shown_call(header, 2'000));
  print_field("digest", to_string(header.digest));
  print_field("key",
              (header.hashed ? "SHA-256 " : "") + hexadecimal(as_bytes(header.key)));
  print_field("stored at",
              iso_time(entry.stored_at) + " (" + human_age(time - entry.stored_at) +
                  (time - entry.stored_at < std::chrono::seconds(1) ? ")" : " ago)"));
  print_field("size", human_size(value.bytes().size()) + " (" +
                          std::to_string(value.bytes().size()) + " bytes)");
  print_field("codec", std::string(shown_codec(value.codec())));
  if (value.fingerprint() != 0) {
    print_field("described", std::to_string(value.fingerprint()));
  }
  if (value.is_none()) {
    print_field("empty", "counts only where allow_none is set");
  }
  if (value.is_exception()) {
    print_field("exception", "the call threw it; it is thrown again");
  }
  if (value.codec() == Codec::cbor) {
    const std::size_t limit =
        full ? std::numeric_limits<std::size_t>::max() / 2 : kShownValue;
    print_field("value", printable(value_text(value, limit)));
  } else {
    print_field("value", "a pickle; only Python can read it, by calling the function");
  }
}

void print_json(const Header& header, const Entry& entry) {
  const Value& value = entry.value;
  JsonObject object;
  object.text("function", header.function)
      .text("digest", to_string(header.digest))
      .text("call", shown_call(header))
      .text("key", hexadecimal(as_bytes(header.key)))
      .boolean("key_is_hash", header.hashed)
      .text("stored_at", iso_time(entry.stored_at))
      .number("size", value.bytes().size())
      .text("codec", shown_codec(value.codec()))
      .number("fingerprint", value.fingerprint())
      .boolean("empty", value.is_none())
      .boolean("exception", value.is_exception());
  if (value.codec() == Codec::cbor) {
    object.text("value",
                value_text(value, std::numeric_limits<std::size_t>::max() / 2));
  } else {
    object.null("value");
  }
  std::cout << object.take() << '\n';
}

}  // namespace

int show(const ShowOptions& options) {
  const Catalog catalog(options.directory);
  if (catalog.absent()) throw Exception(not_found(catalog, options.what));
  const Header header = find(catalog, options.what);
  const Id id{.function = &Function::intern(header.function),
              .digest = header.digest,
              .key = as_bytes(header.key),
              .hashed = header.hashed};
  Ask ask;
  ask.allow_none = true;
  ask.claim = false;
  std::optional<Entry> entry;
  bool damaged = false;
  for (const auto& store : catalog.stores()) {
    const Look look = store->look(id, ask, soon()).value();
    damaged = damaged || look.damaged;
    if (look.entry && (!entry || look.entry->stored_at > entry->stored_at)) {
      entry = look.entry;
    }
  }
  if (damaged && !entry) {
    throw Exception({ErrorCode::corrupt,
                     "cannot show " + to_string(header.digest) + ", a result of " +
                         shown_function(header.function),
                     "its checksum or its form does not hold",
                     "call the function again: a damaged entry is computed anew"});
  }
  if (!entry) throw Exception(not_found(catalog, options.what));
  if (options.raw) {
    std::cout << as_text(entry->value.bytes());
  } else if (options.json) {
    print_json(header, *entry);
  } else {
    print_entry(header, *entry, options.full);
  }
  return kDone;
}

}  // namespace cachier::cli
