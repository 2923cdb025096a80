#include "backends/local/rescue.hpp"

#include "backends/local/check.hpp"
#include "backends/local/layout.hpp"
#include "backends/local/query.hpp"
#include "backends/local/schema.hpp"
#include "backends/local/store.hpp"
#include "backends/local/transaction.hpp"
#include "platform/file.hpp"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <functional>
#include <queue>
#include <system_error>
#include <utility>
#include <vector>

namespace cachier::local {
namespace {

constexpr char kCannotSave[] = "cannot save what is in a damaged database";
constexpr auto kPatience = std::chrono::seconds(30);
/// How many places around damage are tried: some tenths of a second.
constexpr int kMostProbes = 20'000;

Deadline soon() noexcept { return std::chrono::steady_clock::now() + kPatience; }

/// Reads rows on both sides of what cannot be read.
class Walk {
 public:
  using OnRows = std::function<std::optional<Error>(std::vector<EntryRow>&)>;

  Walk(Connection& connection, OnRows on_rows)
      : reader_(connection), on_rows_(std::move(on_rows)) {}

  /// An error of `on_rows`.
  std::optional<Error> run() {
    gaps_.push({kAllRows, true, true});
    // The widest first: so a budget is spent where most may be found.
    for (int probe = 0; !gaps_.empty() && probe < kMostProbes; ++probe) {
      Gap gap = gaps_.top();
      gaps_.pop();
      const bool left = (!gap.first_is_new || read(gap.range, false)) &&
                        (!gap.last_is_new || read(gap.range, true));
      if (left) split(gap.range);
      if (error_) return error_;
    }
    complete_ = complete_ && gaps_.empty();
    return std::nullopt;
  }

  /// Whether there was nothing that could not be read.
  [[nodiscard]] bool complete() const noexcept { return complete_; }

 private:
  struct Gap {
    Range range;
    // Whether reading from there has not been tried yet.
    bool first_is_new;
    bool last_is_new;
    bool operator<(const Gap& other) const noexcept {
      return range.last - range.first < other.range.last - other.range.first;
    }
  };

  /// Reads from one end as far as it goes. True: something is left in the middle, to
  /// which `gap` is narrowed.
  bool read(Range& gap, bool backwards) {
    std::vector<EntryRow> rows;
    while (gap.first <= gap.last) {
      const auto failed = reader_.read(gap.first, gap.last, backwards, rows);
      const bool at_end = rows.empty();
      if (!at_end) {
        const std::int64_t id = rows.back().id;
        if (backwards) {
          gap.last = id - 1;
        } else if (id < kAllRows.last) {
          gap.first = id + 1;
        } else {
          gap.last = gap.first - 1;
        }
        error_ = on_rows_(rows);
      }
      if (error_) return false;
      if (failed) return gap.first <= gap.last;
      if (at_end) return false;
    }
    return false;
  }

  void split(Range gap) {
    if (gap.first == gap.last) {
      complete_ = false;
      return;
    }
    const std::int64_t middle = gap.first + (gap.last - gap.first) / 2;
    gaps_.push({{gap.first, middle}, false, true});
    gaps_.push({{middle + 1, gap.last}, true, false});
  }

  RowReader reader_;
  const OnRows on_rows_;
  std::priority_queue<Gap> gaps_;
  std::optional<Error> error_;
  bool complete_ = true;
};

/// Value files that got a second name, which they lose again unless a row has it.
class Adopted {
 public:
  explicit Adopted(const ValueFiles& files) noexcept : files_(files) {}
  Adopted(const Adopted&) = delete;
  Adopted& operator=(const Adopted&) = delete;
  ~Adopted() { files_.remove(names_); }

  std::optional<Error> add(const std::string& path, const ValueFile& which) {
    names_.reserve(names_.size() + 1);
    if (auto error = files_.adopt(path, which)) return error;
    names_.push_back(which);
    return std::nullopt;
  }
  void keep() noexcept { names_.clear(); }

 private:
  const ValueFiles& files_;
  std::vector<ValueFile> names_;
};

/// Stores rows of another database as they are: their checksums hold here too, since
/// their times and versions are kept.
class Heir {
 public:
  Heir(Site& site, const ValueFiles& from, Rescue& result) noexcept
      : site_(site), from_(from), result_(result) {}

