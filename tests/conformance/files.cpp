/// The store of one file an entry.

#include "backends/files/files.hpp"

#include "conformance/conformance.hpp"
#include "platform/clock.hpp"
#include "support/temp_directory.hpp"

#include <atomic>
#include <chrono>

namespace cachier::conformance {
namespace {

/// Its clock is the machine's, so one for all subjects: it stands still until it is
/// moved.
std::atomic<Duration::rep> now{0};

class FilesSubject final : public Subject {
 public:
  explicit FilesSubject(bool remote) : remote_(remote) {
    now = Duration(std::chrono::hours(24 * 20'000)).count();
    platform::set_wall_clock([]() noexcept { return Time(Duration(now.load())); });
  }
  ~FilesSubject() override { platform::set_wall_clock(nullptr); }

  std::shared_ptr<Store> open() override {
    auto store = open_files_store(directory_.string(), kNearCache, remote_);
    if (store) return *store;
    ADD_FAILURE() << store.error().message();
    return nullptr;
  }
  bool advance(Duration by) override {
    now += by.count();
    return true;
  }
  [[nodiscard]] bool advances_outcomes() const override { return true; }

 private:
  static constexpr std::size_t kNearCache = std::size_t{1} << 20;

  const bool remote_;
  test::TempDirectory directory_;
};

INSTANTIATE_TEST_SUITE_P(
    Files, StoreConformance,
    ::testing::Values(
        Candidate{"files", [] { return std::make_unique<FilesSubject>(false); }},
        // As if the directory were on a network file system.
        Candidate{"remote_files", [] { return std::make_unique<FilesSubject>(true); }}),
    name_of_candidate);

}  // namespace
}  // namespace cachier::conformance
