#include "policy/path/chooser.h"

#include "tests/unit/policy/path/paths.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace homeport::policy {
namespace {

using namespace std::chrono_literals;

const PathId kOne = path_of("192.0.2.1", "198.51.100.1");
const PathId kTwo = path_of("192.0.2.2", "198.51.100.1");
const PathId kThree = path_of("192.0.2.3", "198.51.100.1");

RankedPath good(const PathId& path, Micros counted) {
  return {.path = path, .counted = counted};
}

RankedPath of_standing(const PathId& path, Standing standing, Micros counted = 10ms) {
  return {.path = path, .standing = standing, .counted = counted};
}

std::vector<RankedPath> order(std::vector<RankedPath> paths) {
  std::sort(paths.begin(), paths.end(), [](const RankedPath& one, const RankedPath& other) {
    return compare(one, other).order < 0;
  });
  return paths;
}

// A chooser that has used kOne, of 10 ms, for long.
class ChooserTest : public testing::Test {
 protected:
  ChooserTest() { look(0s, {good(kOne, 10ms)}); }

  ChoiceCause look(Micros time, std::vector<RankedPath> paths,
                   const std::optional<PathId>& elsewhere = {}, bool may_improve = true) {
    return chooser.choose(at(time), order(std::move(paths)), elsewhere, may_improve);
  }