  std::optional<Error> store(const std::vector<EntryRow>& rows) {
    if (rows.empty()) return std::nullopt;
    Adopted adopted(site_.value_files());
    Rescue counted = result_;
    auto transaction = Transaction::begin(site_, soon());
    if (!transaction) return transaction.error();
    const auto first_epoch =
        transaction->connection().number("SELECT epoch FROM functions WHERE id = 0");
    if (!first_epoch) return first_epoch.error();
    {
      Query known(transaction->connection(), "SELECT 1 FROM entries WHERE id = ?1");
      for (const EntryRow& row : rows) {
        if (auto error =
                store(*transaction, row, *first_epoch, known, adopted, counted))
          return error;
      }
    }
    if (auto error = transaction->commit(kAllSlots)) return error;
    adopted.keep();
    result_ = counted;
    return std::nullopt;
  }

 private:
  std::optional<Error> store(Transaction& transaction, const EntryRow& row,
                             std::int64_t first_epoch, Query& known, Adopted& adopted,
                             Rescue& counted) {
    Connection& connection = transaction.connection();
    const Function& function = Function::intern(*row.function);
    auto here = find_function(connection, function);
    if (!here) return here.error();
    // A clear raises the function's epoch, or that of the store.
    if (first_epoch % kFirstEpochs != 0 ||
        std::cmp_not_equal(here->epoch, first_epoch)) {
      ++counted.cleared;
      return std::nullopt;
    }
    if (here->number == 0) {
      const auto number = add_function(transaction, function, here->epoch);
      if (!number) return number.error();
      here->number = *number;
    }
    const ValueFile place{row_of(here->number, *row.digest), row.file().version};
    known.rewind();
    if (known.bind(1, place.row).step()) {
      ++counted.replaced;
      return std::nullopt;
    }
    if (!known.good()) return known.error(kCannotSave);
    known.rewind();
    if (row.in_file()) {
      if (auto error = adopted.add(from_.path_of(row.file()), place)) return error;
    }
    const std::string digest = digest_bytes(*row.digest);
    Run run(connection, Sql::write_entry);
    run.bind(1, place.row)
        .bind(2, first_epoch)
        .bind(3, row.version)
        .bind(4, row.stored_at)
        .bind(5, row.flags)
        .bind(6, row.size)
        .bind(7, std::as_bytes(std::span(digest)));
    if (row.envelope && !row.in_file()) {
      run.bind(8, as_bytes(*row.envelope));
    } else {
      run.bind_null(8);
    }
    if (run.step() != SQLITE_DONE) return transaction.fail(run.result(), kCannotSave);
    ++counted.saved;
    return account(transaction, here->number, Counts::of_entry(row.size));
  }

  Site& site_;
  const ValueFiles& from_;
  Rescue& result_;
};

/// Leaves in `rows` what is sound, and counts what is not.
void leave_sound(std::vector<EntryRow>& rows, const ValueFiles& files, Rescue& result) {
  using Kind = Verdict::Kind;
  rows.erase(std::remove_if(rows.begin(), rows.end(),
                            [&](const EntryRow& row) {
                              const Kind kind = check(row, files).kind;
                              if (kind == Kind::damaged || kind == Kind::unreadable)
                                ++result.damaged;
                              return kind != Kind::sound && kind != Kind::newer;
                            }),
             rows.end());
}

}  // namespace

std::uint64_t set_aside_before(const std::string& folder, std::uint64_t generation) {
  // The one before it, but for gaps that a damaged table has left.
  constexpr std::uint64_t kFurthest = 300;
  for (std::uint64_t back = 1; back < generation && back <= kFurthest; ++back) {
    if (platform::identity_of(database_path(folder, generation - back)))
      return generation - back;
  }
  return 0;
}

Result<Rescue> rescue(Peek& peek, Site& site, std::uint64_t generation,
                      const OnProgress& progress) {
  Rescue result;
  result.database = database_path(peek.folder(), generation);
  const ValueFiles files(value_folder(peek.folder(), generation));
  {
    auto connection = peek.connect(generation, soon());
    if (!connection) {
      if (connection.error() != ErrorCode::corrupt) return connection.error();
      result.why = connection.error().cause();
      return result;
    }
    Heir heir(site, files, result);
    std::uint64_t seen = 0;
    Walk walk(**connection, [&](std::vector<EntryRow>& rows) {
      seen += rows.size();
      leave_sound(rows, files, result);
      if (progress) progress({"entries to be saved", seen, 0});
      return heir.store(rows);
    });
    if (auto error = walk.run()) return *error;
    result.complete = walk.complete();
  }
  if (!result.complete && result.saved + result.replaced + result.cleared == 0) {
    result.why = "what could be read of it is damaged";
    return result;
  }
  remove_database(result.database);
  std::error_code ignored;
  std::filesystem::remove_all(value_folder(peek.folder(), generation), ignored);
  result.removed = true;
  return result;
}

}  // namespace cachier::local
