#include <cachier/error.hpp>

#include "backends/local/check.hpp"
#include "backends/local/inspect.hpp"
#include "backends/local/layout.hpp"
#include "backends/local/peek.hpp"
#include "backends/local/query.hpp"
#include "backends/local/schema.hpp"
#include "platform/clock.hpp"
#include "platform/file.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <limits>
#include <utility>

namespace cachier::local {
namespace {

using std::chrono::steady_clock;

constexpr char kCannotVerify[] = "cannot verify the cache";
/// How long to wait for those who replace a database, or write without a pause.
constexpr auto kPatience = std::chrono::seconds(30);
/// How long whoever has replaced a row may take to remove its value file.
constexpr auto kRemovalTime = std::chrono::milliseconds(20);
/// How often a row is read again that changes all the time.
constexpr int kTries = 8;

/// One look at one generation.
class Verification {
 public:
  Verification(Peek& peek, const OnProgress& progress) noexcept
      : peek_(peek), progress_(progress) {}

  /// An error: it could not be done. What is damaged is in the report.
  std::optional<Error> run(std::uint64_t generation) {
    report_.generation = generation;
    path_ = database_path(peek_.folder(), generation);
    files_.emplace(value_folder(peek_.folder(), generation));
    look_at_table();
    if (platform::identity_of(path_)) {
      auto connection = peek_.connect(generation, steady_clock::now() + kPatience);
      if (!connection) return unless_damage(connection.error());
      connection_ = std::move(*connection);
      connection_->set_deadline(Deadline::max());
      if (auto error = look_at_database()) return unless_damage(*error);
      if (auto error = look_at_entries()) return unless_damage(*error);
    }
    // Of a damaged database nobody can say what it does not name.
    if (report_.count(Finding::Kind::database) == 0) {
      if (auto error = look_for_orphans()) return unless_damage(*error);
    }
    const Inventory all = inventory_of(peek_.folder(), generation);
    report_.databases_set_aside = all.databases_set_aside;
    report_.set_aside = all.set_aside;
    return std::nullopt;
  }

  Report take() noexcept { return std::move(report_); }

 private:
  void say(const char* what, std::uint64_t done, std::uint64_t total = 0) const {
    if (progress_) progress_({what, done, total});
  }

  Finding& found(Finding::Kind kind, std::string place, std::string why) {
    Finding finding;
    finding.kind = kind;
    finding.place = std::move(place);
    finding.why = std::move(why);
    report_.findings.push_back(std::move(finding));
    return report_.findings.back();
  }

  std::optional<Error> unless_damage(const Error& error) {
    if (error != ErrorCode::corrupt) return error;
    found(Finding::Kind::database, path_, std::string(error.cause()));
    return std::nullopt;
  }

  void look_at_table() {
    const auto damage = peek_.table_damage();
    if (damage && *damage == ErrorCode::corrupt)
      found(Finding::Kind::table, peek_.folder() + "/table",
            std::string(damage->cause()));
  }

  std::optional<Error> look_at_database() {
    say("database", 0);
    Query query(*connection_, "PRAGMA integrity_check(20)");
    while (query.step()) {
      if (query.text(0) != "ok")
        found(Finding::Kind::database, path_, std::string(query.text(0)));
    }
    if (!query.good()) return query.error(kCannotVerify);
    return std::nullopt;
  }

  std::optional<Error> look_at_entries() {
    std::int64_t first = std::numeric_limits<std::int64_t>::min();
    std::uint64_t seen = 0;
    RowReader reader(*connection_);
    for (std::vector<EntryRow> rows;;) {
      auto error =
          reader.read(first, std::numeric_limits<std::int64_t>::max(), false, rows);
      for (EntryRow& row : rows) {
        if (auto failed = look_at(std::move(row))) return failed;
        say("entries", ++seen);
      }
      if (error) return error;
      if (rows.empty() || last_ == std::numeric_limits<std::int64_t>::max())
        return std::nullopt;
      first = last_ + 1;
    }
  }

  std::optional<Error> look_at(EntryRow row) {
    last_ = row.id;
    Verdict verdict = check(row, *files_);
    for (int tried = 1; tried < kTries && is_bad(verdict); ++tried) {
      // Somebody may have replaced it, and removed its file, since it was read.
      auto again = read_row(*connection_, row.id);
      if (!again) return again.error();
      if (!*again) return std::nullopt;
      const bool same = (*again)->version == row.version &&
                        (*again)->epoch == row.epoch &&
                        (*again)->function_epoch == row.function_epoch;
      row = std::move(**again);
      verdict = check(row, *files_);
      if (same) break;
    }
    count(row, std::move(verdict));
    return std::nullopt;
  }

  static bool is_bad(const Verdict& verdict) noexcept {
    return verdict.kind == Verdict::Kind::damaged ||
           verdict.kind == Verdict::Kind::unreadable;
  }