  Chooser chooser;
};

TEST_F(ChooserTest, TakesTheFirstUsablePath) {
  Chooser fresh;
  EXPECT_EQ(fresh.choose(at(0s), {}, {}, true), ChoiceCause::unchanged);
  const std::vector excluded = {of_standing(kOne, Standing::excluded)};
  EXPECT_EQ(fresh.choose(at(0s), excluded, {}, true), ChoiceCause::unchanged);
  EXPECT_EQ(fresh.current(), std::nullopt);
  const auto paths = order({good(kTwo, 20ms), good(kOne, 10ms)});
  EXPECT_EQ(fresh.choose(at(0s), paths, {}, true), ChoiceCause::first);
  EXPECT_EQ(fresh.current(), kOne);
}

TEST_F(ChooserTest, LeavesADeadPathAtOnce) {
  EXPECT_EQ(look(1us, {of_standing(kOne, Standing::excluded), good(kTwo, 90ms)}),
            ChoiceCause::lost);
  EXPECT_EQ(chooser.current(), kTwo);
  EXPECT_EQ(look(2us, {good(kThree, 95ms)}), ChoiceCause::lost) << "one that is gone, too";
  EXPECT_EQ(look(3us, {}), ChoiceCause::nothing_usable);
  EXPECT_EQ(chooser.current(), std::nullopt);
}

TEST_F(ChooserTest, LeavesAPathForABetterOneOnceThatIsProven) {
  const std::vector better = {good(kOne, 10ms), good(kTwo, 5ms)};
  EXPECT_EQ(chooser.next_look(), Time::max());
  EXPECT_EQ(look(10s, better), ChoiceCause::unchanged);
  EXPECT_EQ(chooser.next_look(), at(10'300ms));
  EXPECT_EQ(look(10'299ms, better), ChoiceCause::unchanged);
  EXPECT_EQ(look(10'300ms, better), ChoiceCause::better);
  EXPECT_EQ(chooser.current(), kTwo);
}

TEST_F(ChooserTest, SaysWhetherThePathHasBecomeWorse) {
  const std::vector worse = {good(kOne, 20ms), good(kTwo, 15ms)};
  look(10s, worse);
  EXPECT_EQ(look(11s, worse), ChoiceCause::worse);
  look(20s, {good(kOne, 10ms), good(kTwo, 15ms)});
  EXPECT_EQ(look(21s, {good(kOne, 10ms), good(kTwo, 15ms)}), ChoiceCause::better);
  const std::vector poor = {of_standing(kOne, Standing::poor), good(kTwo, 15ms)};
  look(30s, poor);
  EXPECT_EQ(look(31s, poor), ChoiceCause::worse);
}

TEST_F(ChooserTest, AsksForProofWithoutABreak) {
  const std::vector better = {good(kOne, 10ms), good(kTwo, 5ms)};
  look(10s, better);
  look(10'200ms, {good(kOne, 10ms), good(kTwo, 10ms)});
  EXPECT_EQ(look(10'400ms, better), ChoiceCause::unchanged);
  EXPECT_EQ(look(10'700ms, better), ChoiceCause::better);
}

TEST_F(ChooserTest, StaysForAWhile) {
  const std::vector better = {good(kOne, 10ms), good(kTwo, 5ms)};
  EXPECT_EQ(look(100ms, better), ChoiceCause::unchanged);
  EXPECT_EQ(look(1'999ms, better), ChoiceCause::unchanged);
  EXPECT_EQ(look(2s, better), ChoiceCause::better);
}

TEST_F(ChooserTest, StaysWhereTheGainIsSmall) {
  for (Micros time = 10s; time < 60s; time += 100ms) {
    ASSERT_EQ(look(time, {good(kOne, 10'500us), good(kTwo, 10ms)}), ChoiceCause::unchanged);
    ASSERT_EQ(chooser.next_look(), Time::max());
  }
  look(60s, {good(kOne, 10'501us), good(kTwo, 10ms)});
  look(61s, {good(kOne, 10'501us), good(kTwo, 10ms)});
  EXPECT_EQ(chooser.current(), kTwo);
}

TEST_F(ChooserTest, StaysWhereTheGainIsNoise) {
  look(10s, {good(kOne, 299us), good(kTwo, 100us)});
  EXPECT_EQ(look(20s, {good(kOne, 299us), good(kTwo, 100us)}), ChoiceCause::unchanged);
  look(30s, {good(kOne, 300us), good(kTwo, 100us)});
  look(40s, {good(kOne, 300us), good(kTwo, 100us)});
  EXPECT_EQ(chooser.current(), kTwo);
}

TEST_F(ChooserTest, ComesBackFromARelayedPathToADirectOneThatIsNoSlower) {
  const PathId relayed = path_of("192.0.2.1", "198.51.100.1", "hostR");
  const std::vector only_relayed = {of_standing(kOne, Standing::excluded), good(relayed, 300us)};
  EXPECT_EQ(look(10s, only_relayed), ChoiceCause::lost);
  EXPECT_EQ(look(20s, {good(kOne, 310us), good(relayed, 300us)}), ChoiceCause::unchanged);
  const std::vector healed = {good(kOne, 290us), good(relayed, 300us)};
  EXPECT_EQ(look(21s, healed), ChoiceCause::unchanged);
  EXPECT_EQ(look(21s + 300ms, healed), ChoiceCause::better) << "though the gain is noise";
  EXPECT_EQ(chooser.current(), kOne);
  // And does not leave that one for noise.
  const std::vector noise = {good(kOne, 310us), good(relayed, 300us)};
  EXPECT_EQ(look(30s, noise), ChoiceCause::unchanged);
  EXPECT_EQ(look(40s, noise), ChoiceCause::unchanged);
}

TEST_F(ChooserTest, TwoAlmostEqualPathsNeverFlap) {
  // Both vary by 3% around the same; who is better changes all the time.
  for (unsigned seed = 0; seed < 20; ++seed) {
    Random random(seed);
    Chooser chooser;
    int changes = 0;
    for (Micros time = 0s; time < 600s; time += 50ms) {
      const auto paths = order({good(kOne, Micros(between(random, 9'700, 10'300))),
                                good(kTwo, Micros(between(random, 9'700, 10'300)))});
      changes += chooser.choose(at(time), paths, {}, true) != ChoiceCause::unchanged;
    }
    EXPECT_EQ(changes, 1) << "the first choice, seed " << seed;
  }
}

TEST_F(ChooserTest, DoesWhatTheControllerPinsAtOnce) {
  EXPECT_EQ(look(1us, {good(kOne, 10ms), of_standing(kTwo, Standing::pinned, 90ms)}, {}, false),
            ChoiceCause::pinned);
  EXPECT_EQ(chooser.current(), kTwo);
}

TEST_F(ChooserTest, LeavesWhatNobodyMeasuresAtOnce) {
  EXPECT_EQ(look(1us, {of_standing(kOne, Standing::unmeasured), good(kTwo, 90ms)}),
            ChoiceCause::measured);
}

TEST_F(ChooserTest, LeavesAPoorPathForAGoodOne) {
  const std::vector paths = {of_standing(kOne, Standing::poor, 10ms), good(kTwo, 90ms)};
  EXPECT_EQ(look(10s, paths), ChoiceCause::unchanged);
  EXPECT_EQ(look(10'300ms, paths), ChoiceCause::worse);
}

TEST_F(ChooserTest, OnlyImprovesWhereItMay) {
  const std::vector better = {good(kOne, 10ms), good(kTwo, 5ms)};
  look(10s, better);
  EXPECT_EQ(look(20s, better, {}, false), ChoiceCause::unchanged);
  EXPECT_EQ(look(20s, better, {}, true), ChoiceCause::better);
}

TEST_F(ChooserTest, FollowsTheOtherEndWhereThatIsAsGood) {
  const std::vector left = {of_standing(kOne, Standing::excluded), good(kTwo, 10ms),
                            good(kThree, 10'500us)};
  Chooser other = chooser;
  EXPECT_EQ(look(1us, left, kThree), ChoiceCause::lost);
  EXPECT_EQ(chooser.current(), kThree);
  const std::vector worse = {of_standing(kOne, Standing::excluded), good(kTwo, 10ms),
                             good(kThree, 11ms)};
  EXPECT_EQ(other.choose(at(1us), order(worse), kThree, true), ChoiceCause::lost);
  EXPECT_EQ(other.current(), kTwo);
}

}  // namespace
}  // namespace homeport::policy
