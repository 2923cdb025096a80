/// Many threads at once: every read is explained by the writes, and claims are
/// exclusive.

#include "conformance/conformance.hpp"
#include "conformance/history.hpp"

#include <array>
#include <atomic>
#include <random>

namespace cachier::conformance {
namespace {

constexpr std::size_t kKeys = 6;

/// The number a read found: the text is the number and filler of a size that varies, so
/// that halves of two values would show.
std::string text_of_number(Written number) {
  return std::to_string(number) + std::string(number % 300, 'x');
}

TEST(HistoryCheck, ExplainsWhatCanBe) {
  History history;
  history.add(History::Write{1, 4, 10});
  history.add(History::Write{3, 8, 20});
  history.add(History::Read{2, 3, 0});    // before the first took effect
  history.add(History::Read{2, 5, 10});   // after
  history.add(History::Read{9, 10, 10});  // the second took effect first
  history.add(History::Read{9, 10, 20});
  EXPECT_EQ(history.unexplained(), "");
}

TEST(HistoryCheck, FindsAStaleRead) {
  History history;
  history.add(History::Write{1, 2, 10});
  history.add(History::Write{3, 4, 20});
  history.add(History::Read{5, 6, 10});
  EXPECT_NE(history.unexplained(), "");
}

TEST(HistoryCheck, FindsALostWrite) {
  History history;
  history.add(History::Write{1, 2, 10});
  history.add(History::Read{3, 4, 0});
  EXPECT_NE(history.unexplained(), "");
}

TEST(HistoryCheck, FindsWhatWasNeverWritten) {
  History history;
  history.add(History::Write{1, 2, 10});
  history.add(History::Read{3, 4, 11});
  EXPECT_NE(history.unexplained(), "");
}

TEST(HistoryCheck, FindsAnEntryThatRoseFromTheDead) {
  History history;
  history.add(History::Write{1, 2, 10});
  history.add(History::Write{3, 4, 0});
  history.add(History::Read{5, 6, 0});
  EXPECT_EQ(history.unexplained(), "");
  history.add(History::Read{7, 8, 10});
  EXPECT_NE(history.unexplained(), "");
}

TEST_P(StoreConformance, ReadsAreExplainedByWrites) {
  const auto threads = static_cast<std::size_t>(count(64, 16));
  const int operations = count(120, 60);
  std::atomic<std::uint64_t> clock = 1;
  std::atomic<Written> next = 1;
  std::array<std::atomic<int>, kKeys> owners{};
  std::vector<std::array<History, kKeys>> noted(threads);

  in_threads(threads, [&](std::size_t thread) {
    std::mt19937_64 random(thread);
    for (int n = 0; n < operations; ++n) {
      const std::size_t key = random() % kKeys;
      const Call call = alpha(std::to_string(key));
      History& history = noted[thread][key];
      const auto change = [&](Written value, const auto& make) {
        const std::uint64_t began = clock++;
        const auto answer = make();
        if (!answer) {
          EXPECT_EQ(answer.error(), ErrorCode::claim_lost);
          return;
        }
        history.add(History::Write{began, clock++, value});
      };
      const auto read = [&](const Ask& ask) {
        const std::uint64_t began = clock++;
        Look answer = look(call, ask);
        Written seen = 0;
        if (answer.entry) {
          const std::string text = text_in(answer);
          seen = std::stoull(text);
          EXPECT_EQ(text, text_of_number(seen));
        }
        history.add(History::Read{began, clock++, seen});
        return answer;
      };
      const Written number = next++;
      switch (random() % 10) {
        case 0:
        case 1:
        case 2:
        case 3:
          read(without_claim());
          break;
        case 4:
          change(number, [&] { return put(call, text_of_number(number)); });
          break;
        case 5:
          if (random() % 4 == 0) {
            const std::uint64_t began = clock++;
            ASSERT_TRUE(clear(Clear::entries, &alpha_));
            const std::uint64_t ended = clock++;
            for (History& each : noted[thread]) {
              each.add(History::Write{began, ended, 0});
            }
          } else {
            change(0, [&] { return erase(call); });
          }
          break;
        case 6: {
          const Look seen = read(without_claim());
          change(number, [&] {
            return put_on(call, text_of_number(number), seen.token.basis);
          });
          break;
        }
        default: {
          const Look answer = read(never_fresh());
          if (answer.claim != Look::Claim::granted) break;
          EXPECT_EQ(owners[key].fetch_add(1), 0) << "two owners of one claim";
          const bool give_up = random() % 4 == 0;
          owners[key].fetch_sub(1);
          if (give_up) {
            EXPECT_TRUE(release(call, answer.token));
          } else {
            change(number,
                   [&] { return put(call, text_of_number(number), answer.token); });
          }
        }
      }
    }
  });

  for (std::size_t key = 0; key < kKeys; ++key) {
    History all;
    for (const auto& histories : noted) all.add(histories[key]);
    EXPECT_EQ(all.unexplained(), "") << "key " << key;
  }
}

// Of two that saw the same, one stores.
TEST_P(StoreConformance, OneOfManyPutsOnABasisHappens) {
  constexpr std::size_t kThreads = 12;
  for (int round = 0; round < 20; ++round) {
    const Basis basis = look(alpha(), without_claim()).token.basis;
    std::atomic<int> happened = 0;
    in_threads(kThreads, [&](std::size_t thread) {
      const auto answer = put_on(alpha(), std::to_string(thread), basis);
      if (answer) {
        ++happened;
      } else {
        EXPECT_EQ(answer.error(), ErrorCode::claim_lost);
      }
    });
    EXPECT_EQ(happened, 1);
  }
}

// After `clear` has returned nothing of before is seen, whoever stores meanwhile.
TEST_P(StoreConformance, ClearedEntriesDoNotComeBack) {
  constexpr std::size_t kWriters = 6;
  const int rounds = count(60, 15);
  // Written: the round in which the claim was taken, or a later one. Each begins with a
  // clear.
  std::atomic<int> current = 0;
  std::atomic<bool> done = false;
  in_threads(kWriters + 1, [&](std::size_t thread) {
    if (thread == kWriters) {
      for (int round = 1; round <= rounds; ++round) {
        current = round;
        ASSERT_TRUE(clear(Clear::entries, &alpha_));
        for (std::size_t key = 0; key < kKeys; ++key) {
          const Look answer = look(alpha(std::to_string(key)), without_claim());
          if (answer.entry) {
            EXPECT_GE(std::stoi(text_in(answer)), round);
          }
        }
      }
      done = true;
      return;
    }
    for (std::size_t n = thread; !done; ++n) {
      const Call call = alpha(std::to_string(n % kKeys));
      const Look answer = look(call, never_fresh());
      if (answer.claim != Look::Claim::granted) continue;
      const int round = current;
      const auto stored_it = put(call, std::to_string(round), answer.token);
      if (!stored_it) {
        EXPECT_EQ(stored_it.error(), ErrorCode::claim_lost);
      }
    }
  });
}

}  // namespace
}  // namespace cachier::conformance