  void count(const EntryRow& row, Verdict verdict) {
    switch (verdict.kind) {
      case Verdict::Kind::sound:
        ++report_.entries;
        break;
      case Verdict::Kind::newer:
        ++report_.newer;
        break;
      case Verdict::Kind::tombstone:
        ++report_.tombstones;
        return;
      case Verdict::Kind::waiting:
        ++report_.waiting;
        return;
      case Verdict::Kind::unreadable:
      case Verdict::Kind::damaged:
        add_finding(row, std::move(verdict));
        return;
    }
    if (row.in_file()) ++report_.in_files;
  }

  void add_finding(const EntryRow& row, Verdict verdict) {
    Finding& finding = found(
        verdict.kind == Verdict::Kind::damaged ? Finding::Kind::entry
                                               : Finding::Kind::unreadable,
        row.in_file() ? files_->path_of(row.file()) : path_, std::move(verdict.why));
    finding.function = row.function.value_or("");
    finding.digest = row.digest;
    finding.key = std::move(verdict.key);
    finding.hashed = verdict.hashed;
    finding.row = row.id;
    finding.version = row.file().version;
    finding.in_file = row.in_file();
  }

  /// Whether a row names it; also where that cannot be found out, which `error` tells.
  bool is_named(const ValueFile& file, std::optional<Error>& error) const {
    if (!connection_) return false;
    Run run(*connection_, Sql::read_flags);
    run.bind(1, file.row).bind(2, static_cast<std::int64_t>(file.version));
    const int result = run.step();
    if (result == SQLITE_ROW) return (run.number(0) & kFlagApart) != 0;
    if (result == SQLITE_DONE) return false;
    error = sqlite_error(connection_->handle(), result, kCannotVerify);
    return true;
  }

  std::optional<Error> look_for_orphans() {
    std::optional<Error> error;
    const auto leave_nameless = [&](std::vector<ValueFile>& files) {
      files.erase(
          std::remove_if(files.begin(), files.end(),
                         [&](const ValueFile& file) { return is_named(file, error); }),
          files.end());
    };
    std::vector<ValueFile> orphans;
    for (unsigned one = 0; one < ValueFiles::kDirectories; ++one) {
      auto files = files_->list(one);
      leave_nameless(files);
      if (error) return error;
      orphans.insert(orphans.end(), files.begin(), files.end());
      say("directories of value files", one + 1, ValueFiles::kDirectories);
    }
    if (!orphans.empty()) {
      // A file has its name before the row that names it, until the end of a
      // transaction; and loses it after the end of another.
      if (!peek_.await_quiet(steady_clock::now() + kPatience))
        return Error(ErrorCode::deadline_exceeded, kCannotVerify,
                     "others were writing without a pause", "try again");
      // Of many that are being removed, each time some are gone.
      for (std::size_t before = 0; before != orphans.size() && !orphans.empty();) {
        before = orphans.size();
        platform::pause_for(kRemovalTime);
        leave_nameless(orphans);
        if (error) return error;
        std::erase_if(orphans, [&](const ValueFile& file) {
          return !platform::identity_of(files_->path_of(file));
        });
      }
    }
    for (const ValueFile& file : orphans) {
      const std::string path = files_->path_of(file);
      if (!platform::identity_of(path)) continue;
      Finding& finding = found(Finding::Kind::orphan, path, "no entry has it");
      finding.row = file.row;
      finding.version = file.version;
    }
    for (std::string& path : files_->unfinished(platform::wall_now()))
      found(Finding::Kind::orphan, std::move(path), "it was left half written");
    return std::nullopt;
  }

  Peek& peek_;
  const OnProgress& progress_;
  Report report_;
  std::string path_;
  std::optional<ValueFiles> files_;
  std::unique_ptr<Connection> connection_;
  std::int64_t last_ = 0;  ///< the row that was looked at last
};

}  // namespace

Result<std::optional<Report>> verify(const std::string& directory,
                                     const OnProgress& progress) noexcept {
  try {
    auto peek = Peek::open(directory);
    if (!peek) return peek.error();
    if (*peek == nullptr) return std::optional<Report>();
    for (int tried = 1;; ++tried) {
      const std::uint64_t generation = (*peek)->generation();
      Verification verification(**peek, progress);
      const auto error = verification.run(generation);
      // Somebody has set it aside meanwhile: it is the next one that counts.
      if ((*peek)->generation() != generation && tried < kTries) continue;
      if (error) return *error;
      return std::optional<Report>(verification.take());
    }
  } catch (const std::exception&) {  // of the standard library: no memory
    return Error(ErrorCode::unavailable, kCannotVerify, "there is not enough memory");
  }
}

}  // namespace cachier::local
