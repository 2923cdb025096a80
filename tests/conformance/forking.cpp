/// Forks: a child may go on with the handle that it inherited, and harms nobody.

#include "conformance/conformance.hpp"
#include "support/child_process.hpp"

#include <atomic>
#include <thread>

namespace cachier::conformance {
namespace {

using test::Channel;
using test::ChildProcess;

TEST_P(StoreConformance, AChildUsesWhatItInherited) {
  if (!subject_->survives_fork()) GTEST_SKIP() << "not here";
  stored(alpha("inherited"), "value");

  ChildProcess child([&](Channel&) {
    EXPECT_EQ(text_at(alpha("inherited")), "value");
    EXPECT_TRUE(put(alpha("made"), "in the child", claim(alpha("made"))));
    EXPECT_EQ(text_at(alpha("made")), "in the child");
    EXPECT_TRUE(erase(alpha("inherited")));
    EXPECT_EQ(scan({&alpha_, {}}).size(), 1U);
    EXPECT_EQ(*clear(Clear::entries, &beta_), 0U);
    return 0;
  });
  EXPECT_EQ(child.wait(), 0);

  EXPECT_EQ(text_at(alpha("made")), can_.shared ? "in the child" : "(nothing)");
  EXPECT_EQ(text_at(alpha("inherited")), can_.shared ? "(nothing)" : "value");
}

TEST_P(StoreConformance, TheClaimsOfAParentAreNotItsChilds) {
  if (!subject_->survives_fork()) GTEST_SKIP() << "not here";
  const Token token = claim(alpha());

  ChildProcess child([&](Channel&) {
    // In the child the owner does not exist. Where the parent's claim is seen at all,
    // it is the parent's.
    const Look answer = look(alpha());
    EXPECT_EQ(answer.claim, can_.shared ? Look::Claim::busy : Look::Claim::granted);
    EXPECT_TRUE(release(alpha("other"), claim(alpha("other"))));
    store_.reset();
    return 0;
  });
  EXPECT_EQ(child.wait(), 0);

  EXPECT_EQ(look(alpha()).claim, Look::Claim::busy) << "the child took nothing away";
  EXPECT_TRUE(put(alpha(), "value", token));
  EXPECT_EQ(text_at(alpha()), "value");
}

TEST_P(StoreConformance, AnInheritedTokenDoesNotEndTheParentsClaim) {
  if (!subject_->survives_fork()) GTEST_SKIP() << "not here";
  const Token token = claim(alpha());

  ChildProcess child([&](Channel&) {
    (void)release(alpha(), token);
    return 0;
  });
  EXPECT_EQ(child.wait(), 0);

  EXPECT_EQ(look(alpha()).claim, Look::Claim::busy);
  EXPECT_TRUE(put(alpha(), "value", token));
}

TEST_P(StoreConformance, TheClaimsOfAChildEndNothingOfItsParents) {
  if (!subject_->survives_fork()) GTEST_SKIP() << "not here";
  ChildProcess child([&](Channel& parent) {
    claim(alpha());
    parent.send("claimed");
    parent.receive();
    return 0;  // without giving it back
  });
  ASSERT_EQ(child.channel().receive(), "claimed");
  const Token other = claim(alpha("other"));
  child.channel().send("end");
  EXPECT_EQ(child.wait(), 0);

  EXPECT_EQ(look(alpha("other")).claim, Look::Claim::busy);
  EXPECT_TRUE(put(alpha("other"), "value", other));
  if (!can_.shared || can_.sees_death) claim(alpha());
}

TEST_P(StoreConformance, ForksInTheMiddleOfThingsHangNobody) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "AddressSanitizer's own allocator hangs after a fork beside threads";
#endif
  if (!subject_->survives_fork()) GTEST_SKIP() << "not here";
  constexpr std::size_t kBusy = 3;
  constexpr int kForks = 15;
  std::atomic<bool> done = false;
  in_threads(kBusy + 1, [&](std::size_t thread) {
    if (thread < kBusy) {
      for (int n = 0; !done; ++n) {
        const Call call = alpha(std::to_string(thread) + '/' + std::to_string(n % 20));
        const Look answer = look(call, never_fresh());
        if (answer.claim == Look::Claim::granted) {
          EXPECT_TRUE(put(call, "value", answer.token));
        }
        if (n % 50 == 0) {
          EXPECT_TRUE(clear(Clear::entries, &beta_));
        }
      }
      return;
    }
    for (int n = 0; n < kForks; ++n) {
      ChildProcess child([&](Channel&) {
        const Call mine = alpha("child " + std::to_string(n));
        EXPECT_TRUE(put(mine, "value", claim(mine)));
        EXPECT_EQ(text_at(mine), "value");
        // Of the parent's threads, which are not here.
        for (int key = 0; key < 20; ++key) {
          const Look answer = look(alpha("0/" + std::to_string(key)), never_fresh());
          if (!can_.shared) {
            EXPECT_EQ(answer.claim, Look::Claim::granted);
          }
        }
        return 0;
      });
      EXPECT_EQ(child.wait(), 0) << "fork " << n;
    }
    done = true;
  });
}

}  // namespace
}  // namespace cachier::conformance
