#include "backends/local/check.hpp"

#include <cachier/envelope.hpp>

#include "backends/local/layout.hpp"
#include "backends/local/store.hpp"
#include "backends/shared/judged.hpp"

#include <utility>

namespace cachier::local {
namespace {

/// Rows and bytes that are read at a time: short reads, so that checkpoints hardly
/// wait.
constexpr std::int64_t kRows = 250;
constexpr std::size_t kBytes = std::size_t{4} << 20;

constexpr char kCannotRead[] = "cannot read the cache's entries";

// The envelope comes last in a row, and its pages are read last.
constexpr char kForwards[] =
    "SELECT e.id, e.epoch, e.version, e.stored_at, e.flags, e.size, e.digest, f.name, "
    "f.epoch, e.envelope FROM entries e LEFT JOIN functions f ON f.id = e.id >> 44 "
    "WHERE e.id BETWEEN ?1 AND ?2 ORDER BY e.id LIMIT ?3";
constexpr char kBackwards[] =
    "SELECT e.id, e.epoch, e.version, e.stored_at, e.flags, e.size, e.digest, f.name, "
    "f.epoch, e.envelope FROM entries e LEFT JOIN functions f ON f.id = e.id >> 44 "
    "WHERE e.id BETWEEN ?1 AND ?2 ORDER BY e.id DESC LIMIT ?3";

EntryRow row_in(const Query& query) {
  EntryRow row;
  row.id = query.number(0);
  row.epoch = query.number(1);
  row.version = query.number(2);
  row.stored_at = query.number(3);
  row.flags = query.number(4);
  row.size = query.number(5);
  row.digest = digest_of(query.bytes(6));
  if (!query.is_null(7)) row.function = query.text(7);
  row.function_epoch = query.number(8);
  if (!query.is_null(9)) row.envelope = as_text(query.bytes(9));
  return row;
}

Verdict damaged(std::string why) {
  return {Verdict::Kind::damaged, std::move(why), {}, false};
}

/// The marks of the row, the envelope, and each against the other.
Verdict check_envelope(const EntryRow& row, Bytes envelope) {
  auto judged = shared::judge_envelope(
      envelope, Function::intern(*row.function), *row.digest,
      Time(Duration(row.stored_at)), {{static_cast<std::uint64_t>(row.version), 0, 0}});
  Verdict verdict;
  verdict.kind = judged.kind == shared::Judged::Kind::newer ? Verdict::Kind::newer
                                                            : Verdict::Kind::damaged;
  verdict.why = std::move(judged.why);
  verdict.key = std::move(judged.key);
  verdict.hashed = judged.hashed;
  if (!judged.value) return verdict;
  if (std::cmp_not_equal(judged.value->bytes().size(), row.size)) {
    verdict.why = "its value has " + std::to_string(judged.value->bytes().size()) +
                  " bytes, and its row says " + std::to_string(row.size);
  } else if (judged.value->is_none() != ((row.flags & kFlagNone) != 0)) {
    verdict.why = "its row and its envelope differ on whether it is an empty answer";
  } else {
    verdict.kind = Verdict::Kind::sound;
  }
  return verdict;
}

Verdict check_file(const EntryRow& row, const ValueFiles& files) {
  // Its beginning says how long it is: one that was cut off is not read.
  const auto beginning = files.beginning(row.file());
  if (beginning.size != 0) {
    const auto parts = envelope::inspect(as_bytes(beginning.bytes), beginning.size);
    if (!parts && parts.error() == ErrorCode::corrupt)
      return damaged("its value file is damaged: " +
                     std::string(parts.error().cause()));
  }
  const auto opened = files.open(row.file());
  if (!opened)
    return {Verdict::Kind::unreadable, std::string(opened.error().cause()), {}, false};
  if (!*opened) return damaged("its value file is not there");
  return check_envelope(row, (*opened)->envelope);
}

}  // namespace

bool EntryRow::in_file() const noexcept { return (flags & kFlagApart) != 0; }

RowReader::RowReader(Connection& connection) noexcept
    : forwards_(connection, kForwards), backwards_(connection, kBackwards) {}

std::optional<Error> RowReader::read(std::int64_t first, std::int64_t last,
                                     bool backwards, std::vector<EntryRow>& rows) {
  rows.clear();
  Query& query = backwards ? backwards_ : forwards_;
  query.rewind();
  query.bind(1, first).bind(2, last).bind(3, kRows);
  std::optional<Error> error;
  for (std::size_t bytes = 0; bytes < kBytes && query.step();) {
    // A damaged tree may give what was not asked for, or in no order: whoever reads on
    // from there might never end.
    const std::int64_t id = query.number(0);
    if (id < first || id > last) {
      error = disorder(kCannotRead);
      break;
    }
    rows.push_back(row_in(query));
    if (rows.back().envelope) bytes += rows.back().envelope->size();
    // What is left; nothing where this is the last row there can be.
    if (id == (backwards ? first : last)) break;
    (backwards ? last : first) = backwards ? id - 1 : id + 1;
  }
  if (!query.good()) error = query.error(kCannotRead);
  query.rewind();
  return error;
}

Result<std::optional<EntryRow>> read_row(Connection& connection, std::int64_t id) {
  Query query(connection, kForwards);
  query.bind(1, id).bind(2, id).bind(3, 1);
  std::optional<EntryRow> row;
  if (query.step()) row = row_in(query);
  if (!query.good()) return query.error(kCannotRead);
  return row;
}

Verdict check(const EntryRow& row, const ValueFiles& files) {
  using Kind = Verdict::Kind;
  if (!row.function) return damaged("its function is not in the database");
  if (row.epoch < row.function_epoch) return {Kind::waiting, {}, {}, false};
  if (row.epoch > row.function_epoch)
    return damaged("its epoch is one that its function has not had yet");
  if (!row.digest) return damaged("its digest is not one");
  if (row.id != row_of(row.id >> kDigestBits, *row.digest))
    return damaged("it is not in the row of its digest");
  if (row.stored_at == 0) return {Kind::tombstone, {}, {}, false};
  if (row.in_file()) return check_file(row, files);
  if (!row.envelope) return damaged("its envelope is not there");
  return check_envelope(row, as_bytes(*row.envelope));
}

}  // namespace cachier::local
