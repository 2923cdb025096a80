/// File systems that are full or cannot be written.

#include "fault/small_disk.hpp"
#include "unit/backends/local_fixture.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

namespace cachier::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(LocalDisk, AFullOneIsAClearErrorAndRecovers) {
  const TempDirectory directory;
  const auto answer = on_small_disk(directory.path(), "4m", [&]() -> std::string {
    const auto store = opened(directory.string());
    if (!store) return "no store";
    const Call call("k");
    if (!store->commit(call.id, put("v"), soon())) return "not stored at first";
    fill_disk(directory.path());

    std::string text;
    for (int i = 0; i < 40 && text.empty(); ++i) {
      const Call other("other" + std::to_string(i));
      const auto look = store->look(other.id, {}, soon());
      if (!look) return "no look: " + look.error().message();
      if (look->claim != Look::Claim::granted) return "no claim";
      const auto full =
          store->commit(other.id, put(std::string(100'000, 'x'), look->token), soon());
      if (full) continue;
      text = full.error() == ErrorCode::unavailable ? "unavailable: " : "";
      text += full.error().message();
      // The claim stands, so that its owner can say why.
      if (store->look(other.id, {}, soon())->claim != Look::Claim::busy)
        return "the claim is gone";
      if (!store->commit(other.id, release(look->token, Outcome::not_storable), soon()))
        return "not released";
      if (store->look(other.id, {}, soon())->outcome != Outcome::not_storable)
        return "no outcome";
    }
    if (stored(*store, call) != "v") return "the old entry is gone";
    fs::remove(directory.path() / "filler");
    if (!store->commit(Call("later").id, put("w"), soon())) return "no recovery";
    return text + (stored(*store, Call("later")) == "w" ? " recovered" : "");
  });
  if (!answer) GTEST_SKIP() << "no mounts for tests here";
  EXPECT_THAT(*answer, StartsWith("unavailable: cannot"));
  EXPECT_THAT(*answer, HasSubstr("full"));
  EXPECT_THAT(*answer, HasSubstr("fix:   free some space"));
  EXPECT_THAT(*answer, HasSubstr("recovered"));
}

TEST(LocalDisk, AFullOneWhereNothingIsYetIsAClearError) {
  const TempDirectory directory;
  const auto answer = on_small_disk(directory.path(), "1m", [&]() -> std::string {
    fill_disk(directory.path());
    const auto store = opened(directory.string());
    if (!store) return "no store";
    const Call call("k");
    const auto look = store->look(call.id, {}, soon());
    if (look) return "a look";
    std::string text = look.error() == ErrorCode::unavailable ? "unavailable: " : "";
    text += look.error().message();
    fs::remove(directory.path() / "filler");
    const auto later = store->look(call.id, {}, soon());
    if (!later) return text + " no recovery: " + later.error().message();
    if (!store->commit(call.id, put("v", later->token), soon())) return "not stored";
    return text + " recovered";
  });
  if (!answer) GTEST_SKIP() << "no mounts for tests here";
  EXPECT_THAT(*answer, StartsWith("unavailable: "));
  EXPECT_THAT(*answer, HasSubstr("No space left"));
  EXPECT_THAT(*answer, HasSubstr("fix:   free some space"));
  EXPECT_THAT(*answer, HasSubstr("recovered"));
}

TEST(LocalDisk, ReadOnlyItIsReadWhereThereIsSomething) {
  const TempDirectory directory;
  const auto answer = on_small_disk(directory.path(), "8m", [&]() -> std::string {
    const Call call("k");
    {
      const auto store = opened(directory.string());
      if (!store || !store->commit(call.id, put("v"), soon())) return "not stored";
    }
    if (::mount(nullptr, directory.path().c_str(), nullptr, MS_REMOUNT | MS_RDONLY,
                nullptr) != 0)
      return "not remounted";
    const auto store = opened(directory.string());
    if (!store) return "no store";
    const std::string there = stored(*store, call);
    const auto written = store->commit(call.id, put("w"), soon());
    return there + "; " + (written ? "written" : written.error().message());
  });
  if (!answer) GTEST_SKIP() << "no mounts for tests here";
  EXPECT_THAT(*answer, HasSubstr("; cannot"));
  EXPECT_THAT(*answer, HasSubstr("Read-only file system"));
  EXPECT_THAT(*answer, HasSubstr("fix:   set cache_dir"));
  EXPECT_THAT(*answer, StartsWith("v;"));
}

}  // namespace
}  // namespace cachier::test
